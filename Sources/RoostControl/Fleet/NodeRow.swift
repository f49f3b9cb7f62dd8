package import RoostModel
package import RoostScheduler
package import RoostStore

/// What operators said of a node. Kept in the control store and never written by a node, so that
/// neither a heartbeat nor a restart of either side undoes it.
package struct NodeRow: Row {
    package static let table = "nodes"

    package var node: NodeID
    /// Stronger than what the node says of itself.
    package var labels: [String: String]
    /// Sorted, one for each key.
    package var taints: [Taint]
    package var isCordoned: Bool
    /// Why it is cordoned; may be empty.
    package var cordonReason: String
    package var updatedAt: Timestamp?

    package var key: String { Self.key(node) }
    package var indexes: [IndexEntry] { [] }

    /// A node of which nothing was said.
    package init(node: NodeID) {
        self.node = node
        labels = [:]
        taints = []
        isCordoned = false
        cordonReason = ""
    }

    /// The key of `node`.
    package static func key(_ node: NodeID) -> String { node.description }

    /// Whether both say the same, whenever it was said.
    func agrees(with other: NodeRow) -> Bool {
        var other = other
        other.updatedAt = updatedAt
        return self == other
    }
}

/// Why a VM was put where it was: written with the VM, and gone with it.
package struct PlacementRow: Row {
    package static let table = "placements"

    package var vm: VMID
    package var node: NodeID
    /// Whether the request had named just this node.
    package var isExplicit: Bool
    /// Its revision is the store's, which every replica knows.
    package var explanation: Explanation
    /// The rules that the explanation's numbers mean.
    package var rules: PlacementRules
    package var decidedAt: Timestamp

    package var key: String { vm.description }
    package var indexes: [IndexEntry] { [] }

    package init(
        vm: VMID,
        node: NodeID,
        isExplicit: Bool,
        explanation: Explanation,
        rules: PlacementRules,
        decidedAt: Timestamp
    ) {
        self.vm = vm
        self.node = node
        self.isExplicit = isExplicit
        self.explanation = explanation
        self.rules = rules
        self.decidedAt = decidedAt
    }
}
