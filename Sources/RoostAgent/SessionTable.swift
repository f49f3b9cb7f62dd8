import CRoostLinux
import Glibc
import RoostGuestWire

/// The sessions by id. An id runs at most once for as long as this agent lives: finished sessions
/// are remembered with their unread output, later by their end alone, last only as "was here".
final class SessionTable {
    /// Finished sessions with their output.
    static let keptFinished = 64
    /// The unread output of all finished sessions together, in bytes.
    static let keptOutput = 4 << 20
    /// Ends without output.
    static let keptEnds = 8_192
    /// Running sessions.
    static let running = 512

    private let loop: EventLoop
    /// Whether SIGCHLD is handled by process 1's reaper; otherwise each child has a pidfd.
    private let reapsAll: Bool
    /// Where commands that outlive their client are recorded.
    private let record: LogPort?
    private var sessions: [[UInt8]: Session] = [:]
    private var byPID: [Int32: Session] = [:]
    private var finished: [[UInt8]] = []
    private var ends: [[UInt8]: (pid: Int32, status: CommandEnd, end: UInt64)] = [:]
    private var endOrder: [[UInt8]] = []

    init(on loop: EventLoop, reapsAll: Bool, record: LogPort?) {
        self.loop = loop
        self.reapsAll = reapsAll
        self.record = record
    }

    /// All that are known with their output, oldest first.
    var summaries: [SessionSummary] {
        sessions.values.map(\.summary).sorted {
            ($0.startedSeconds, $0.pid) < ($1.startedSeconds, $1.pid)
        }
    }

    /// A stream for the request: of a new process, or of the session that has the id already.
    func exec(_ request: ExecRequest, consume: @escaping (Int) -> Void) -> any StreamTask {
        let kill = request.onDetach == .kill
        if let session = sessions[request.session] {
            guard session.request.arguments == request.arguments else {
                return AnswerTask(
                    GuestFailure(.invalidRequest, "the session id runs another command")
                )
            }
            return SessionTask(
                session,
                existed: true,
                from: request.from,
                killOnDetach: kill,
                consume: consume
            )
        }
        if let end = ends[request.session] { return ended(end) }
        guard byPID.count < Self.running else {
            return AnswerTask(GuestFailure(.limitExceeded, "\(Self.running) sessions run already"))
        }
        do throws(GuestFailure) {
            let session = try Session(request, record: record, on: loop)
            sessions[session.id] = session
            byPID[session.pid] = session
            if !reapsAll { watchEnd(of: session.pid) }
            return SessionTask(
                session,
                existed: false,
                from: 0,
                killOnDetach: kill,
                consume: consume
            )
        } catch {
            return AnswerTask(error)
        }
    }

    /// A stream of an existing session.
    func attach(
        _ id: [UInt8],
        from: UInt64,
        killOnDetach: Bool,
        consume: @escaping (Int) -> Void
    ) -> any StreamTask {
        if let session = sessions[id] {
            return SessionTask(
                session,
                existed: true,
                from: from,
                killOnDetach: killOnDetach,
                consume: consume
            )
        }
        if let end = ends[id] { return ended(end) }
        return AnswerTask(GuestFailure(.sessionNotFound, "no session of that id"))
    }

    /// Sends a signal to a session's process group.
    func signal(_ id: [UInt8], _ number: UInt8) throws(GuestFailure) {
        guard let session = sessions[id] else {
            throw GuestFailure(.sessionNotFound, "no session of that id")
        }
        try session.signal(number)
    }

    /// While the machine is frozen the sessions keep what nobody reads.
    func hold(_ isHeld: Bool) {
        for session in byPID.values { session.isHeld = isHeld }
    }

    /// This machine is a copy: what runs has no reader any more, and goes on without.
    func orphanAll() {
        for session in byPID.values { session.orphan() }
    }

    /// The log has room again.
    func resume() {
        for session in sessions.values { session.updateOutputs() }
    }

    /// Takes note that a child ended. Unknown ones are orphans that process 1 inherited.
    func childEnded(_ pid: Int32, _ status: Int32) {
        guard let session = byPID.removeValue(forKey: pid) else { return }
        session.ended(status)
        finished.append(session.id)
        forgetOldest()
    }

    private func ended(_ end: (pid: Int32, status: CommandEnd, end: UInt64)) -> any StreamTask {
        AnswerTask([
            .started(pid: UInt32(end.pid), from: end.end, attached: true), .exited(end.status),
        ])
    }

    private func watchEnd(of pid: Int32) {
        let descriptor = roost_pidfd_open(pid)
        guard descriptor >= 0 else { return }
        loop.watch(descriptor, EventLoop.readable) { [weak self] _ in
            var status: Int32 = 0
            guard waitpid(pid, &status, WNOHANG) == pid else { return }
            self?.loop.forget(descriptor)
            close(descriptor)
            self?.childEnded(pid, status)
        }
    }

    private func forgetOldest() {
        while finished.count > Self.keptFinished || keptBytes > Self.keptOutput,
            let oldest = finished.firstIndex(where: { sessions[$0]?.attachment == nil })
        {
            let id = finished.remove(at: oldest)
            guard let session = sessions.removeValue(forKey: id), let status = session.status else {
                continue
            }
            ends[id] = (session.pid, status, session.log.end)
            endOrder.append(id)
        }
        while endOrder.count > Self.keptEnds { ends[endOrder.removeFirst()] = nil }
    }

    private var keptBytes: Int { finished.reduce(0) { $0 + (sessions[$1]?.log.count ?? 0) } }
}
