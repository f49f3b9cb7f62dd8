package import RoostModel
package import RoostStore

/// How many control planes have begun on this store. Each gives its orders under its own number, and
/// nodes refuse those of an older one.
package struct ControlEpochRow: Row {
    package static let table = "control_epochs"

    package var epoch: Int64

    package var key: String { Self.only }
    package var indexes: [IndexEntry] { [] }

    static let only = "control"

    /// Takes the next epoch, durably. No other control plane on this store has it.
    package static func next(in store: any Store) async throws(Fault) -> Int64 {
        while true {
            let found = try await store.get(Self.self, only)
            // A node that was in no fleet took orders of epoch 1.
            let row = Self(epoch: (found?.row.epoch ?? 1) + 1)
            var batch = Batch()
            if let found { batch.replace(found, with: row) } else { batch.insert(row) }
            do throws(Fault) {
                try await store.commit(batch)
                return row.epoch
            } catch  where error.reason == .storeConflict {
                continue
            }
        }
    }
}
