package import RoostLink
package import RoostModel
package import RoostOperations
package import RoostStore
import Synchronization

/// The newest epoch whose orders a node has taken: durable, so that a control plane that was
/// superseded is refused also after a restart of the node.
package struct AcceptedEpochRow: Row {
    package static let table = "accepted_epochs"

    package var epoch: Int64

    package var key: String { Self.only }
    package var indexes: [IndexEntry] { [] }

    /// The key of the one row.
    package static let only = "epoch"

    package init(epoch: Int64) { self.epoch = epoch }
}

/// A node's own link as its control plane may use it: orders of an older epoch than any before are
/// refused, and a newer one is written down before its first order is carried out.
///
/// A store that cannot be read or written makes the order's outcome unknown, not failed: under an
/// older epoch it may have been carried out already.
package final class FencedLink: NodeLink {
    package var node: NodeID { base.node }
    private let base: any NodeLink
    private let store: any Store
    private let failpoints: any Failpoints
    private let known = Mutex<Int64>(0)

    package init(_ base: any NodeLink, store: any Store, failpoints: any Failpoints) {
        self.base = base
        self.store = store
        self.failpoints = failpoints
    }

    /// The newest epoch that was accepted; 0 before the first.
    package var epoch: Int64 { known.withLock { $0 } }

    /// Reads what was accepted before. Call once, before anything else.
    package func recover() async throws(Fault) {
        let row = try await store.get(AcceptedEpochRow.self, AcceptedEpochRow.only)
        known.withLock { $0 = max($0, row?.row.epoch ?? 0) }
    }

    package func apply(_ delta: AssignmentDelta) async throws(Fault) -> VMReport {
        do throws(Fault) {
            try await accept(delta.epoch)
        } catch {
            throw error.ofOwnStore("write down its epoch", for: delta.operation, failpoints)
        }
        guard delta.epoch == epoch else {
            failpoints.mark(.olderEpoch)
            throw Fault(.staleEpoch, "epoch \(delta.epoch) is older than \(epoch)")
        }
        return try await base.apply(delta)
    }

    /// Writes `asked` down if it is newer than any before.
    ///
    /// - Throws: what the store threw; nobody knows then what is written.
    private func accept(_ asked: Int64) async throws(Fault) {
        while asked > epoch {
            let row = try await store.get(AcceptedEpochRow.self, AcceptedEpochRow.only)
            var batch = Batch()
            let accepted = AcceptedEpochRow(epoch: max(asked, row?.row.epoch ?? 0))
            if let row { batch.replace(row, with: accepted) } else { batch.insert(accepted) }
            do throws(Fault) {
                try await store.commit(batch)
            } catch  where error.reason == .storeConflict {
                continue
            }
            known.withLock { $0 = max($0, accepted.epoch) }
        }
    }

    package func preempt(_ vm: VMID, operation: OperationID) async throws(Fault) {
        try await base.preempt(vm, operation: operation)
    }

    package func inspect(_ vm: VMID) async throws(Fault) -> VMReport? {
        try await base.inspect(vm)
    }

    package func assignment(_ vm: VMID) async throws(Fault) -> VMAssignment? {
        try await base.assignment(vm)
    }

    package func observe() async throws(Fault) -> NodeReport { try await base.observe() }

    package func changes(after cursor: UInt64) async throws(Fault) -> ReportPage {
        try await base.changes(after: cursor)
    }

    package func usage() async throws(Fault) -> NodeUsage { try await base.usage() }

    package func resolve(image: String, kernel: String) async throws(Fault) -> ResolvedImages {
        try await base.resolve(image: image, kernel: kernel)
    }

    package func exec(_ vm: VMID, _ request: ExecRequest) async throws(Fault) -> any ExecSession {
        try await base.exec(vm, request)
    }

    package func copy(_ vm: VMID, _ request: CopyRequest) async throws(Fault) -> any CopySession {
        try await base.copy(vm, request)
    }

    package func readLog(_ vm: VMID, _ request: LogRequest) async throws(Fault) -> LogPiece {
        try await base.readLog(vm, request)
    }

    package func guestStatus(_ vm: VMID) async throws(Fault) -> GuestStatus {
        try await base.guestStatus(vm)
    }
}
