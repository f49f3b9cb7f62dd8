import CLibPQ
import Glibc
import RoostModel

/// One connection, for one thread: libpq's asynchronous calls, with a deadline for each wait.
///
/// ```text
///  connect ─▶ ready ──exchange──▶ ready
///    │                  └─ any trouble ─▶ broken: throw it away
///    └─ unreachable, refused
/// ```
/// An exchange is one round trip: all statements are sent at once (a libpq pipeline with one sync at
/// its end), each with unnamed statements only, so that it works through a pooler in transaction
/// mode too. After an error the connection may stand in an open transaction: it is not used again.
final class PostgresConnection {
    private let handle: OpaquePointer
    private let address: PostgresAddress
    private let stop: StopFlag
    /// How much longer an exchange may take once the store is being closed.
    private static let grace: Duration = .seconds(5)

    /// Connects, by `deadline` at the latest.
    init(
        _ address: PostgresAddress,
        stop: StopFlag,
        deadline: ContinuousClock.Instant
    ) throws(PostgresTrouble) {
        guard let handle = Self.start(address) else {
            throw .unreachable("libpq has no memory for a connection")
        }
        self.handle = handle
        self.address = address
        self.stop = stop
        // From here on deinit closes it.
        guard PQstatus(handle) != CONNECTION_BAD else { throw connectTrouble() }
        // Verbose, so that the message of a refused connection has its SQLSTATE.
        PQsetErrorVerbosity(handle, PQERRORS_VERBOSE)
        PQsetNoticeProcessor(handle, { _, _ in }, nil)
        try finishConnecting(deadline)
        PQsetErrorVerbosity(handle, PQERRORS_DEFAULT)
        guard PQsetnonblocking(handle, 1) == 0, PQenterPipelineMode(handle) == 1 else {
            throw .unreachable(lastWords)
        }
    }

    deinit { PQfinish(handle) }

    /// As the server reports it: 150018 is 15.18.
    var serverVersion: Int { Int(PQserverVersion(handle)) }

    /// The process behind this connection as it was told at the start; a pooler tells another.
    var reportedProcess: Int64 { Int64(PQbackendPID(handle)) }

    /// Sends `statements` and answers the rows of each, by `deadline` at the latest.
    func exchange(
        _ statements: [PostgresStatement],
        deadline: ContinuousClock.Instant
    ) throws(PostgresTrouble) -> [PostgresRows] {
        for statement in statements { try send(statement) }
        guard PQpipelineSync(handle) == 1 else { throw .lost(lastWords) }
        var answers: [PostgresRows] = []
        var refusal: PostgresTrouble?
        try flush(deadline)
        while true {
            while PQisBusy(handle) == 1 {
                try wait(POLLIN, deadline)
                try consume()
            }
            guard let result = PQgetResult(handle) else {
                // Between two statements; or for good, if the connection is gone.
                guard PQstatus(handle) == CONNECTION_OK else { throw refusal ?? .lost(lastWords) }
                continue
            }
            switch PQresultStatus(result) {
            case PGRES_PIPELINE_SYNC:
                PQclear(result)
                if let refusal { throw refusal }
                return answers
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK:
                answers.append(PostgresRows(result))
            case PGRES_PIPELINE_ABORTED:
                PQclear(result)
            default:
                refusal = refusal ?? trouble(of: result)
                PQclear(result)
                // Nothing follows a connection's end.
                guard PQstatus(handle) == CONNECTION_OK else { throw refusal ?? .lost(lastWords) }
            }
        }
    }

    /// Waits for notifications until one comes or `deadline`; takes all that have come.
    func notified(by deadline: ContinuousClock.Instant) throws(PostgresTrouble) -> Bool {
        var any = takeNotifications()
        while !any {
            do throws(PostgresTrouble) {
                try wait(POLLIN, deadline)
            } catch {
                guard case .late = error else { throw error }
                return false
            }
            try consume()
            any = takeNotifications()
        }
        return true
    }

    private func takeNotifications() -> Bool {
        var any = false
        while let notification = PQnotifies(handle) {
            any = true
            PQfreemem(notification)
        }
        return any
    }

    // MARK: Connecting

    private static func start(_ address: PostgresAddress) -> OpaquePointer? {
        // A peer that is gone without a word is noticed after some 15 seconds.
        var pairs: [(String, String)] = [
            ("fallback_application_name", "roost"), ("keepalives_idle", "10"),
            ("keepalives_interval", "3"), ("keepalives_count", "3"),
            ("tcp_user_timeout", "15000"),
        ]
        pairs += address.keywords.map { ($0.name, $0.value) }
        if let password = address.password { pairs.append(("password", password.reveal())) }
        pairs.append(("client_encoding", "UTF8"))
        let names = pairs.map { strdup($0.0) }
        let values = pairs.map { strdup($0.1) }
        defer { for copy in names + values { free(copy) } }
        let keywords = names.map { UnsafePointer($0) } + [nil]
        let contents = values.map { UnsafePointer($0) } + [nil]
        return PQconnectStartParams(keywords, contents, 0)
    }

    private func finishConnecting(_ deadline: ContinuousClock.Instant) throws(PostgresTrouble) {
        // As the manual says: as though PQconnectPoll had last answered WRITING.
        var events = POLLOUT
        while true {
            do throws(PostgresTrouble) {
                try wait(events, deadline, whileConnecting: true)
            } catch {
                guard case .late = error else { throw error }
                throw .unreachable("no connection to \(address) in time")
            }
            switch PQconnectPoll(handle) {
            case PGRES_POLLING_READING: events = POLLIN
            case PGRES_POLLING_WRITING: events = POLLOUT
            case PGRES_POLLING_OK: return
            default: throw connectTrouble()
            }
        }
    }

    private func connectTrouble() -> PostgresTrouble {
        PostgresTrouble(connecting: raw(PQerrorMessage(handle)), to: address)
    }

    // MARK: Sending and receiving

    private func send(_ statement: PostgresStatement) throws(PostgresTrouble) {
        let parameters = statement.parameters
        let total = parameters.reduce(0) { $0 + $1.bytes.count }
        let storage = UnsafeMutableRawBufferPointer.allocate(byteCount: max(total, 1), alignment: 1)
        defer { storage.deallocate() }
        var values: [UnsafePointer<CChar>?] = []
        var offset = 0
        for parameter in parameters {
            let part = UnsafeMutableRawBufferPointer(
                rebasing: storage[offset..<offset + parameter.bytes.count]
            )
            part.copyBytes(from: parameter.bytes)
            // An empty value is not NULL: it needs an address.
            values.append(
                storage.baseAddress.map {
                    UnsafePointer(($0 + offset).assumingMemoryBound(to: CChar.self))
                }
            )
            offset += parameter.bytes.count
        }
        let sent = PQsendQueryParams(
            handle,
            statement.text,
            Int32(parameters.count),
            parameters.map(\.type),
            values,
            parameters.map { Int32($0.bytes.count) },
            parameters.map { _ in 1 },
            1
        )
        guard sent == 1 else { throw .lost(lastWords) }
    }

    private func flush(_ deadline: ContinuousClock.Instant) throws(PostgresTrouble) {
        while true {
            switch PQflush(handle) {
            case 0: return
            case 1:
                // The server may want to be read before it reads on.
                let events = try wait(POLLIN | POLLOUT, deadline)
                if events & POLLIN != 0 { try consume() }
            default: throw .lost(lastWords)
            }
        }
    }

    private func consume() throws(PostgresTrouble) {
        guard PQconsumeInput(handle) == 1 else { throw .lost(lastWords) }
    }

    @discardableResult
    private func wait(
        _ events: Int32,
        _ deadline: ContinuousClock.Instant,
        whileConnecting: Bool = false
    ) throws(PostgresTrouble) -> Int32 {
        var end = deadline
        var watchesStop = true
        while true {
            if watchesStop, stop.isUp {
                if whileConnecting { throw .stopping }
                end = min(end, ContinuousClock.now + Self.grace)
                watchesStop = false
            }
            let left = end - ContinuousClock.now
            guard left > .zero else { throw .late("\(address) did not answer in time") }
            var watched = [
                pollfd(fd: PQsocket(handle), events: Int16(events), revents: 0),
                pollfd(fd: stop.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            let count: nfds_t = watchesStop && stop.descriptor >= 0 ? 2 : 1
            guard poll(&watched, count, left.pollMilliseconds) >= 0 || errno == EINTR else {
                throw .lost("poll: \(String(cString: strerror(errno)))")
            }
            // An error or a hang-up is found by whoever reads next.
            if watched[0].revents != 0 { return Int32(watched[0].revents) | (events & POLLIN) }
        }
    }

    // MARK: Words

    private func trouble(of result: OpaquePointer) -> PostgresTrouble {
        guard let state = PQresultErrorField(result, Int32(UInt8(ascii: "C"))) else {
            return .lost(lastWords)
        }
        let primary = PQresultErrorField(result, Int32(UInt8(ascii: "M")))
        return .refused(
            PostgresRefusal(
                state: String(cString: state),
                message: PostgresTrouble.clean(raw(primary), address)
            )
        )
    }

    private var lastWords: String {
        let text = PostgresTrouble.clean(raw(PQerrorMessage(handle)), address)
        return text.isEmpty ? "the connection to \(address) has ended" : text
    }

    private func raw(_ text: UnsafePointer<CChar>?) -> String {
        text.map { String(cString: $0) } ?? ""
    }
}

extension PostgresTrouble {
    /// Reads libpq's message, in its verbose form, of a connection that was not made.
    ///
    /// The SQLSTATE stands between severity and text, `FATAL:  28P01: password …`; without one the
    /// server was not reached.
    init(connecting message: String, to address: PostgresAddress) {
        let lines = message.split(separator: "\n").filter { !$0.hasPrefix("LOCATION:") }
        let text = Self.clean(lines.joined(separator: "; "), address)
        for line in lines {
            let parts = line.split(separator: ":").map { $0.trimmed }
            guard let place = parts.firstIndex(where: { Self.isState($0) }) else { continue }
            let rest = parts[(place + 1)...].joined(separator: ": ")
            self = .refused(
                PostgresRefusal(state: String(parts[place]), message: Self.clean(rest, address))
            )
            return
        }
        self = .unreachable(text.isEmpty ? "no connection to \(address)" : text)
    }

    /// One line of at most 400 characters, without the password should it ever be in it.
    static func clean(_ message: String, _ address: PostgresAddress) -> String {
        var text = message.split(whereSeparator: \.isNewline).map { String($0.trimmed) }
            .joined(separator: "; ")
        if let password = address.password { text = text.replacing(password.reveal(), with: "…") }
        return String(text.prefix(400))
    }

    private static func isState(_ text: Substring) -> Bool {
        text.utf8.count == 5 && text.contains { $0.isNumber }
            && text.utf8.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0)
            }
    }
}

extension Substring {
    /// Without white space around it.
    fileprivate var trimmed: Substring {
        var rest = self
        while rest.first?.isWhitespace == true { rest.removeFirst() }
        while rest.last?.isWhitespace == true { rest.removeLast() }
        return rest
    }
}
