package import RoostModel

/// Durable rows, changed by conditional batches only.
///
/// The whole contract: snapshot reads, one ``commit(_:)`` that takes effect completely or not at
/// all, a global revision that rises with each commit, and a change log that can be read from any
/// revision still kept. A transaction is a value, so that one suite runs on memory, SQLite and
/// PostgreSQL (also behind a transaction pooler), writers can be grouped into one fsync, and a
/// simulation can drop or repeat the answer without dropping the effect.
package protocol Store: Sendable {
    /// The row of `type` under `key`, or `nil`.
    func get<R: Row>(_ type: R.Type, _ key: String) async throws(Fault) -> Versioned<R>?

    /// Rows of `type` in key order, at one revision.
    func list<R: Row>(_ type: R.Type, _ query: Query) async throws(Fault) -> Listing<R>

    /// Makes every write of `batch` durable, if every condition holds; then returns its revision.
    ///
    /// A batch without writes only checks: it takes no revision and returns the latest one.
    ///
    /// - Throws: ``Reason/storeConflict`` naming the first condition that failed (`table` and `key`
    ///   in the metadata), ``Reason/invalidFields`` for a key or index entry beyond
    ///   ``StoreLimits``, ``Reason/diskFull`` or ``Reason/ioFailed``. After a throw nothing was written, but for `ioFailed` with
    ///   `metadata["outcome"] == "unknown"`: the caller must read before it tries again.
    @discardableResult
    func commit(_ batch: Batch) async throws(Fault) -> Revision

    /// The changes after `revision` in order, at most `limit` (1 … 10,000); waits for nothing.
    /// A single commit with more changes than `limit` comes whole.
    ///
    /// - Throws: ``Reason/revisionCompacted`` when `revision` is older than what is kept, or later
    ///   than the latest: the store has been restored from a backup.
    func changes(after revision: Revision, limit: Int) async throws(Fault) -> ChangePage

    /// The revision of the latest commit.
    func revision() async throws(Fault) -> Revision

    /// Forgets changes up to `revision`. Rows stay.
    func compact(upTo revision: Revision) async throws(Fault)
}

/// Counts commits that write. Rises by one with each; `0` is the empty store.
package struct Revision: Hashable, Comparable, Sendable, Codable {
    package let number: Int64

    package init(_ number: Int64) { self.number = number }

    package static func < (left: Revision, right: Revision) -> Bool { left.number < right.number }
}

/// One kind of row. The encoded form is JSON of its `Codable` fields; fields are only ever added,
/// as optionals.
package protocol Row: Codable, Sendable, Equatable {
    /// The table: lowercase, plural, unique in the store.
    static var table: String { get }
    /// The primary key: at most 255 bytes, no NUL. Compared and ordered by its UTF-8 bytes.
    var key: String { get }
    /// Values that ``Query/matching`` can find this row by. Names are unique in the table.
    var indexes: [IndexEntry] { get }
}

/// One value that a row can be found by.
package struct IndexEntry: Hashable, Sendable {
    package let name: String
    package let value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// A row and the revision that wrote it. The version is the row's etag.
package struct Versioned<R: Row>: Sendable, Equatable {
    package var row: R
    package let version: Revision

    package init(row: R, version: Revision) {
        self.row = row
        self.version = version
    }
}

/// Which rows to list.
package struct Query: Hashable, Sendable {
    /// Only rows that have all of these index entries. Empty means every row.
    package var matching: [IndexEntry]
    /// Only keys after this one.
    package var after: String?
    /// At most this many, 1 … 10,000.
    package var limit: Int

    package init(matching: [IndexEntry] = [], after: String? = nil, limit: Int = 10_000) {
        self.matching = matching
        self.after = after
        self.limit = limit
    }
}

/// A page of rows and the revision at which all of them were read.
package struct Listing<R: Row>: Sendable {
    package let rows: [Versioned<R>]
    package let revision: Revision

    package init(rows: [Versioned<R>], revision: Revision) {
        self.rows = rows
        self.revision = revision
    }
}

/// Writes that happen together or not at all.
package struct Batch: Sendable {
    /// What must hold for the batch to happen. Checked in order, before any write.
    package private(set) var conditions: [Condition] = []
    package private(set) var writes: [Write] = []
    /// The rows that ``writes`` replace or remove, as they were read: if the batch happens, that is what
    /// was there. For whoever tells what changed; no store looks at them.
    package private(set) var former: [any Row] = []

    package init() {}

    /// Happens only if the row of `type` under `key` was last written by `version`;
    /// `nil` means only if there is no such row.
    package mutating func require<R: Row>(_ type: R.Type, _ key: String, at version: Revision?) {
        conditions.append(Condition(table: R.table, key: key, version: version))
    }

    /// Writes `row` over whatever has its key.
    package mutating func put<R: Row>(_ row: R) {
        writes.append(.put(row))
    }

    /// Writes `row` if nobody has its key.
    package mutating func insert<R: Row>(_ row: R) {
        require(R.self, row.key, at: nil)
        put(row)
    }

    /// Writes `row` if it is still the one that was read.
    package mutating func replace<R: Row>(_ old: Versioned<R>, with row: R) {
        require(R.self, old.row.key, at: old.version)
        former.append(old.row)
        put(row)
    }

    /// Removes the row of `type` under `key`, if there is one.
    package mutating func delete<R: Row>(_ type: R.Type, _ key: String) {
        writes.append(.delete(table: R.table, key: key))
    }

    /// Writes `row` over `old`, also when that has changed since it was read.
    package mutating func overwrite<R: Row>(_ old: Versioned<R>, with row: R) {
        former.append(old.row)
        put(row)
    }

    /// Removes `old` if it is still as it was read.
    package mutating func remove<R: Row>(_ old: Versioned<R>) {
        require(R.self, old.row.key, at: old.version)
        former.append(old.row)
        delete(R.self, old.row.key)
    }

    /// Adds everything of `other` after what is here.
    package mutating func append(_ other: Batch) {
        conditions += other.conditions
        writes += other.writes
        former += other.former
    }

    /// One thing that must hold.
    package struct Condition: Hashable, Sendable {
        package let table: String
        package let key: String
        /// `nil`: the row must not exist.
        package let version: Revision?
    }

    /// One change.
    package enum Write: Sendable {
        case put(any Row)
        case delete(table: String, key: String)
    }
}

/// One change of one row, as the change log keeps it.
package struct Change: Sendable, Equatable {
    package let revision: Revision
    package let table: String
    package let key: String
    /// Whether the row was removed.
    package let isDeletion: Bool

    package init(revision: Revision, table: String, key: String, isDeletion: Bool) {
        self.revision = revision
        self.table = table
        self.key = key
        self.isDeletion = isDeletion
    }
}

/// Consecutive changes. Never ends in the middle of a commit.
package struct ChangePage: Sendable, Equatable {
    package let changes: [Change]
    /// Where to read on from.
    package let revision: Revision

    package init(changes: [Change], revision: Revision) {
        self.changes = changes
        self.revision = revision
    }
}
