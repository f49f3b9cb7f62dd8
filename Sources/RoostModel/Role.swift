/// How much a caller may do. Each role may do what those before it may.
package enum Role: String, CaseIterable, Sendable, Codable, Comparable {
    /// Reads states, lists, logs and explanations; changes nothing and sees into no guest.
    case viewer
    /// Makes, changes, enters and removes VMs and what belongs to them.
    case `operator`
    /// Everything: nodes, tokens, what lies on the daemon's host, the daemon itself.
    case admin

    package static func < (one: Role, other: Role) -> Bool { one.rank < other.rank }

    private var rank: Int {
        switch self {
        case .viewer: 0
        case .operator: 1
        case .admin: 2
        }
    }
}
