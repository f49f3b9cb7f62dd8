package import RoostModel

/// Who does what only one may do: a row for each such thing. Written when the holder changes only.
package struct LeaseRow: Row {
    package static let table = "leases"
    /// What the lease is for.
    package var name: String
    /// The holder's id; empty when it has been given back.
    package var holder: String
    /// Where the holder is, for people.
    package var place: String
    /// Rises with each holder.
    package var epoch: Int64

    package var key: String { name }
    package var indexes: [IndexEntry] { [] }
}

/// The holder's sign of life. A row of its own, so that renewing breaks nobody's fence.
package struct LeaseBeat: Row {
    package static let table = "lease_beats"
    package var name: String
    package var count: Int64

    package var key: String { name }
    package var indexes: [IndexEntry] { [] }
}

/// A lease that somebody holds, or held: nobody knows until they write.
///
/// The epoch is compared where the write happens, as a condition of the same batch. A holder that
/// has slept through its own end can therefore do no harm, whatever its clock says.
package struct Lease: Sendable, Equatable {
    package let name: String
    package let holder: String
    package let epoch: Int64
    /// The revision that made this holder the holder.
    package let version: Revision

    /// Lets `batch` happen only while this lease has not passed to somebody else.
    package func fence(_ batch: inout Batch) {
        batch.require(LeaseRow.self, name, at: version)
    }
}

/// Takes, renews and gives back one lease, on any store.
///
/// ```text
///  free, given back, or our own of before ──────────────▶ ours, epoch + 1
///  another's, and renewed ──▶ wait                           │ renewed each third of the time
///  another's, and not renewed for a whole time to live ──▶ ours      ▼
///                                            another has taken it: staleEpoch
/// ```
/// No clock is compared with another: who wants the lease measures with its own how long the
/// holder's beat has not changed.
package struct LeaseKeeper: Sendable {
    /// How long after its last renewal a lease may be taken from its holder.
    package static let timeToLive: Duration = .seconds(10)
    /// How often a holder renews.
    package static let renewal: Duration = .seconds(3)

    private let store: any Store
    private let clock: any Clock<Duration>
    private let name: String
    private let holder: String
    private let place: String

    /// A keeper of the lease `name` for `holder`, an id that no two live processes share; `place`
    /// tells people where that is.
    package init(
        store: any Store,
        clock: any Clock<Duration>,
        name: String,
        holder: String,
        place: String
    ) {
        self.store = store
        self.clock = clock
        self.name = name
        self.holder = holder
        self.place = place
    }

    /// Takes the lease, waiting up to `patience` for another holder to give it up.
    ///
    /// - Returns: the lease, or `nil` and who has it.
    package func acquire(
        patience: Duration
    ) async throws(Fault) -> (lease: Lease?, holder: LeaseRow?) {
        var seen: [Revision?] = []
        var unchanged: Duration = .zero
        var waited: Duration = .zero
        let step = Self.timeToLive / 20
        while true {
            let row = try await store.get(LeaseRow.self, name)
            let beat = try await store.get(LeaseBeat.self, name)
            let now = [row?.version, beat?.version]
            if now != seen {
                seen = now
                unchanged = .zero
            }
            let owner = row?.row.holder ?? ""
            if owner.isEmpty || owner == holder || unchanged >= Self.timeToLive {
                if let lease = try await take(row, beat) { return (lease, nil) }
                continue
            }
            guard waited < patience, !Task.isCancelled else { return (nil, row?.row) }
            try? await clock.sleep(for: step)
            unchanged += step
            waited += step
        }
    }

    /// Shows that the holder is alive.
    ///
    /// - Throws: ``Reason/staleEpoch`` when another has the lease.
    package func renew(_ lease: Lease) async throws(Fault) {
        let beat = try await store.get(LeaseBeat.self, name)
        var batch = Batch()
        batch.put(LeaseBeat(name: name, count: (beat?.row.count ?? 0) + 1))
        try await FencedStore(store, lease).commit(batch)
    }

    /// Gives the lease back, so that the next holder need not wait.
    ///
    /// - Throws: ``Reason/staleEpoch`` when another has the lease.
    package func release(_ lease: Lease) async throws(Fault) {
        var batch = Batch()
        batch.put(LeaseRow(name: name, holder: "", place: place, epoch: lease.epoch))
        try await FencedStore(store, lease).commit(batch)
    }

    /// `nil` when somebody was quicker.
    private func take(
        _ row: Versioned<LeaseRow>?,
        _ beat: Versioned<LeaseBeat>?
    ) async throws(Fault) -> Lease? {
        let epoch = (row?.row.epoch ?? 0) + 1
        var batch = Batch()
        batch.require(LeaseRow.self, name, at: row?.version)
        batch.require(LeaseBeat.self, name, at: beat?.version)
        batch.put(LeaseRow(name: name, holder: holder, place: place, epoch: epoch))
        batch.put(LeaseBeat(name: name, count: 0))
        do throws(Fault) {
            let version = try await store.commit(batch)
            return Lease(name: name, holder: holder, epoch: epoch, version: version)
        } catch {
            // Also after an unknown outcome: if it was done, the row says that it is ours.
            guard error.reason == .storeConflict || error.outcomeIsUnknown else { throw error }
            return nil
        }
    }
}

/// A store that writes only while a lease holds.
package struct FencedStore: Store {
    private let base: any Store
    private let lease: Lease

    /// `base`, with `lease` as one more condition of every batch.
    package init(_ base: any Store, _ lease: Lease) {
        self.base = base
        self.lease = lease
    }

    package func get<R: Row>(_ type: R.Type, _ key: String) async throws(Fault) -> Versioned<R>? {
        try await base.get(type, key)
    }

    package func list<R: Row>(_ type: R.Type, _ query: Query) async throws(Fault) -> Listing<R> {
        try await base.list(type, query)
    }

    /// As the store's own.
    ///
    /// - Throws: ``Reason/staleEpoch`` when the lease has passed to somebody else; nothing is
    ///   written then.
    @discardableResult
    package func commit(_ batch: Batch) async throws(Fault) -> Revision {
        var fenced = batch
        lease.fence(&fenced)
        do throws(Fault) {
            return try await base.commit(fenced)
        } catch {
            guard error.reason == .storeConflict, error.metadata["table"] == LeaseRow.table,
                error.metadata["key"] == lease.name
            else { throw error }
            throw Fault(
                .staleEpoch,
                "the lease '\(lease.name)' of epoch \(lease.epoch) has passed to another",
                metadata: ["lease": lease.name, "epoch": "\(lease.epoch)"]
            )
        }
    }

    package func changes(after revision: Revision, limit: Int) async throws(Fault) -> ChangePage {
        try await base.changes(after: revision, limit: limit)
    }

    package func revision() async throws(Fault) -> Revision { try await base.revision() }

    package func compact(upTo revision: Revision) async throws(Fault) {
        try await base.compact(upTo: revision)
    }
}
