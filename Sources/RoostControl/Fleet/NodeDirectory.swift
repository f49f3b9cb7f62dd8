package import RoostLink
package import RoostModel
package import RoostScheduler
import Synchronization

/// The nodes that can be reached, and what of them is promised.
///
/// What is promised is the sum over VMs that shall run; it lives in memory and is counted anew
/// from the rows when a control plane starts.
package final class NodeDirectory: Sendable {
    private struct State {
        var links: [NodeID: any NodeLink] = [:]
        var fleet: Fleet
    }

    private let state: Mutex<State>

    package init(strategy: PlacementStrategy = .spread) {
        state = Mutex(State(fleet: Fleet(strategy: strategy)))
    }

    /// Makes a node known, or known anew.
    package func join(
        _ link: any NodeLink,
        capacity: NodeCapacity,
        policy: OvercommitPolicy = OvercommitPolicy()
    ) {
        state.withLock { state in
            state.links[link.node] = link
            state.fleet.join([
                NodeFacts(
                    id: link.node,
                    cores: capacity.cores,
                    memoryMiB: capacity.memoryMiB,
                    policy: policy
                )
            ])
        }
    }

    /// The way to `node`.
    package func link(_ node: NodeID?) throws(Fault) -> any NodeLink {
        guard let node, let link = state.withLock({ $0.links[node] }) else {
            throw Fault(
                .nodeUnreachable,
                "node \(node?.short ?? "(none)") is not joined",
                metadata: ["op": ""]
            )
        }
        return link
    }

    /// Every way there is, by node id.
    package var links: [any NodeLink] {
        state.withLock { state in state.links.sorted { $0.key < $1.key }.map(\.value) }
    }

    /// The fleet as it is now: a copy, to ask and to try things on.
    package var fleet: Fleet { state.withLock { $0.fleet } }

    /// Which node `request` would go to.
    ///
    /// - Throws: the refusal with the smallest change that would help, as a fault;
    ///   as ``Fleet/place(_:for:)``.
    package func place(_ request: PlacementRequest) throws(Fault) -> NodeID {
        let outcome: Result<Placement, Fault> = state.withLock { state in
            do throws(Fault) { return .success(try state.fleet.place(request)) } catch {
                return .failure(error)
            }
        }
        switch try outcome.get() {
        case .placed(let decision): return decision.node
        case .refused(let refusal):
            // On a copy and outside the lock: it looks at every node.
            let fleet = fleet
            let remedy = try fleet.remedies(for: request, limit: 1).first
            let change = remedy.map { remedy in
                remedy.changes.map { $0.text(request.rules, names: \.short) }
                    .joined(separator: " and ")
            }
            throw refusal.fault(change: change)
        }
    }

    /// Promises room on `node` to `vm`, once; checks and takes in one step.
    package func promise(_ vm: VMID, spec: VMSpec, on node: NodeID) throws(Fault) {
        let request = PlacementRequest(cores: spec.cores, memoryMiB: spec.memoryMiB)
        let outcome: Result<Void, Fault> = state.withLock { state in
            do throws(Fault) {
                try state.fleet.reserve(vm, request, on: node)
                return .success(())
            } catch { return .failure(error) }
        }
        try outcome.get()
    }

    /// Counts `vm` whether it fits or not: it runs, so the room is taken.
    ///
    /// Does nothing for a node that never joined.
    package func count(_ vm: VMID, spec: VMSpec, on node: NodeID) {
        state.withLock { state in
            state.fleet.count(vm, cores: spec.cores, memoryMiB: spec.memoryMiB, on: node)
        }
    }

    /// Takes the promise back. Fine when there is none.
    package func release(_ vm: VMID) {
        state.withLock { $0.fleet.remove(vm) }
    }
}
