import Foundation
import GRDB
import RoostModel
import RoostStore
import RoostStoreRows

/// One connection's view of the tables: the statements of the contract, without transactions.
/// Belongs to one thread.
struct SQLiteTables {
    let database: Database
    /// Tables known to exist. A rollback may take one away: see ``forgetTables()``.
    private var known: Set<String> = []
    /// Statements by table and by the address of their constant text: SQLite compiles each once,
    /// and no text is put together or hashed for a commit.
    private var statements: [StatementName: SQLiteStatement] = [:]

    init(_ database: Database) { self.database = database }

    /// Forgets which tables exist. After every rollback.
    mutating func forgetTables() { known = [] }

    /// The statement for `sql`, in which `{table}` stands for the rows of `table`.
    private mutating func prepare(
        _ sql: StaticString,
        _ table: String = ""
    ) throws -> SQLiteStatement {
        let name = StatementName(text: UInt(bitPattern: sql.utf8Start), table: table)
        if let statement = statements[name] { return statement }
        let text = sql.withUTF8Buffer { String(decoding: $0, as: UTF8.self) }
        let statement = try SQLiteStatement(
            database,
            text.replacingOccurrences(of: "{table}", with: "row_\(table)")
        )
        statements[name] = statement
        return statement
    }

    /// Runs a statement without arguments.
    mutating func execute(_ sql: StaticString) throws { try prepare(sql).run() }

    // MARK: Reading

    /// The latest revision and the one up to which changes are forgotten.
    mutating func revisions() throws -> (latest: Int64, compacted: Int64) {
        let statement = try prepare("SELECT revision, compacted FROM meta")
        guard try statement.step() else {
            throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "meta has no row")
        }
        defer { statement.reset() }
        return (statement.int64(0), statement.int64(1))
    }

    /// The row under `key` as it is stored.
    mutating func row(_ table: String, _ key: String) throws -> StoredRow? {
        guard try exists(table) else { return nil }
        let statement = try prepare("SELECT key, version, body FROM {table} WHERE key = ?", table)
        try statement.bind(1, key)
        guard try statement.step() else { return nil }
        defer { statement.reset() }
        return StoredRow(statement)
    }

    /// Rows in key order.
    mutating func rows(_ table: String, _ query: Query) throws -> [StoredRow] {
        guard try exists(table) else { return [] }
        let statement = try SQLiteStatement(database, SQLiteTables.listing(table, query))
        var index: Int32 = 0
        func next() -> Int32 {
            index += 1
            return index
        }
        for entry in query.matching {
            try statement.bind(next(), table)
            try statement.bind(next(), entry.name)
            try statement.bind(next(), entry.value)
        }
        if let after = query.after { try statement.bind(next(), after) }
        statement.bind(next(), Int64(query.limit))
        var rows: [StoredRow] = []
        while try statement.step() { rows.append(StoredRow(statement)) }
        return rows
    }

    /// The version and index entries of a row; `nil` if there is none.
    mutating func head(_ table: String, _ key: String) throws -> RowHead? {
        guard try exists(table) else { return nil }
        let statement = try prepare("SELECT version, entries FROM {table} WHERE key = ?", table)
        try statement.bind(1, key)
        guard try statement.step() else { return nil }
        defer { statement.reset() }
        return RowHead(version: statement.int64(0), entries: statement.bytes(1))
    }

    /// Changes after `start`, at most `limit`, or all of the commit that follows when `limit` is
    /// `nil`.
    func changes(after start: Int64, limit: Int?) throws -> [Change] {
        let rest = limit == nil ? "revision = ?" : "revision > ?"
        let statement = try SQLiteStatement(
            database,
            """
            SELECT revision, tbl, key, deletion FROM change
            WHERE \(rest) ORDER BY revision, position LIMIT ?
            """
        )
        statement.bind(1, start)
        statement.bind(2, Int64(limit ?? -1))
        var changes: [Change] = []
        while try statement.step() {
            changes.append(
                Change(
                    revision: Revision(statement.int64(0)),
                    table: statement.text(1),
                    key: statement.text(2),
                    isDeletion: statement.int64(3) != 0
                )
            )
        }
        return changes
    }

    // MARK: Writing

    /// Writes a row over `old` and sets its index entries right.
    mutating func put(_ write: EncodedBatch.Write, over old: RowHead?, at revision: Int64) throws {
        guard let body = write.body else { return }
        if try !exists(write.table) {
            try database.execute(sql: SQLiteMigrations.rowTable(write.table))
            known.insert(write.table)
        }
        let statement =
            old == nil
            ? try prepare(
                "INSERT INTO {table} (version, entries, body, key) VALUES (?, ?, ?, ?)",
                write.table
            )
            : try prepare(
                "UPDATE {table} SET version = ?, entries = ?, body = ? WHERE key = ?",
                write.table
            )
        statement.bind(1, revision)
        try statement.bindBlob(2, write.entries.packed)
        try statement.bindText(3, body)
        try statement.bind(4, write.key)
        try statement.run()
        let before = old?.entries ?? []
        guard before != write.entries.packed else { return }
        try unindex(write.table, write.key, before)
        for entry in write.entries.entries {
            try run(
                "INSERT INTO entry (tbl, name, value, key) VALUES (?, ?, ?, ?)",
                write.table,
                entry.name,
                entry.value,
                write.key
            )
        }
    }

    /// Removes a row and its index entries.
    mutating func delete(_ table: String, _ key: String, _ old: RowHead) throws {
        let statement = try prepare("DELETE FROM {table} WHERE key = ?", table)
        try statement.bind(1, key)
        try statement.run()
        try unindex(table, key, old.entries)
    }

    /// Adds to the change log.
    mutating func log(_ change: EncodedBatch.Write, revision: Int64, position: Int) throws {
        let statement = try prepare(
            "INSERT INTO change (revision, position, tbl, key, deletion) VALUES (?, ?, ?, ?, ?)"
        )
        statement.bind(1, revision)
        statement.bind(2, Int64(position))
        try statement.bind(3, change.table)
        try statement.bind(4, change.key)
        statement.bind(5, change.body == nil ? 1 : 0)
        try statement.run()
    }

    mutating func setRevision(_ revision: Int64) throws {
        let statement = try prepare("UPDATE meta SET revision = ?")
        statement.bind(1, revision)
        try statement.run()
    }

    mutating func compact(upTo revision: Int64) throws {
        let statement = try prepare("DELETE FROM change WHERE revision <= ?")
        statement.bind(1, revision)
        try statement.run()
        let meta = try prepare("UPDATE meta SET compacted = ?")
        meta.bind(1, revision)
        try meta.run()
    }

    private mutating func unindex(_ table: String, _ key: String, _ packed: [UInt8]) throws {
        guard !packed.isEmpty else { return }
        guard let entries = IndexEntries(packed: packed) else {
            throw DatabaseError(
                resultCode: .SQLITE_CORRUPT,
                message: "\(table)/\(key): bad index entries"
            )
        }
        for entry in entries.entries {
            try run(
                "DELETE FROM entry WHERE tbl = ? AND name = ? AND value = ? AND key = ?",
                table,
                entry.name,
                entry.value,
                key
            )
        }
    }

    private mutating func run(_ sql: StaticString, _ arguments: String...) throws {
        let statement = try prepare(sql)
        for (offset, argument) in arguments.enumerated() {
            try statement.bind(Int32(offset + 1), argument)
        }
        try statement.run()
    }

    private mutating func exists(_ table: String) throws -> Bool {
        if known.contains(table) { return true }
        try checkTableName(table)
        let statement = try prepare(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        )
        try statement.bind(1, "row_\(table)")
        guard try statement.step() else { return false }
        statement.reset()
        known.insert(table)
        return true
    }

    /// The first entry drives: its range of the index is already in key order. CROSS JOIN keeps
    /// SQLite from choosing otherwise.
    private static func listing(_ table: String, _ query: Query) -> String {
        guard !query.matching.isEmpty else {
            let after = query.after == nil ? "" : "WHERE key > ?"
            return "SELECT key, version, body FROM row_\(table) \(after) ORDER BY key LIMIT ?"
        }
        let others = query.matching.dropFirst().map { _ in
            """
             AND EXISTS (SELECT 1 FROM entry o
                WHERE o.tbl = ? AND o.name = ? AND o.value = ? AND o.key = e.key)
            """
        }
        return """
            SELECT r.key, r.version, r.body FROM entry e CROSS JOIN row_\(table) r ON r.key = e.key
            WHERE e.tbl = ? AND e.name = ? AND e.value = ?\(others.joined())
            \(query.after == nil ? "" : "AND e.key > ?") ORDER BY e.key LIMIT ?
            """
    }
}

/// Which prepared statement.
private struct StatementName: Hashable {
    let text: UInt
    let table: String
}

/// A row as the table has it.
struct StoredRow: Sendable {
    let key: String
    let version: Int64
    let body: Data

    fileprivate init(_ statement: SQLiteStatement) {
        key = statement.text(0)
        version = statement.int64(1)
        body = statement.data(2)
    }
}

/// What an overwrite must know of the row before.
struct RowHead: Sendable {
    let version: Int64
    let entries: [UInt8]
}
