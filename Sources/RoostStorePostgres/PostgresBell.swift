import RoostModel
import RoostStore
import RoostStoreRows
import Synchronization

/// Waits for commits of anybody. Its thread has a connection while somebody waits.
///
/// `LISTEN` is a session's, so it is no use through a pooler in transaction mode, and even without
/// one a notification may be missed while the connection is made anew. Hence a notification only
/// shortens the pause; what counts is the revision that is read.
final class PostgresBell: Sendable {
    private struct Waiter: Sendable {
        let revision: Revision
        let deadline: ContinuousClock.Instant
        let answer: @Sendable (Result<Revision, Fault>) -> Void
    }

    private let inbox = Inbox<Waiter>()
    private let ended = Inbox<Void>()
    private let isStarted = Mutex(false)
    private let address: PostgresAddress
    private let options: PostgresOptions
    private let stop: StopFlag
    private let faults: PostgresFaults

    init(_ address: PostgresAddress, _ options: PostgresOptions, _ stop: StopFlag) {
        self.address = address
        self.options = options
        self.stop = stop
        faults = PostgresFaults(address: address)
    }

    func wait(after revision: Revision, within time: Duration) async throws(Fault) -> Revision {
        let starts = isStarted.withLock { isStarted in
            defer { isStarted = true }
            return !isStarted
        }
        if starts { startThread(named: "store-bell") { self.serve() } }
        let deadline = ContinuousClock.now + time
        let result: Result<Revision, Fault> = await withCheckedContinuation { continuation in
            let waiter = Waiter(revision: revision, deadline: deadline) {
                continuation.resume(returning: $0)
            }
            if !inbox.send(waiter) {
                waiter.answer(.failure(faults.fault(.stopping, doing: "waiting for changes")))
            }
        }
        return try result.get()
    }

    /// Answers nobody any more, and lets the thread end. Does not wait.
    func shut() { inbox.close() }

    /// Blocks until the thread has ended, if it was ever started. Once.
    func join() {
        let wasStarted = isStarted.withLock { $0 }
        if wasStarted { _ = ended.take(1) }
    }

    private func serve() {
        let line = PostgresLine(address, options, stop)
        var isListening = false
        var waiters: [Waiter] = []
        while true {
            waiters += waiters.isEmpty ? inbox.take(1_000) : inbox.takeNow(1_000)
            if waiters.isEmpty { break }
            do throws(PostgresTrouble) {
                if stop.isUp { throw .stopping }
                let latest = try latest(line, &isListening)
                let now = ContinuousClock.now
                for waiter in waiters where latest > waiter.revision || waiter.deadline <= now {
                    waiter.answer(.success(latest))
                }
                waiters.removeAll { latest > $0.revision || $0.deadline <= now }
            } catch {
                for waiter in waiters {
                    waiter.answer(.failure(faults.fault(error, doing: "waiting for changes")))
                }
                waiters = []
            }
            guard let first = waiters.map(\.deadline).min() else { continue }
            rest(line, &isListening, until: min(first, .now + options.pollInterval))
        }
        _ = ended.send(())
    }

    private func latest(
        _ line: PostgresLine,
        _ isListening: inout Bool
    ) throws(PostgresTrouble) -> Revision {
        let deadline = ContinuousClock.now + options.readPatience
        var listens = isListening
        defer { isListening = listens }
        return try line.insist(until: deadline) { () throws(PostgresTrouble) in
            do throws(PostgresTrouble) {
                // Before the look: a commit between the two then wakes the next pause.
                listens = try Self.listen(line, listens, deadline)
                let statement = PostgresQueries.revision
                let rows = try line.run(statement, isReading: true, deadline: deadline)
                return Revision(rows.count == 1 ? rows.int(0, 0) : 0)
            } catch {
                listens = false
                throw error
            }
        }
    }

    /// Waits for a notification, or just waits.
    private func rest(
        _ line: PostgresLine,
        _ isListening: inout Bool,
        until end: ContinuousClock.Instant
    ) {
        guard isListening else {
            stop.wait(end - .now)
            return
        }
        do throws(PostgresTrouble) {
            _ = try line.ready(end).notified(by: end)
        } catch {
            // The next look finds the way again, or says why not.
            line.drop()
            isListening = false
        }
    }

    private static func listen(
        _ line: PostgresLine,
        _ isListening: Bool,
        _ deadline: ContinuousClock.Instant
    ) throws(PostgresTrouble) -> Bool {
        let connection = try line.ready(deadline)
        guard !isListening, !line.isPooled else { return isListening }
        _ = try connection.exchange(
            [PostgresStatement("LISTEN \(PostgresMigrations.channel)")],
            deadline: deadline
        )
        return true
    }
}
