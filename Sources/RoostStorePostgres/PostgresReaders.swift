import RoostModel
import RoostStoreRows

/// Threads that read, each with a connection of its own.
final class PostgresReaders: Sendable {
    typealias Job = @Sendable (PostgresLine) -> Void

    private let inbox = Inbox<Job>()
    private let ended = Inbox<Void>()
    private let faults: PostgresFaults
    private let options: PostgresOptions

    init(_ address: PostgresAddress, _ options: PostgresOptions, _ stop: StopFlag) {
        faults = PostgresFaults(address: address)
        self.options = options
        for number in 0..<options.readers {
            startThread(named: "store-read-\(number)") { [inbox, ended] in
                let line = PostgresLine(address, options, stop)
                while let job = inbox.take(1).first { job(line) }
                _ = ended.send(())
            }
        }
    }

    /// Runs `statement`, which sees one revision, and answers what `decode` makes of its rows.
    func read<T: Sendable>(
        _ doing: String,
        _ statement: PostgresStatement,
        _ decode: @escaping @Sendable (PostgresRows) throws -> T
    ) async throws(Fault) -> T {
        let deadline = ContinuousClock.now + options.readPatience
        let faults = faults
        let result: Result<T, Fault> = await withCheckedContinuation { continuation in
            let accepted = inbox.send { line in
                do {
                    let rows = try line.insist(until: deadline) { () throws(PostgresTrouble) in
                        try line.run(statement, isReading: true, deadline: deadline)
                    }
                    continuation.resume(returning: .success(try decode(rows)))
                } catch let fault as Fault {
                    continuation.resume(returning: .failure(fault))
                } catch let trouble as PostgresTrouble {
                    continuation.resume(returning: .failure(faults.fault(trouble, doing: doing)))
                } catch {
                    let fault = Fault(.bug, "\(doing): \(error)", cause: error)
                    continuation.resume(returning: .failure(fault))
                }
            }
            if !accepted {
                continuation.resume(returning: .failure(faults.fault(.stopping, doing: doing)))
            }
        }
        return try result.get()
    }

    /// Lets the threads finish what they were given, and end. Does not wait.
    func shut() { inbox.close() }

    /// Blocks until all threads have ended.
    func join() {
        for _ in 0..<options.readers { _ = ended.take(1) }
    }
}
