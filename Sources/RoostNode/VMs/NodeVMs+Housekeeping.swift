import Logging
import RoostModel
import RoostOperations
import RoostStore

extension NodeVMs {
    /// Forgets what need not be kept: results of operations that are too old to be asked for again, of
    /// which every disposable VM leaves one, and the log of changes, which nobody reads here. What forks
    /// left on a node of a fleet goes too, once no operation can be theirs any more: only its control plane
    /// knows which of them are under way. To be called every hour or so; may be called twice.
    ///
    /// What fails is logged, and is tried again the next time.
    package func keepHouse() async {
        do throws(Fault) {
            let cutoff = cutoff
            try await forgetResults(before: cutoff)
            await removeForks { $0.time < cutoff }
            try await parts.store.compact(upTo: try await parts.store.revision())
        } catch {
            parts.log.warning("could not tidy the journal", metadata: ["fault": "\(error)"])
        }
    }

    /// A day more than the control side answers for: its clock is another one.
    private var cutoff: Timestamp {
        let kept = OperationLedger.retentionSeconds + 24 * 3600
        return parts.surroundings.wall.now().adding(seconds: -kept)
    }

    private func forgetResults(before cutoff: Timestamp) async throws(Fault) {
        while true {
            // Op ids sort by time, so the oldest come first.
            let old = try await parts.store.list(ResultRow.self, Query(limit: 1000)).rows
                .prefix { $0.row.operation.time < cutoff }
            guard !old.isEmpty else { return }
            try await commit { batch in
                for found in old { batch.delete(ResultRow.self, found.row.key) }
            }
        }
    }
}
