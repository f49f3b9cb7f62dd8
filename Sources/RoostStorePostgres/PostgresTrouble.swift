import RoostModel
import RoostStore

/// Why an exchange with the server did not come to its end.
enum PostgresTrouble: Error {
    /// There is no connection; nothing was sent.
    case unreachable(String)
    /// The connection ended after something was sent: it may have taken effect.
    case lost(String)
    /// No answer in time: it may yet take effect.
    case late(String)
    /// The server answered with an error.
    case refused(PostgresRefusal)
    /// The store is being closed.
    case stopping

    /// Whether the same exchange may succeed a moment later, on another connection.
    var isPassing: Bool {
        switch self {
        case .unreachable, .lost, .late: true
        case .refused(let refusal): refusal.isPassing
        case .stopping: false
        }
    }

    /// What happened, in words without a secret.
    var words: String {
        switch self {
        case .unreachable(let text), .lost(let text), .late(let text): text
        case .refused(let refusal): "\(refusal.message) (SQLSTATE \(refusal.state))"
        case .stopping: "the store is being closed"
        }
    }
}

/// An error that the server, or a pooler before it, answered with.
struct PostgresRefusal: Error, Hashable {
    /// Five letters and digits: Appendix A of PostgreSQL's manual.
    let state: String
    /// The primary message. Details, which may quote rows, are left out.
    let message: String

    /// Connections, resources, locks, shutdown, a standby in place of the primary: another try may
    /// find it otherwise. So may a statement that was ended for taking too long.
    var isPassing: Bool {
        switch state.prefix(2) {
        case "08", "40", "55", "57", "58": true
        case "53": state != "53100"
        case "25": state == "25006"
        default: false
        }
    }

    /// Whether one row or one batch is at fault, and the others of its group are not.
    var concernsOneBatch: Bool { ["22", "23", "54"].contains(state.prefix(2)) }
}

/// What troubles with PostgreSQL mean to whoever asked.
struct PostgresFaults: Sendable {
    let address: PostgresAddress

    /// The fault for `trouble`, which happened while `doing` something that has no effect.
    func fault(_ trouble: PostgresTrouble, doing: String) -> Fault {
        switch trouble {
        case .stopping:
            Fault(.shuttingDown, "the store \(address) is closed", metadata: store)
        case .unreachable, .lost, .late:
            Fault(.storeUnreachable, "\(doing): \(trouble.words)", metadata: store)
        case .refused(let refusal):
            fault(refusal, doing: doing)
        }
    }

    /// A commit that may have taken effect: nobody could ask.
    func unknownOutcome(_ trouble: PostgresTrouble) -> Fault {
        Fault.unknownOutcome(
            "nobody knows whether \(address) has written this: \(trouble.words)",
            cause: nil
        )
    }

    /// Something in the database, or about it, that only a person can put right.
    func refused(_ what: String, fix: String) -> Fault {
        Fault(.storeRefused, what, metadata: ["store": address.name, "fix": fix])
    }

    private var store: [String: String] { ["store": address.name] }

    private func fault(_ refusal: PostgresRefusal, doing: String) -> Fault {
        let what = "\(doing): \(refusal.message) (SQLSTATE \(refusal.state))"
        if refusal.isPassing {
            return Fault(.storeUnreachable, what, metadata: store, cause: refusal)
        }
        switch refusal.state {
        case "53100":
            return Fault(
                .diskFull,
                what,
                metadata: ["path": "PostgreSQL's data directory"],
                cause: refusal
            )
        case let state where state.hasPrefix("28"):
            return refused(
                what,
                fix: "check user and password: psql '\(address)' asks for the same, "
                    + "and ~/.pgpass is where roostd looks"
            )
        case "3D000":
            return refused(what, fix: "make the database: createdb \(address.database)")
        case "42501":
            return refused(
                what,
                fix: "as the database's owner: GRANT CREATE ON DATABASE \(databaseName) TO "
                    + "\(userName), and for a schema roost of another owner: GRANT USAGE ON SCHEMA roost "
                    + "and ALL ON ALL TABLES IN SCHEMA roost TO \(userName)"
            )
        case PostgresSchema.newerSchema:
            return refused(what, fix: "install the version of roost that wrote it, or a later one")
        case PostgresSchema.olderSchema:
            return refused(what, fix: "restore the database that this daemon had")
        case PostgresSchema.notUTF8:
            return refused(what, fix: "make one with: createdb -T template0 -E UTF8 roost")
        case let state where state.hasPrefix("42") || state == "3F000":
            return refused(
                what,
                fix: "the schema roost in this database is not what it was: restore its backup"
            )
        case let state where state.hasPrefix("54"):
            return Fault(.limitExceeded, what, metadata: store, cause: refusal)
        case let state where state.hasPrefix("XX"):
            return Fault(.ioFailed, what, metadata: store, cause: refusal)
        default:
            return Fault(.bug, what, metadata: store, cause: refusal)
        }
    }

    private var databaseName: String { address.database.isEmpty ? "NAME" : address.database }
    private var userName: String { address.user.isEmpty ? "USER" : address.user }
}
