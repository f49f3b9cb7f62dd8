package import RoostLink
package import RoostModel
package import RoostScheduler
import Synchronization

/// The nodes that can be reached, and what of them is promised.
///
/// What is promised is the sum over VMs that shall run; it lives in memory and is counted anew
/// from the rows when a control plane starts.
package final class NodeDirectory: Sendable {
    fileprivate struct Entry {
        var link: any NodeLink
        var candidate: Candidate
        var promises: [VMID: Promise]
    }

    fileprivate struct Promise {
        var cores: Int
        var memoryMiB: Int
    }

    private let entries = Mutex<[NodeID: Entry]>([:])

    package init() {}

    /// Makes a node known, or known anew.
    package func join(
        _ link: any NodeLink,
        capacity: NodeCapacity,
        policy: OvercommitPolicy = OvercommitPolicy()
    ) {
        entries.withLock { table in
            table[link.node] = Entry(
                link: link,
                candidate: Candidate(
                    id: link.node,
                    cores: capacity.cores,
                    memoryMiB: capacity.memoryMiB,
                    policy: policy
                ),
                promises: table[link.node]?.promises ?? [:]
            )
        }
    }

    /// The way to `node`.
    package func link(_ node: NodeID?) throws(Fault) -> any NodeLink {
        guard let node, let entry = entries.withLock({ $0[node] }) else {
            throw Fault(
                .nodeUnreachable,
                "node \(node?.short ?? "(none)") is not joined",
                metadata: ["op": ""]
            )
        }
        return entry.link
    }

    /// Every way there is, by node id.
    package var links: [any NodeLink] {
        entries.withLock { table in table.sorted { $0.key < $1.key }.map(\.value.link) }
    }

    /// Every node as the scheduler sees it, by node id.
    package var candidates: [Candidate] {
        entries.withLock { table in
            table.sorted { $0.key < $1.key }.map { $0.value.counted() }
        }
    }

    /// Which node `request` would go to.
    package func place(_ request: PlacementRequest) throws(Fault) -> NodeID {
        try placement(request, among: candidates)
    }

    /// Promises room on `node` to `vm`, once; checks and takes in one step.
    package func promise(_ vm: VMID, spec: VMSpec, on node: NodeID) throws(Fault) {
        let outcome: Result<Void, Fault> = entries.withLock { table in
            guard var entry = table[node] else {
                return .failure(Fault(.nodeNotFound, "no node \(node)"))
            }
            entry.promises[vm] = nil
            let request = PlacementRequest(
                cores: spec.cores,
                memoryMiB: spec.memoryMiB,
                node: node
            )
            do throws(Fault) {
                _ = try placement(request, among: [entry.counted()])
            } catch { return .failure(error) }
            entry.promises[vm] = Promise(cores: spec.cores, memoryMiB: spec.memoryMiB)
            table[node] = entry
            return .success(())
        }
        try outcome.get()
    }

    /// Counts `vm` whether it fits or not: it runs, so the room is taken.
    package func count(_ vm: VMID, spec: VMSpec, on node: NodeID) {
        entries.withLock {
            $0[node]?.promises[vm] = Promise(cores: spec.cores, memoryMiB: spec.memoryMiB)
        }
    }

    /// Takes the promise back. Fine when there is none.
    package func release(_ vm: VMID) {
        entries.withLock { table in
            for node in table.keys.sorted() { table[node]?.promises[vm] = nil }
        }
    }
}

extension NodeDirectory.Entry {
    /// The candidate with everything promised counted as used.
    fileprivate func counted() -> Candidate {
        var counted = candidate
        for promise in promises.values {
            counted.usedCores += promise.cores
            counted.usedMemoryMiB += promise.memoryMiB
        }
        return counted
    }
}
