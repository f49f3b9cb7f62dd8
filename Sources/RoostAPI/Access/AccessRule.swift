package import RoostModel

/// Who may call a method.
package enum AccessRule: Sendable, Hashable {
    /// Whoever can connect, before saying who that is.
    case anybody
    /// Who has at least this role; `Reach` says what a token of one project has of it.
    case role(Role, Reach)
    /// Daemons of the fleet, by the certificate of their connection: compared where they are served,
    /// and refused on every listener for people.
    case member

    /// What a call is about, and so what a caller who is confined to a project has of it.
    package enum Reach: String, Sendable, Hashable {
        /// Things of a project: such a caller has its own, and no other is there.
        case project
        /// What every project has in common and may know, such as images: such a caller has all of it.
        case shared
        /// The fleet as a whole: such a caller is refused.
        case fleet
    }
}

extension AccessRule {
    /// Whether calls of `method`, `service/method`, belong in the audit trail: all that take more than a
    /// viewer, but for those whose name says that they only read.
    package func isAudited(_ method: String) -> Bool {
        guard case .role(let role, _) = self, role > .viewer else { return false }
        let name = method.split(separator: "/").last ?? ""
        return !["Get", "List", "Watch", "HealthCheck"].contains { name.hasPrefix($0) }
    }

    /// Makes sure that `role`, confined to `project` unless that is `nil`, may call `method`.
    ///
    /// - Throws: ``RoostModel/Reason/permissionDenied`` naming the method, the role and what it takes.
    package func admit(_ role: Role?, project: String?, method: String) throws(Fault) {
        let (needed, reach): (Role, Reach)
        switch self {
        case .anybody: return
        case .role(let role, let its): (needed, reach) = (role, its)
        case .member:
            throw Fault(
                .permissionDenied,
                "/\(method) is for the daemons of the fleet, on their own listener",
                metadata: ["method": method, "needs": "a certificate of the fleet"]
            )
        }
        guard let role, role >= needed else {
            throw Fault(
                .permissionDenied,
                "/\(method) takes the role \(needed.rawValue), and this caller is "
                    + (role?.rawValue ?? "nobody"),
                metadata: [
                    "method": method, "needs": needed.rawValue, "role": role?.rawValue ?? "",
                ]
            )
        }
        guard reach != .fleet || project == nil else {
            throw Fault(
                .permissionDenied,
                "/\(method) is about the whole fleet, and this caller is confined to the project "
                    + "\(project ?? "")",
                metadata: [
                    "method": method, "needs": "\(needed.rawValue) of every project",
                    "role": role.rawValue, "project": project ?? "",
                ]
            )
        }
    }
}
