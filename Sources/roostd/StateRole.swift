import Glibc
import RoostModel

extension Settings {
    /// Refuses a state directory that belongs to another role: what is in it would be taken for
    /// something else, and its VMs would have no daemon.
    func admitState(for role: Role) throws(Fault) {
        guard let directory = stateDirectory, let owner = Self.owner(of: directory), owner != role
        else { return }
        throw .invalid(
            "--state-dir",
            "'\(shown(directory))' is that of a daemon with --role \(owner.rawValue), and this is "
                + "\(role.rawValue): start it with that role, or name another directory"
        )
    }

    /// Whose files are in a state directory; `nil` for a new one.
    private static func owner(of directory: String) -> Role? {
        let marks: [(String, Role)] = [
            ("fleet/authority.key", .control), ("fleet/node.key", .node),
            // A node's rows, without a key. Control's rows say nothing: a control plane that died at
            // its first start has them and no authority yet.
            ("node.db", .standalone),
        ]
        return marks.first { access("\(directory)/\($0.0)", F_OK) == 0 }?.1
    }
}
