package import RoostModel
package import RoostStore
import Synchronization

/// Knows which operations exist, and makes each happen once.
///
/// The durable truth is the ``OperationRow``. In memory it only keeps, for operations that this
/// process runs, the signal that pre-empts them and the one that says they have ended.
package final class OperationLedger: Sendable {
    /// How long operations and their ids are kept.
    package static let retentionSeconds: Int64 = 30 * 24 * 3600

    /// A running operation of this process.
    package struct Live: Sendable {
        /// Set to make it stop at its next step boundary.
        package let preemption: Signal
        /// Set after its row is settled.
        package let ended: Signal
    }

    private let store: any Store
    private let wall: any WallClock
    private let failpoints: any Failpoints
    private let live = Mutex<[OperationID: Live]>([:])

    package init(store: any Store, wall: any WallClock, failpoints: any Failpoints) {
        self.store = store
        self.wall = wall
        self.failpoints = failpoints
    }

    /// What is known of `context`'s op id: `nil` when it is new, else the operation it began.
    ///
    /// Waits for one that still runs, unless the caller only wants it accepted.
    /// - Throws: ``Reason/opIDReused`` for another request or principal, ``Reason/opIDExpired``.
    package func earlier(_ context: RequestContext) async throws(Fault) -> OperationRow? {
        let id = context.operation
        try refuseExpired(id)
        guard let found = try await store.get(OperationRow.self, id.description) else {
            if let claim = try await claim(id) { throw reused(id, for: claim.method) }
            return nil
        }
        let isSame =
            found.row.principal == context.principal && found.row.digest == context.digest
        guard isSame || failpoints.skips(.owner) else {
            failpoints.mark(.idReused)
            throw reused(id, for: found.row.method)
        }
        if context.answersWhenAccepted || found.row.state.isTerminal { return found.row }
        return try await ending(of: id)
    }

    /// Whether `context`'s op id was taken by the same request, one that is no operation on a VM.
    ///
    /// Write a ``ClaimRow`` with what it asks for: of two that come at once, one meets a conflict and asks
    /// this again.
    /// - Throws: as ``earlier(_:)``.
    package func isRepeat(_ context: RequestContext) async throws(Fault) -> Bool {
        let id = context.operation
        try refuseExpired(id)
        if let claim = try await claim(id) {
            guard claim.principal == context.principal, claim.digest == context.digest else {
                throw reused(id, for: claim.method)
            }
            return true
        }
        if let found = try await store.get(OperationRow.self, id.description) {
            throw reused(id, for: found.row.method)
        }
        return false
    }

    private func claim(_ id: OperationID) async throws(Fault) -> ClaimRow? {
        try await store.get(ClaimRow.self, id.description)?.row
    }

    private func refuseExpired(_ id: OperationID) throws(Fault) {
        if id.time.adding(seconds: Self.retentionSeconds) < wall.now() {
            throw Fault(.opIDExpired, "op id \(id) is from before what is kept (30 days)")
        }
    }

    private func reused(_ id: OperationID, for method: String) -> Fault {
        Fault(
            .opIDReused,
            "op id \(id) belongs to another request (\(method))",
            metadata: ["op": id.description]
        )
    }

    /// Waits until `id` has ended, and returns its row.
    package func ending(of id: OperationID) async throws(Fault) -> OperationRow {
        if let running = live.withLock({ $0[id] }) { await running.ended.wait() }
        guard let found = try await store.get(OperationRow.self, id.description) else {
            throw Fault(.operationNotFound, "no operation \(id)", metadata: ["op": id.description])
        }
        return found.row
    }

    /// Marks `id` as run by this process. Returns `nil` when it already is.
    package func begin(_ id: OperationID) -> Live? {
        live.withLock { table in
            guard table[id] == nil else { return nil }
            let entry = Live(preemption: Signal(), ended: Signal())
            table[id] = entry
            return entry
        }
    }

    /// Says that `id` is settled, or was never accepted.
    package func end(_ id: OperationID) {
        let entry = live.withLock { $0.removeValue(forKey: id) }
        entry?.ended.set()
    }

    /// Makes `id` stop at its next step boundary, if this process runs it.
    package func preempt(_ id: OperationID) {
        live.withLock { $0[id] }?.preemption.set()
    }

    /// Whether this process carries `id` out.
    package func runs(_ id: OperationID) -> Bool { live.withLock { $0[id] != nil } }

    /// The operations that this process runs, oldest first.
    package var liveIDs: [OperationID] { live.withLock { $0.keys.sorted() } }

    /// How many operations this process runs.
    package var liveCount: Int { live.withLock { $0.count } }

    /// Operations that were running when the last process ended.
    package func unfinished() async throws(Fault) -> [Versioned<OperationRow>] {
        let query = Query(matching: [IndexEntry("live", "yes")])
        return try await store.list(OperationRow.self, query).rows
    }

    /// Removes operations that ended before the retention, at most 1,000 a call, and claims likewise.
    package func prune() async throws(Fault) -> Int {
        let cutoff = wall.now().adding(seconds: -Self.retentionSeconds)
        let claims = try await store.list(ClaimRow.self, Query(limit: 1000))
        let page = try await store.list(OperationRow.self, Query(limit: 1000))
        var batch = Batch()
        var count = 0
        // Ids sort by time, so the oldest come first.
        for found in page.rows.prefix(while: { $0.row.startedAt < cutoff })
        where found.row.state.isTerminal {
            batch.delete(OperationRow.self, found.row.key)
            count += 1
        }
        for found in claims.rows.prefix(while: { $0.row.at < cutoff }) {
            batch.delete(ClaimRow.self, found.row.key)
            count += 1
        }
        if count > 0 { try await store.commit(batch) }
        return count
    }
}
