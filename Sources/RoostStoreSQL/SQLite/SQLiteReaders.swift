import GRDB
import RoostModel
import RoostStore
import RoostStoreRows

/// Threads that read, each with a connection of its own.
final class SQLiteReaders: Sendable {
    typealias Job = @Sendable (DatabaseQueue) -> Void

    private let inbox = Inbox<Job>()
    private let ended = Inbox<Void>()
    private let count: Int
    private let path: String

    /// Opens `count` connections to the file at `path`, which the writer has open.
    init(path: String, count: Int) throws(Fault) {
        self.path = path
        self.count = count
        var queues: [DatabaseQueue] = []
        for _ in 0..<count { queues.append(try SQLiteFile.openReader(path: path)) }
        for (offset, queue) in queues.enumerated() {
            startThread(named: "store-read-\(offset)") { [inbox, ended] in
                while let job = inbox.take(1).first { job(queue) }
                try? queue.close()
                _ = ended.send(())
            }
        }
    }

    /// Runs `body` in a transaction that sees one revision.
    func read<T: Sendable>(
        _ doing: String,
        _ body: @escaping @Sendable (inout SQLiteTables) throws -> T
    ) async throws(Fault) -> T {
        try await withQueue(doing) { queue in
            try queue.inDatabase { database in
                try database.execute(sql: "BEGIN DEFERRED")
                defer { try? database.execute(sql: "COMMIT") }
                var tables = SQLiteTables(database)
                return try body(&tables)
            }
        }
    }

    /// Runs `body` on one of the threads, with its connection.
    func withQueue<T: Sendable>(
        _ doing: String,
        _ body: @escaping @Sendable (DatabaseQueue) throws -> T
    ) async throws(Fault) -> T {
        let result: Result<T, Fault> = await withCheckedContinuation { continuation in
            let accepted = inbox.send { [path] queue in
                do {
                    continuation.resume(returning: .success(try body(queue)))
                } catch {
                    let fault = SQLiteFaults.fault(error, doing: doing, path: path)
                    continuation.resume(returning: .failure(fault))
                }
            }
            if !accepted {
                continuation.resume(returning: .failure(SQLiteReaders.closed(path)))
            }
        }
        return try result.get()
    }

    /// Lets the threads finish what they were given, and end. Does not wait.
    func stop() { inbox.close() }

    /// Blocks until all threads have ended.
    func join() {
        for _ in 0..<count { _ = ended.take(1) }
    }

    static func closed(_ path: String) -> Fault {
        Fault(.shuttingDown, "the store \(path) is closed", metadata: ["path": path])
    }
}
