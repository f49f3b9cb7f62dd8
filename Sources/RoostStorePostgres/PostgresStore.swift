import Foundation
package import RoostModel
package import RoostStore
import RoostStoreRows

/// A ``Store`` in a PostgreSQL database: for a control plane with more than one replica, and for
/// who has a database server already.
///
/// Any number of stores may have one database open, directly or through a pooler in transaction mode.
/// Commits that wait at the same time in one store share a transaction. All blocking is done on
/// threads of its own. A server that goes away and comes back is waited for and found again; a commit
/// that was under way is then neither lost nor done twice. May be shared by any number of tasks.
package final class PostgresStore: Store {
    /// Where it is, without a password.
    package let address: PostgresAddress
    /// `15.18`, as the server said when the store was opened.
    package let serverVersion: String
    /// Whether there is a pooler in between: then notifications do not come, and a wait for changes
    /// looks at intervals only.
    package let isPooled: Bool
    private let stop: StopFlag
    private let writer: PostgresWriter
    private let readers: PostgresReaders
    private let bell: PostgresBell

    /// Opens the store at `address`, and makes its tables if there are none.
    ///
    /// - Throws: ``Reason/storeUnreachable`` when no server answers in time,
    ///   ``Reason/storeRefused`` for a wrong password, a missing database or privilege, a database
    ///   that is not UTF-8, a schema newer than this build's; the database is left as it is.
    package static func open(
        _ address: PostgresAddress,
        options: PostgresOptions = PostgresOptions()
    ) async throws(Fault) -> PostgresStore {
        let stop = StopFlag()
        let found = try await onOwnThread("store-open") { () throws(Fault) in
            try prepare(PostgresLine(address, options, stop))
        }
        return PostgresStore(address, options, stop, found)
    }

    private init(
        _ address: PostgresAddress,
        _ options: PostgresOptions,
        _ stop: StopFlag,
        _ found: (version: Int, isPooled: Bool)
    ) {
        self.address = address
        self.stop = stop
        serverVersion = "\(found.version / 10_000).\(found.version % 10_000)"
        isPooled = found.isPooled
        writer = PostgresWriter(address, options, stop)
        readers = PostgresReaders(address, options, stop)
        bell = PostgresBell(address, options, stop)
    }

    deinit {
        writer.shut()
        readers.shut()
        bell.shut()
        stop.raise()
    }

    /// Finishes what was asked before, if the server answers within seconds, and closes the
    /// connections. Later calls throw ``Reason/shuttingDown``. Call it once.
    package func close() async {
        let (writer, readers, bell, stop) = (writer, readers, bell, stop)
        writer.shut()
        readers.shut()
        bell.shut()
        stop.raise()
        await withCheckedContinuation { continuation in
            startThread(named: "store-close") {
                writer.join()
                readers.join()
                bell.join()
                continuation.resume()
            }
        }
    }

    package func get<R: RoostStore.Row>(
        _ type: R.Type,
        _ key: String
    ) async throws(Fault) -> Versioned<R>? {
        guard let statement = PostgresQueries.row(R.table, key) else { return nil }
        let name = address.name
        return try await readers.read("reading \(R.table)/\(key)", statement) { rows in
            guard rows.count == 1 else { return nil }
            return try RowCoding.decode(
                type,
                key: key,
                version: rows.int(0, 0),
                body: rows.data(0, 1),
                path: name
            )
        }
    }

    package func list<R: RoostStore.Row>(
        _ type: R.Type,
        _ query: Query
    ) async throws(Fault) -> Listing<R> {
        try query.check()
        let name = address.name
        let statement = PostgresQueries.rows(R.table, query)
        return try await readers.read("listing \(R.table)", statement) { rows in
            guard rows.count > 0 else { throw PostgresTrouble.lost("roost.meta has no row") }
            var found: [Versioned<R>] = []
            for row in 0..<rows.count where !rows.isNull(row, 1) {
                found.append(
                    try RowCoding.decode(
                        type,
                        key: rows.text(row, 1),
                        version: rows.int(row, 2),
                        body: rows.data(row, 3),
                        path: name
                    )
                )
            }
            return Listing(rows: found, revision: Revision(rows.int(0, 0)))
        }
    }

    @discardableResult
    package func commit(_ batch: Batch) async throws(Fault) -> Revision {
        try await writer.commit(try EncodedBatch(batch))
    }

    package func changes(after revision: Revision, limit: Int) async throws(Fault) -> ChangePage {
        try checkPage(limit)
        let statement = PostgresQueries.changes(after: revision, limit: limit)
        return try await readers.read("reading changes", statement) { rows in
            guard rows.count > 0 else { throw PostgresTrouble.lost("roost.meta has no row") }
            let (latest, compacted) = (Revision(rows.int(0, 0)), Revision(rows.int(0, 1)))
            guard (compacted...latest).contains(revision) else {
                throw Fault.compacted(revision, kept: compacted, latest: latest)
            }
            var changes: [Change] = []
            for row in 0..<rows.count where !rows.isNull(row, 4) {
                changes.append(
                    Change(
                        revision: Revision(rows.int(row, 4)),
                        table: rows.text(row, 5),
                        key: rows.text(row, 6),
                        isDeletion: rows.bool(row, 7)
                    )
                )
            }
            let end = rows.isNull(0, 2) ? latest : changes.last?.revision ?? revision
            return ChangePage(changes: changes, revision: end)
        }
    }

    package func revision() async throws(Fault) -> Revision {
        try await readers.read("reading the revision", PostgresQueries.revision) { rows in
            guard rows.count == 1 else { throw PostgresTrouble.lost("roost.meta has no row") }
            return Revision(rows.int(0, 0))
        }
    }

    package func compact(upTo revision: Revision) async throws(Fault) {
        try await writer.compact(upTo: revision)
    }

    /// Waits until something has been committed after `revision`, by whomever, or `time` is over;
    /// answers the latest revision then.
    ///
    /// A notification makes it quick where one can come; looking at intervals makes it sure.
    package func revision(
        after revision: Revision,
        within time: Duration
    ) async throws(Fault) -> Revision {
        try await bell.wait(after: revision, within: time)
    }

    private static func prepare(
        _ line: PostgresLine
    ) throws(Fault) -> (version: Int, isPooled: Bool) {
        let deadline = ContinuousClock.now + line.options.openPatience
        do throws(PostgresTrouble) {
            return try line.insist(until: deadline) { () throws(PostgresTrouble) in
                let first = try PostgresConnection(
                    line.address,
                    stop: line.stop,
                    deadline: deadline
                )
                // The schema may take its time, if another is at it.
                try PostgresSchema.migrate(first, deadline: max(deadline, .now + .seconds(60)))
                let version = first.serverVersion
                _ = try line.ready(deadline)
                return (version, line.isPooled)
            }
        } catch {
            throw PostgresFaults(address: line.address).fault(error, doing: "opening the store")
        }
    }
}
