import GRDB
import RoostModel
import RoostStore
import RoostStoreRows

/// Many batches in one transaction. Belongs to the writer's thread.
struct GroupCommit {
    /// What becomes of one batch.
    typealias Verdict = Result<Revision, Fault>

    private enum Setback: Error {
        /// The batch at this place cannot be written. The others can.
        case batch(Int, Fault)
        /// Nothing of the group is written.
        case nothing(Fault)
        /// COMMIT failed, and so did the fence. The verdicts are what it would have meant.
        case unknown(Fault, [Verdict])
    }

    private var tables: SQLiteTables
    private let path: String
    private var revision: Int64 = 0
    private var compacted: Int64 = 0
    /// Whether memory and disk may disagree, so that a fence has to come first.
    private(set) var isUnsure = false

    init(_ database: Database, path: String) throws {
        tables = SQLiteTables(database)
        self.path = path
        try reload()
    }

    /// Commits `batches` in order; answers one verdict each, in their order.
    mutating func run(_ batches: [EncodedBatch]) -> [Verdict] {
        var refused: [Int: Fault] = [:]
        while true {
            do throws(Setback) {
                try settleOrStop()
                return try attempt(batches, refused)
            } catch {
                switch error {
                case .batch(let place, let fault):
                    refused[place] = fault
                case .nothing(let fault):
                    return batches.indices.map { .failure(refused[$0] ?? fault) }
                case .unknown(let fault, let verdicts):
                    return GroupCommit.unknown(fault, batches, verdicts)
                }
            }
        }
    }

    /// Forgets changes up to `target`, but no more than `slice` revisions at a time.
    ///
    /// - Returns: whether that is all.
    mutating func compact(upTo target: Revision, slice: Int64) throws(Fault) -> Bool {
        try settle()
        let end = min(target.number, revision)
        guard end > compacted else { return true }
        let next = min(end, compacted + slice)
        do {
            try execute("BEGIN IMMEDIATE")
            try tables.compact(upTo: next)
        } catch {
            rollback()
            throw SQLiteFaults.fault(error, doing: "compacting", path: path)
        }
        do {
            try execute("COMMIT")
        } catch {
            rollback()
            isUnsure = true
            throw SQLiteFaults.fault(error, doing: "compacting", path: path)
        }
        compacted = next
        return next == end
    }

    /// Makes sure that memory and disk agree.
    ///
    /// - Throws: ``Reason/ioFailed`` when the disk still cannot be written.
    mutating func settle() throws(Fault) {
        guard isUnsure else { return }
        do {
            // The failed frames are in the log behind the last good one, where this overwrites
            // the first of them; the checksums that follow then no longer fit.
            try execute("BEGIN IMMEDIATE")
            try execute("UPDATE meta SET fence = fence + 1")
            try execute("COMMIT")
            try reload()
            isUnsure = false
        } catch {
            rollback()
            throw SQLiteFaults.fault(error, doing: "finding out what was written", path: path)
        }
    }

    private mutating func settleOrStop() throws(Setback) {
        do {
            try settle()
        } catch {
            throw .nothing(error)
        }
    }

    private mutating func attempt(
        _ batches: [EncodedBatch],
        _ refused: [Int: Fault]
    ) throws(Setback) -> [Verdict] {
        var verdicts: [Verdict] = []
        var next = revision
        do {
            try execute("BEGIN IMMEDIATE")
            for (place, batch) in batches.enumerated() {
                if let fault = refused[place] {
                    verdicts.append(.failure(fault))
                } else {
                    verdicts.append(try one(batch, place: place, next: &next))
                }
            }
            if next > revision { try tables.setRevision(next) }
        } catch {
            rollback()
            if let setback = error as? Setback { throw setback }
            throw .nothing(SQLiteFaults.fault(error, doing: "writing", path: path))
        }
        if next == revision {
            rollback()
        } else {
            try commit(next, verdicts)
        }
        return verdicts
    }

    /// Checks the conditions of one batch, and writes it if they hold.
    private mutating func one(
        _ batch: EncodedBatch,
        place: Int,
        next: inout Int64
    ) throws -> Verdict {
        do {
            var heads: [RowName: RowHead?] = [:]
            for condition in batch.conditions {
                let head = try tables.head(condition.table, condition.key)
                heads[RowName(condition.table, condition.key)] = head
                let found = head.map { Revision($0.version) }
                guard found == condition.version else {
                    return .failure(Fault.storeConflict(condition, found: found))
                }
            }
            guard !batch.writes.isEmpty else { return .success(Revision(next)) }
            try write(batch, heads: heads, revision: next + 1)
            next += 1
            return .success(Revision(next))
        } catch  where SQLiteFaults.concernsOneBatch(error) {
            throw Setback.batch(place, SQLiteFaults.fault(error, doing: "writing", path: path))
        }
    }

    private mutating func write(
        _ batch: EncodedBatch,
        heads: [RowName: RowHead?],
        revision: Int64
    ) throws {
        var heads = heads
        var position = 0
        for write in batch.writes {
            let name = RowName(write.table, write.key)
            let old: RowHead?
            if let known = heads[name] {
                old = known
            } else {
                old = try tables.head(write.table, write.key)
            }
            if write.body != nil {
                try tables.put(write, over: old, at: revision)
                heads[name] = .some(RowHead(version: revision, entries: write.entries.packed))
            } else {
                guard let old else { continue }
                try tables.delete(write.table, write.key, old)
                heads[name] = .some(nil)
            }
            try tables.log(write, revision: revision, position: position)
            position += 1
        }
    }

    private mutating func commit(_ next: Int64, _ verdicts: [Verdict]) throws(Setback) {
        do {
            try execute("COMMIT")
            revision = next
        } catch {
            let fault = SQLiteFaults.fault(error, doing: "committing", path: path)
            rollback()
            // A full disk refused the frames themselves; nothing of them can come back.
            if fault.reason == .diskFull { throw .nothing(fault) }
            isUnsure = true
            do {
                try settle()
            } catch {
                throw .unknown(fault, verdicts)
            }
            guard revision == next else { throw .nothing(fault) }
        }
    }

    private mutating func rollback() {
        // SQLite rolls back by itself after some errors; then this says so, and that is fine.
        try? execute("ROLLBACK")
        tables.forgetTables()
    }

    private mutating func reload() throws {
        (revision, compacted) = try tables.revisions()
    }

    private mutating func execute(_ sql: StaticString) throws { try tables.execute(sql) }

    /// Only who would have been written has an unknown outcome. A conflict may have been with
    /// a row of this very group, so that it says nothing either.
    private static func unknown(
        _ fault: Fault,
        _ batches: [EncodedBatch],
        _ verdicts: [Verdict]
    ) -> [Verdict] {
        zip(batches, verdicts).map { batch, verdict in
            switch verdict {
            case .success where !batch.writes.isEmpty:
                return .failure(Fault.unknownOutcome(fault.message, cause: fault.cause))
            case .success, .failure:
                return .failure(fault)
            }
        }
    }
}
