import RoostLink
import RoostModel
import RoostOperations
import RoostStore

/// What the commit of an operation depends on about the drain of its VM's node.
struct DrainFence {
    var node: NodeID
    /// `nil`: there must be none.
    var version: Revision?

    func guards(_ batch: inout Batch) {
        batch.require(DrainMark.self, node.description, at: version)
    }
}

extension VMService {
    /// What accepting `vm` over `old` depends on; `nil`: on no drain.
    ///
    /// - Throws: ``Reason/nodeDraining`` when a process would begin on a node that is drained;
    ///   ``Reason/opCancelled`` when the drain that asks is over.
    func drainFence(
        _ vm: VM,
        over old: VM,
        _ acceptance: Acceptance
    ) throws(Fault) -> DrainFence? {
        guard let node = vm.status.node else { return nil }
        let mark = parts.nodes.drain(of: node)
        if let drain = acceptance.drain {
            guard let mark, mark.row.drain == drain else {
                throw Fault(.opCancelled, "the drain of its node was over before its turn came")
            }
            return DrainFence(node: node, version: mark.version)
        }
        let begins =
            [.start, .restart, .revert].contains(acceptance.intent.action.kind)
            && [.running, .paused].contains(vm.desired) && !old.status.state.hasProcess
        guard begins else { return nil }
        guard mark == nil else {
            let name = parts.nodes.name(node)
            throw Fault(
                .nodeDraining,
                "\(vm.name) has its disk on \(name), which is drained: nothing is started there",
                metadata: ["node": name, "vm": vm.name]
            )
        }
        return DrainFence(node: node, version: nil)
    }

    /// Takes in whether `node` is drained, as it is stored.
    func takeDrain(of node: NodeID) async throws(Fault) {
        let before = try await parts.store.revision()
        let mark = try await parts.store.get(DrainMark.self, node.description)
        parts.nodes.take(mark, of: node, at: max(before, mark?.version ?? before))
    }
}
