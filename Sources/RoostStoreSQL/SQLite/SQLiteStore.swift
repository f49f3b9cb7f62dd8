import GRDB
package import RoostModel
package import RoostStore
import RoostStoreRows

/// A ``Store`` in one SQLite file: the default of a laptop and of a control plane with one replica.
///
/// Commits that wait at the same time share one sync of the disk. Reads see one revision each and
/// never wait for a writer. All blocking calls are made on threads of its own. May be shared by
/// any number of tasks; one process may have the file open, which its owner's lock sees to.
package final class SQLiteStore: Store {
    private let path: String
    private let writer: SQLiteWriter
    private let readers: SQLiteReaders

    /// How the store uses the machine.
    package struct Options: Sendable {
        /// Threads that read, each with a connection: at least 1.
        package var readers: Int
        /// The most commits that share one transaction: at least 1.
        package var groupLimit: Int
        /// Pages of 4 KiB that the log takes up before it is copied into the file. Each copying
        /// costs two syncs and stops the writer meanwhile: at 2,000 it cost a sixth of the rate.
        package var checkpointPages: Int

        package init(readers: Int = 2, groupLimit: Int = 256, checkpointPages: Int = 8_000) {
            self.readers = readers
            self.groupLimit = groupLimit
            self.checkpointPages = checkpointPages
        }
    }

    /// Opens the store at `path`, and makes it if there is none.
    ///
    /// - Throws: ``Reason/stateUnreadable`` for a file that is damaged, is no store, or was written
    ///   by a newer build; it is left as it is. ``Reason/diskFull`` or ``Reason/ioFailed``.
    package static func open(
        path: String,
        options: Options = Options()
    ) async throws(Fault) -> SQLiteStore {
        try await onOwnThread("store-open") { () throws(Fault) in
            try SQLiteStore(path: path, options: options)
        }
    }

    /// Blocks, so ``open(path:options:)`` calls it on a thread of its own.
    private init(path: String, options: Options) throws(Fault) {
        self.path = path
        let queue = try SQLiteFile.openWriter(
            path: path,
            checkpointPages: options.checkpointPages
        )
        readers = try SQLiteReaders(path: path, count: max(1, options.readers))
        writer = SQLiteWriter(queue, path: path, groupLimit: max(1, options.groupLimit))
    }

    deinit {
        readers.stop()
        writer.stop()
    }

    /// Finishes what was asked before, checkpoints and closes the file. Later calls throw
    /// ``Reason/shuttingDown``. Call it once.
    package func close() async throws(Fault) {
        let readers = readers
        let writer = writer
        try await onOwnThread("store-close") { () throws(Fault) in
            readers.stop()
            readers.join()
            writer.stop()
            try writer.join()
        }
    }

    package func get<R: RoostStore.Row>(
        _ type: R.Type,
        _ key: String
    ) async throws(Fault) -> Versioned<R>? {
        let stored = try await read("reading \(R.table)/\(key)") { tables in
            try tables.row(R.table, key)
        }
        guard let stored else { return nil }
        return try decode(type, stored)
    }

    package func list<R: RoostStore.Row>(
        _ type: R.Type,
        _ query: Query
    ) async throws(Fault) -> Listing<R> {
        try query.check()
        let path = path
        return try await read("listing \(R.table)") { tables in
            let revision = try tables.revisions().latest
            let rows = try tables.rows(R.table, query).map {
                try RowCoding.decode(
                    type,
                    key: $0.key,
                    version: $0.version,
                    body: $0.body,
                    path: path
                )
            }
            return Listing(rows: rows, revision: Revision(revision))
        }
    }

    @discardableResult
    package func commit(_ batch: Batch) async throws(Fault) -> Revision {
        try await writer.commit(try EncodedBatch(batch))
    }

    package func changes(after revision: Revision, limit: Int) async throws(Fault) -> ChangePage {
        try checkPage(limit)
        return try await read("reading changes") { tables in
            let (latest, compacted) = try tables.revisions()
            guard (compacted...latest).contains(revision.number) else {
                throw Fault.compacted(
                    revision,
                    kept: Revision(compacted),
                    latest: Revision(latest)
                )
            }
            return try ChangePages.page(
                after: revision,
                limit: limit,
                latest: Revision(latest)
            ) { start, limit in
                try tables.changes(after: start.number, limit: limit)
            }
        }
    }

    package func revision() async throws(Fault) -> Revision {
        try await read("reading the revision") { Revision(try $0.revisions().latest) }
    }

    package func compact(upTo revision: Revision) async throws(Fault) {
        try await writer.compact(upTo: revision)
    }

    /// Writes a whole copy of one revision to `destination`, while commits go on, and syncs it.
    /// A file of that name is replaced in one step; after a throw it is as it was.
    package func backup(to destination: String) async throws(Fault) {
        try await readers.withQueue("writing the backup \(destination)") { queue in
            try SQLiteBackup.write(from: queue, to: destination)
        }
    }

    private func read<T: Sendable>(
        _ doing: String,
        _ body: @escaping @Sendable (inout SQLiteTables) throws -> T
    ) async throws(Fault) -> T {
        if writer.isUnsure { try await writer.settle() }
        return try await readers.read(doing, body)
    }

    private func decode<R: RoostStore.Row>(
        _ type: R.Type,
        _ stored: StoredRow
    ) throws(Fault) -> Versioned<R> {
        try RowCoding.decode(
            type,
            key: stored.key,
            version: stored.version,
            body: stored.body,
            path: path
        )
    }
}
