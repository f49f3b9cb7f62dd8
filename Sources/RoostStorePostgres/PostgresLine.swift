import RoostModel

/// One thread's way to the database: a connection when there is one, a new one when there is none.
final class PostgresLine {
    let address: PostgresAddress
    let options: PostgresOptions
    let stop: StopFlag
    private var connection: PostgresConnection?
    /// Whether something stands between us and the server that gives its connections to others in
    /// between: then what a session remembers, such as LISTEN, is not ours.
    private(set) var isPooled = false

    init(_ address: PostgresAddress, _ options: PostgresOptions, _ stop: StopFlag) {
        self.address = address
        self.options = options
        self.stop = stop
    }

    /// The connection; made, and the database looked at, if there is none.
    func ready(_ deadline: ContinuousClock.Instant) throws(PostgresTrouble) -> PostgresConnection {
        if let connection { return connection }
        let fresh = try PostgresConnection(address, stop: stop, deadline: deadline)
        let process = try PostgresSchema.check(fresh, deadline: deadline)
        isPooled = process != fresh.reportedProcess
        connection = fresh
        return fresh
    }

    /// Throws the connection away. After any trouble.
    func drop() { connection = nil }

    /// Runs `statement` in a transaction of its own and answers its rows: one round trip.
    ///
    /// The times are the transaction's own settings, since a session's would go to whoever gets the
    /// pooler's connection next. The second ends a transaction of which the rest never arrives.
    func run(
        _ statement: PostgresStatement,
        isReading: Bool,
        deadline: ContinuousClock.Instant
    ) throws(PostgresTrouble) -> PostgresRows {
        let end = min(deadline, ContinuousClock.now + options.answerTime)
        let connection = try ready(end)
        do throws(PostgresTrouble) {
            let answers = try connection.exchange(
                [
                    PostgresStatement(
                        "BEGIN ISOLATION LEVEL READ COMMITTED \(isReading ? "READ ONLY" : "READ WRITE")"
                    ),
                    Self.times(options.statementTime), statement, PostgresStatement("COMMIT"),
                ],
                deadline: end
            )
            guard answers.count == 4, answers[3].tag == "COMMIT" else {
                throw .lost("\(address) answered something else than a transaction")
            }
            return answers[2]
        } catch {
            drop()
            throw error
        }
    }

    /// Runs `body` again, on a new connection, until it succeeds, meets what time does not cure, or
    /// `deadline` is over. `body` must be one that may run twice.
    func insist<T>(
        until deadline: ContinuousClock.Instant,
        _ body: () throws(PostgresTrouble) -> T
    ) throws(PostgresTrouble) -> T {
        var backOff = BackOff()
        while true {
            do throws(PostgresTrouble) {
                return try body()
            } catch {
                drop()
                let pause = backOff.pause()
                guard error.isPassing, ContinuousClock.now + pause < deadline else { throw error }
                guard !stop.isUp else { throw .stopping }
                stop.wait(pause)
            }
        }
    }

    /// Sets the times that the rest of the transaction may take.
    static func times(_ statementTime: Duration) -> PostgresStatement {
        let milliseconds = "\(statementTime.pollMilliseconds)"
        return PostgresStatement(
            """
            SELECT set_config('statement_timeout', $1, true),
                set_config('idle_in_transaction_session_timeout', $1, true)
            """,
            .text(milliseconds)
        )
    }
}
