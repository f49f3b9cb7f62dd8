import RoostModel

/// What is in the database: looked at with each new connection, and brought up to date when a store is
/// opened.
enum PostgresSchema {
    /// Codes of our own, in a class that PostgreSQL leaves free.
    static let newerSchema = "RS002"
    static let olderSchema = "RS003"
    static let notUTF8 = "RS004"

    /// Refuses a database that this build cannot work with; answers the process that serves us.
    static func check(
        _ connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) throws(PostgresTrouble) -> Int64 {
        let rows = try connection.value(
            PostgresStatement("SELECT schema, pg_backend_pid() FROM roost.meta WHERE id = 1"),
            deadline: deadline
        )
        guard let rows else { throw .lost("no answer about the schema") }
        let version = rows.count == 1 ? Int(rows.int(0, 0)) : 0
        guard version >= PostgresMigrations.latest else {
            throw .refused(
                PostgresRefusal(
                    state: olderSchema,
                    message: "the database has schema \(version), older than this store's "
                        + "\(PostgresMigrations.latest)"
                )
            )
        }
        try refuseNewer(version)
        return rows.int(0, 1)
    }

    /// Brings the database up to the newest schema. One of many at a time: whoever comes second
    /// finds it done.
    static func migrate(
        _ connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) throws(PostgresTrouble) {
        try refuseUnfit(connection, deadline)
        if try version(connection, deadline: deadline) == PostgresMigrations.latest { return }
        _ = try connection.exchange(
            [
                PostgresStatement("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"),
                PostgresLine.times(.seconds(60)),
                PostgresStatement(
                    "SELECT pg_advisory_xact_lock($1)",
                    .int(PostgresMigrations.lock)
                ),
            ],
            deadline: deadline
        )
        let found = try version(connection, deadline: deadline) ?? 0
        try refuseNewer(found)
        var statements: [PostgresStatement] = []
        for step in PostgresMigrations.steps.dropFirst(found) {
            statements += step.map { PostgresStatement($0) }
        }
        statements.append(
            PostgresStatement(
                "UPDATE roost.meta SET schema = $1",
                .int(Int64(PostgresMigrations.latest))
            )
        )
        // Writers that have not committed for a day have gone.
        statements.append(
            PostgresStatement("DELETE FROM roost.writer WHERE at < now() - interval '1 day'")
        )
        statements.append(PostgresStatement("COMMIT"))
        _ = try connection.exchange(statements, deadline: deadline)
    }

    private static func refuseNewer(_ version: Int) throws(PostgresTrouble) {
        guard version > PostgresMigrations.latest else { return }
        throw .refused(
            PostgresRefusal(
                state: newerSchema,
                message: "the database has schema \(version), newer than this build's "
                    + "\(PostgresMigrations.latest)"
            )
        )
    }

    private static func refuseUnfit(
        _ connection: PostgresConnection,
        _ deadline: ContinuousClock.Instant
    ) throws(PostgresTrouble) {
        let rows = try connection.value(
            PostgresStatement(
                "SELECT current_setting('server_encoding')::text, pg_is_in_recovery()"
            ),
            deadline: deadline
        )
        guard let rows, rows.count == 1 else { throw .lost("no answer about the server") }
        let encoding = rows.text(0, 0)
        guard encoding == "UTF8" else {
            throw .refused(
                PostgresRefusal(
                    state: notUTF8,
                    message: "the database has the encoding \(encoding), not UTF8"
                )
            )
        }
        guard !rows.bool(0, 1) else {
            throw .refused(
                PostgresRefusal(
                    state: "25006",
                    message: "the server is a standby, which only reads"
                )
            )
        }
    }

    /// The schema's version; `nil` when there is none.
    private static func version(
        _ connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) throws(PostgresTrouble) -> Int? {
        let there = try connection.value(
            PostgresStatement(
                """
                SELECT EXISTS (SELECT FROM pg_catalog.pg_class c
                    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                    WHERE n.nspname = 'roost' AND c.relname = 'meta')
                """
            ),
            deadline: deadline
        )
        guard there?.bool(0, 0) == true else { return nil }
        let rows = try connection.value(
            PostgresStatement("SELECT schema FROM roost.meta WHERE id = 1"),
            deadline: deadline
        )
        guard let rows, rows.count == 1 else { return nil }
        return Int(rows.int(0, 0))
    }
}

extension PostgresConnection {
    /// The rows of one statement.
    func value(
        _ statement: PostgresStatement,
        deadline: ContinuousClock.Instant
    ) throws(PostgresTrouble) -> PostgresRows? {
        try exchange([statement], deadline: deadline).first
    }
}
