package import RoostModel

/// Who a certificate of the fleet says that its holder is.
package enum FleetIdentity: Sendable, Hashable, CustomStringConvertible {
    /// The control plane: may give nodes orders.
    case control
    /// One node: may speak for itself, and for nobody else.
    case node(NodeID)

    /// As it stands in the certificate's subject alternative name.
    package var uri: String {
        switch self {
        case .control: "roost://control"
        case .node(let id): "roost://node/\(id)"
        }
    }

    /// Reads a subject alternative name; `nil` for one that is not of ours.
    package init?(uri: String) {
        let start = "roost://node/"
        if uri == "roost://control" {
            self = .control
        } else if uri.hasPrefix(start), let id = NodeID(uri.dropFirst(start.count)) {
            self = .node(id)
        } else {
            return nil
        }
    }

    package var description: String {
        switch self {
        case .control: "the control plane"
        case .node(let id): "node \(id.short)"
        }
    }
}
