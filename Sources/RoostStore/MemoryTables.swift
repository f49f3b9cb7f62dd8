import RoostModel

/// The whole memory store as a value: what a commit does, without locks, hooks or `async`.
struct MemoryTables: Sendable {
    private(set) var revision = Revision(0)
    /// Changes up to here are forgotten.
    private(set) var compacted = Revision(0)
    private var tables: [String: Table] = [:]
    /// In the order in which they happened.
    private var log: [Change] = []

    private struct Stored: Sendable {
        let row: any Row
        let version: Revision
    }

    private struct Table: Sendable {
        var rows = SortedRows<Stored>()
        /// Keys `name NUL value NUL key`: one range per index entry, itself in key order.
        var index = SortedRows<String>()
    }

    func get<R: Row>(_ type: R.Type, _ key: String) throws(Fault) -> Versioned<R>? {
        guard let stored = tables[R.table]?.rows[ByteOrderedKey(key)] else { return nil }
        return try MemoryTables.typed(stored)
    }

    func list<R: Row>(_ type: R.Type, _ query: Query) throws(Fault) -> Listing<R> {
        try query.check()
        guard let table = tables[R.table] else { return Listing(rows: [], revision: revision) }
        var found: [Stored] = []
        if let first = query.matching.first {
            let prefix = "\(first.name)\0\(first.value)\0"
            let start = ByteOrderedKey(prefix + (query.after ?? ""))
            table.index.scan(from: start, inclusive: query.after == nil) { entry, key in
                guard entry.text.utf8.starts(with: prefix.utf8) else { return false }
                if let stored = table.rows[ByteOrderedKey(key)],
                    MemoryTables.has(query.matching, stored.row)
                {
                    found.append(stored)
                }
                return found.count < query.limit
            }
        } else {
            let start = query.after.map { ByteOrderedKey($0) }
            table.rows.scan(from: start, inclusive: false) { _, stored in
                found.append(stored)
                return found.count < query.limit
            }
        }
        var rows: [Versioned<R>] = []
        rows.reserveCapacity(found.count)
        for stored in found { rows.append(try MemoryTables.typed(stored)) }
        return Listing(rows: rows, revision: revision)
    }

    mutating func commit(_ batch: Batch) throws(Fault) -> Revision {
        try batch.check()
        for condition in batch.conditions {
            let found = tables[condition.table]?.rows[ByteOrderedKey(condition.key)]?.version
            guard found == condition.version else {
                throw Fault.storeConflict(condition, found: found)
            }
        }
        guard !batch.writes.isEmpty else { return revision }
        revision = Revision(revision.number + 1)
        for write in batch.writes {
            switch write {
            case .put(let row): put(row)
            case .delete(let table, let key): delete(table, key)
            }
        }
        return revision
    }

    func changes(after start: Revision, limit: Int) throws(Fault) -> ChangePage {
        try checkPage(limit)
        guard start >= compacted, start <= revision else {
            throw Fault.compacted(start, kept: compacted, latest: revision)
        }
        let first = firstIndex(after: start)
        var end = min(first + limit, log.count)
        guard end < log.count else {
            return ChangePage(changes: Array(log[first...]), revision: revision)
        }
        let cut = log[end].revision
        if log[first].revision == cut {
            // One commit with more changes than asked for comes whole: a page always gets on.
            end = firstIndex(after: cut)
        } else {
            end = firstIndex(after: Revision(cut.number - 1))
        }
        return ChangePage(changes: Array(log[first..<end]), revision: log[end - 1].revision)
    }

    mutating func compact(upTo limit: Revision) {
        let end = min(limit, revision)
        guard end > compacted else { return }
        log.removeFirst(firstIndex(after: end))
        compacted = end
    }

    private mutating func put(_ row: any Row) {
        let name = type(of: row).table
        let key = ByteOrderedKey(row.key)
        var table = tables.removeValue(forKey: name) ?? Table()
        if let old = table.rows[key] { MemoryTables.unindex(old.row, in: &table) }
        table.rows[key] = Stored(row: row, version: revision)
        for entry in row.indexes { table.index[MemoryTables.place(entry, row.key)] = row.key }
        tables[name] = table
        log.append(Change(revision: revision, table: name, key: row.key, isDeletion: false))
    }

    private mutating func delete(_ name: String, _ key: String) {
        guard var table = tables.removeValue(forKey: name) else { return }
        if let old = table.rows[ByteOrderedKey(key)] {
            MemoryTables.unindex(old.row, in: &table)
            table.rows[ByteOrderedKey(key)] = nil
            log.append(Change(revision: revision, table: name, key: key, isDeletion: true))
        }
        tables[name] = table
    }

    private static func unindex(_ row: any Row, in table: inout Table) {
        for entry in row.indexes { table.index[place(entry, row.key)] = nil }
    }

    private static func place(_ entry: IndexEntry, _ key: String) -> ByteOrderedKey {
        ByteOrderedKey("\(entry.name)\0\(entry.value)\0\(key)")
    }

    private static func has(_ wanted: [IndexEntry], _ row: any Row) -> Bool {
        let entries = row.indexes
        return wanted.allSatisfy { want in
            entries.contains {
                ByteOrderedKey($0.name) == ByteOrderedKey(want.name)
                    && ByteOrderedKey($0.value) == ByteOrderedKey(want.value)
            }
        }
    }

    private static func typed<R: Row>(_ stored: Stored) throws(Fault) -> Versioned<R> {
        guard let row = stored.row as? R else {
            throw Fault.unreadableRow(table: R.table, key: stored.row.key, path: "memory")
        }
        return Versioned(row: row, version: stored.version)
    }

    /// The first place in the log that is after `start`.
    private func firstIndex(after start: Revision) -> Int {
        var low = 0
        var high = log.count
        while low < high {
            let middle = low + (high - low) / 2
            if log[middle].revision > start { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
