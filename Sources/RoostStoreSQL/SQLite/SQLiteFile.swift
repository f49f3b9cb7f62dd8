import Foundation
import GRDB
import RoostModel
import RoostStore

/// Opening the file: settings, what it is, whether it is whole, and its schema.
enum SQLiteFile {
    /// Opens the one connection that writes, and brings the file up to the newest schema.
    ///
    /// - Throws: ``Reason/stateUnreadable`` for a file that is no store of ours, newer than this
    ///   build, or damaged. The file is left as it is.
    static func openWriter(path: String, checkpointPages: Int) throws(Fault) -> DatabaseQueue {
        let version = try inspect(path)
        do {
            let queue = try DatabaseQueue(path: path, configuration: writing())
            do {
                try queue.inDatabase { try prepare($0, path: path, from: version, checkpointPages) }
            } catch {
                try? queue.close()
                throw error
            }
            return queue
        } catch {
            throw SQLiteFaults.fault(error, doing: "opening \(path)", path: path)
        }
    }

    /// Opens a connection that only reads.
    static func openReader(path: String) throws(Fault) -> DatabaseQueue {
        do {
            return try DatabaseQueue(path: path, configuration: reading())
        } catch {
            throw SQLiteFaults.fault(error, doing: "opening \(path)", path: path)
        }
    }

    /// Checkpoints, notes that nobody has the file open, and closes.
    static func close(_ writer: DatabaseQueue) throws {
        try writer.inDatabase { database in
            try database.execute(sql: "UPDATE meta SET clean = 1")
            try database.execute(sql: "PRAGMA wal_checkpoint(TRUNCATE)")
        }
        try writer.close()
    }

    private static func reading() -> Configuration {
        var configuration = writing()
        configuration.readonly = true
        configuration.prepareDatabase { try $0.execute(sql: "PRAGMA cache_size = -128") }
        return configuration
    }

    private static func writing() -> Configuration {
        var configuration = Configuration()
        configuration.busyMode = .timeout(5)
        return configuration
    }

    /// FULL: a commit that was answered is on the disk. The log's file shrinks again after a long
    /// reader. The pages that connections keep to themselves are few, for the kernel's cache has them
    /// too: they were what a daemon grew by in its first thousand VMs.
    private static func setUp(_ database: Database, path: String, _ checkpointPages: Int) throws {
        let mode = try String.fetchOne(database, sql: "PRAGMA journal_mode = WAL")
        guard mode == "wal" else {
            throw Fault(
                .ioFailed,
                "\(path): SQLite cannot keep a write-ahead log there",
                metadata: ["path": path]
            )
        }
        try database.execute(
            sql: """
                PRAGMA synchronous = FULL;
                PRAGMA wal_autocheckpoint = \(max(1, checkpointPages));
                PRAGMA journal_size_limit = 67108864;
                PRAGMA cache_size = -256;
                PRAGMA temp_store = MEMORY;
                """
        )
    }

    /// Looks at the file before anything can write to it, and answers its schema version.
    ///
    /// Through a connection that only reads: one that may write would copy the log into a file
    /// that is perhaps not ours when it closes. `nil` if that cannot be: a process that ended
    /// while it made the file has left a journal, which only a writer may take back.
    private static func inspect(_ path: String) throws(Fault) -> Int? {
        guard FileManager.default.fileExists(atPath: path) else { return 0 }
        do {
            let queue = try DatabaseQueue(path: path, configuration: reading())
            defer { try? queue.close() }
            return try queue.inDatabase { try look($0, path: path) }
        } catch DatabaseError.SQLITE_READONLY {
            return nil
        } catch {
            throw SQLiteFaults.fault(error, doing: "reading \(path)", path: path)
        }
    }

    private static func look(_ database: Database, path: String) throws -> Int {
        let version = try check(database, path: path)
        if version > 0, try Int.fetchOne(database, sql: "SELECT clean FROM meta") != 1 {
            try checkPages(database, path: path)
        }
        return version
    }

    private static func prepare(
        _ database: Database,
        path: String,
        from inspected: Int?,
        _ checkpointPages: Int
    ) throws {
        let version = try inspected ?? look(database, path: path)
        try setUp(database, path: path, checkpointPages)
        try database.inTransaction(.immediate) {
            for (offset, step) in SQLiteMigrations.steps.enumerated() where offset >= version {
                try database.execute(sql: step)
            }
            try database.execute(
                sql: """
                    PRAGMA application_id = \(SQLiteMigrations.applicationID);
                    PRAGMA user_version = \(SQLiteMigrations.latest);
                    UPDATE meta SET clean = 0;
                    """
            )
            return .commit
        }
    }

    /// The schema version of the file; 0 for an empty one.
    private static func check(_ database: Database, path: String) throws -> Int {
        let id = try Int32.fetchOne(database, sql: "PRAGMA application_id") ?? 0
        let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
        let tables =
            try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_master") ?? 0
        if tables == 0, version == 0, id == 0 { return 0 }
        guard id == SQLiteMigrations.applicationID else {
            throw Fault(
                .stateUnreadable,
                "\(path) is an SQLite file, but not a store of roost",
                metadata: ["path": path]
            )
        }
        guard version <= SQLiteMigrations.latest else {
            throw Fault(
                .stateUnreadable,
                "\(path) has schema \(version), newer than this build's \(SQLiteMigrations.latest)",
                metadata: ["path": path]
            )
        }
        return version
    }

    /// Reads every page once. Only after a stop that was not clean: the time grows with the file,
    /// and a file that was closed was whole.
    private static func checkPages(_ database: Database, path: String) throws {
        let answer = try String.fetchOne(database, sql: "PRAGMA quick_check(1)")
        guard answer == "ok" else {
            throw Fault(
                .stateUnreadable,
                "\(path) is damaged: \(answer ?? "no answer")",
                metadata: ["path": path]
            )
        }
    }
}
