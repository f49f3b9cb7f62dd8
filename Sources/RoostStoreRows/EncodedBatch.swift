package import Foundation
package import RoostModel
package import RoostStore

/// A batch as a database takes it: every row already JSON, so that nobody waits for an encoder
/// while a transaction is open.
package struct EncodedBatch: Sendable {
    /// What must hold, in order.
    package let conditions: [Batch.Condition]
    /// The changes, in order.
    package let writes: [Write]

    /// One change. `body` is `nil` for a deletion.
    package struct Write: Sendable {
        package let table: String
        package let key: String
        package let body: Data?
        package let entries: IndexEntries
    }

    /// Encodes the rows of `batch`.
    ///
    /// - Throws: ``Reason/invalidFields`` for rows that no store takes, ``Reason/bug`` for a row
    ///   that JSON cannot say.
    package init(_ batch: Batch) throws(Fault) {
        try batch.check()
        conditions = batch.conditions
        let encoder = RowCoding.encoder()
        var writes: [Write] = []
        writes.reserveCapacity(batch.writes.count)
        for write in batch.writes {
            switch write {
            case .put(let row):
                writes.append(try EncodedBatch.encode(row, encoder))
            case .delete(let table, let key):
                writes.append(
                    Write(table: table, key: key, body: nil, entries: IndexEntries([]))
                )
            }
        }
        self.writes = writes
    }

    private static func encode<R: Row>(_ row: R, _ encoder: JSONEncoder) throws(Fault) -> Write {
        try checkTableName(R.table)
        let body = try RowCoding.encode(row, encoder)
        return Write(
            table: R.table,
            key: row.key,
            body: body,
            entries: IndexEntries(row.indexes)
        )
    }
}

/// Refuses a table name that cannot be part of an SQL name.
///
/// - Throws: ``Reason/bug``: the name is a constant in our own source.
package func checkTableName(_ table: String) throws(Fault) {
    let isName = table.utf8.allSatisfy {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || $0 == UInt8(ascii: "_")
            || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
    }
    guard isName, (1...48).contains(table.utf8.count) else {
        throw Fault(.bug, "'\(table)' is not a table name: lowercase letters, digits and _")
    }
}

/// The index entries of one row, sorted by bytes and without repetition.
package struct IndexEntries: Sendable {
    /// The entries themselves.
    package let entries: [IndexEntry]
    /// `name NUL value NUL` for each, kept beside the row: an overwrite then knows what to remove
    /// without decoding the old row, and an unchanged list costs no write at all.
    package let packed: [UInt8]

    /// Sorts `entries`.
    package init(_ entries: [IndexEntry]) {
        guard !entries.isEmpty else {
            self.entries = []
            packed = []
            return
        }
        var sorted: [IndexEntry] = []
        var bytes: [UInt8] = []
        let pairs = entries.map { (entry: $0, bytes: IndexEntries.pack($0)) }
            .sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
        for (offset, pair) in pairs.enumerated() {
            if offset > 0, pairs[offset - 1].bytes == pair.bytes { continue }
            sorted.append(pair.entry)
            bytes += pair.bytes
        }
        self.entries = sorted
        packed = bytes
    }

    /// Reads what ``packed`` wrote; `nil` if the bytes are something else.
    package init?(packed bytes: [UInt8]) {
        var parts: [String] = []
        for part in bytes.split(separator: 0, omittingEmptySubsequences: false) {
            guard let text = String(validating: part, as: UTF8.self) else { return nil }
            parts.append(text)
        }
        // Every part ends with NUL, so the split leaves one empty part behind the last.
        guard parts.count % 2 == 1, parts.last == "" else { return nil }
        entries = stride(from: 0, to: parts.count - 1, by: 2).map {
            IndexEntry(parts[$0], parts[$0 + 1])
        }
        packed = bytes
    }

    private static func pack(_ entry: IndexEntry) -> [UInt8] {
        Array(entry.name.utf8) + [0] + Array(entry.value.utf8) + [0]
    }
}

/// A row's name, compared by bytes: Swift's own `==` would take two keys for one.
package struct RowName: Hashable, Sendable {
    private let table: String
    private let key: String

    /// The name of the row of `table` under `key`.
    package init(_ table: String, _ key: String) {
        self.table = table
        self.key = key
    }

    package static func == (left: RowName, right: RowName) -> Bool {
        left.key.utf8.elementsEqual(right.key.utf8) && left.table == right.table
    }

    package func hash(into hasher: inout Hasher) {
        var key = key
        key.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}
