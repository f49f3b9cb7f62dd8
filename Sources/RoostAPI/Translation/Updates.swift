package import RoostModel

/// A field that ``Roost_Compute_V1_UpdateVMRequest`` may name in its mask.
package enum UpdateField: String, CaseIterable, Sendable {
    case labels
    case annotations
    case cpu = "spec.cpu"
    case memory = "spec.memory"
    case disk = "spec.disk"
    case ports = "spec.ports"
    case restart = "spec.restart"
}

/// The fields that `paths` mean; a path below a field means the field.
///
/// - Throws: one violation for each path that names none, or one when there is no path at all.
package func updateFields(_ paths: [String]) throws(Fault) -> [UpdateField] {
    var found: [UpdateField] = []
    var wrong: [FieldViolation] = []
    let known = UpdateField.allCases.map(\.rawValue).joined(separator: ", ")
    if paths.isEmpty { wrong.append(.init("update_mask", "is required: name one of \(known)")) }
    for path in paths {
        if let field = UpdateField.allCases.first(where: {
            path == $0.rawValue || path.hasPrefix($0.rawValue + ".")
        }) {
            found.append(field)
        } else {
            wrong.append(
                .init("update_mask", "'\(shown(path))' cannot be changed; these can: \(known)")
            )
        }
    }
    guard wrong.isEmpty else { throw .invalid(wrong) }
    return found
}
