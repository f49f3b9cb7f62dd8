import Foundation
import GRDB
import GRDBSQLite

/// A cached statement, bound and stepped through SQLite's own calls: rows are bound as bytes, and no
/// array of arguments is made for each of a commit's twenty statements.
struct SQLiteStatement {
    private let statement: Statement
    private let handle: OpaquePointer
    private let connection: OpaquePointer

    /// The statement for `sql`, compiled at most once for each connection.
    init(_ database: Database, _ sql: String) throws {
        guard let connection = database.sqliteConnection else {
            throw DatabaseError(resultCode: .SQLITE_MISUSE, message: "the connection is closed")
        }
        statement = try database.cachedStatement(sql: sql)
        handle = statement.sqliteStatement
        self.connection = connection
    }

    /// Binds `number` to parameter `index`, which counts from 1.
    func bind(_ index: Int32, _ number: Int64) {
        sqlite3_bind_int64(handle, index, number)
    }

    /// Binds `text`. SQLite copies it.
    func bind(_ index: Int32, _ text: String) throws {
        // An empty buffer may have no address, and SQLite would take that for NULL.
        guard !text.isEmpty else {
            return try check(sqlite3_bind_text(handle, index, "", 0, SQLiteStatement.transient))
        }
        var text = text
        let code = text.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { characters in
                sqlite3_bind_text(
                    handle,
                    index,
                    characters.baseAddress,
                    Int32(characters.count),
                    SQLiteStatement.transient
                )
            }
        }
        try check(code)
    }

    /// Binds the UTF-8 text in `data`. SQLite copies it.
    func bindText(_ index: Int32, _ data: Data) throws {
        let code = data.withUnsafeBytes { bytes in
            sqlite3_bind_text64(
                handle,
                index,
                bytes.bindMemory(to: CChar.self).baseAddress,
                UInt64(bytes.count),
                SQLiteStatement.transient,
                UInt8(SQLITE_UTF8)
            )
        }
        try check(code)
    }

    /// Binds `bytes` as a blob, or NULL when there are none. SQLite copies them.
    func bindBlob(_ index: Int32, _ bytes: [UInt8]) throws {
        guard !bytes.isEmpty else { return try check(sqlite3_bind_null(handle, index)) }
        let code = bytes.withUnsafeBytes {
            sqlite3_bind_blob64(
                handle,
                index,
                $0.baseAddress,
                UInt64($0.count),
                SQLiteStatement.transient
            )
        }
        try check(code)
    }

    /// Steps once and answers whether there is a row. Without a row the statement is reset.
    func step() throws -> Bool {
        switch sqlite3_step(handle) {
        case SQLITE_ROW:
            return true
        case SQLITE_DONE:
            sqlite3_reset(handle)
            return false
        case let code:
            let error = failure(code)
            sqlite3_reset(handle)
            throw error
        }
    }

    /// Runs a statement that has no rows.
    func run() throws {
        while try step() {}
    }

    /// Ends reading before the last row.
    func reset() { sqlite3_reset(handle) }

    /// The integer in `column`, which counts from 0.
    func int64(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }

    /// The bytes in `column`; empty for NULL.
    func data(_ column: Int32) -> Data {
        guard let bytes = sqlite3_column_blob(handle, column) else { return Data() }
        return Data(bytes: bytes, count: Int(sqlite3_column_bytes(handle, column)))
    }

    /// The bytes in `column`; empty for NULL.
    func bytes(_ column: Int32) -> [UInt8] {
        guard let bytes = sqlite3_column_blob(handle, column) else { return [] }
        let count = Int(sqlite3_column_bytes(handle, column))
        return Array(UnsafeRawBufferPointer(start: bytes, count: count))
    }

    /// The text in `column`; what is not UTF-8 is replaced.
    func text(_ column: Int32) -> String { String(decoding: bytes(column), as: UTF8.self) }

    private func check(_ code: Int32) throws {
        guard code == SQLITE_OK else { throw failure(code) }
    }

    private func failure(_ code: Int32) -> DatabaseError {
        DatabaseError(
            resultCode: ResultCode(rawValue: sqlite3_extended_errcode(connection)),
            message: String(cString: sqlite3_errmsg(connection)),
            sql: String(cString: sqlite3_sql(handle))
        )
    }

    /// `SQLITE_TRANSIENT`, which the importer cannot see: SQLite copies what is bound.
    private static let transient = unsafeBitCast(
        OpaquePointer(bitPattern: -1),
        to: sqlite3_destructor_type.self
    )
}
