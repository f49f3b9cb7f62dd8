import CRoostLinux
import Glibc
import RoostGuestWire

/// One command: its process group, its unread output, and whoever is attached.
///
///     running ──process ends──▶ draining ──pipes empty──▶ finished
///
/// It outlives its stream and the host. Output beyond ``OutputLog/limit`` makes the process wait,
/// or drops the oldest bytes when it was asked to and nobody is attached.
final class Session {
    let id: [UInt8]
    let request: ExecRequest
    let pid: Int32
    let startedSeconds = wallNanoseconds() / 1_000_000_000
    private let loop: EventLoop
    private(set) var log = OutputLog()
    /// The guest's log, for a command that outlives its client: it is nobody's answer alone.
    private let record: LogPort?
    private var lines = [
        DataChannel.stdout: LineCutter(.stdout), DataChannel.stderr: LineCutter(.stderr),
    ]
    private(set) var status: CommandEnd?
    private var input: Int32
    private var outputs: [(descriptor: Int32, channel: DataChannel)]
    private var watched: Set<Int32> = []
    private var pendingInput: [UInt8] = []
    private var pendingOffset = 0
    private var inputHasEnded = false
    private var timer: Int?
    private var timedOut = false
    /// The stream that gets the output, if any.
    weak var attachment: SessionTask?

    init(_ request: ExecRequest, record: LogPort?, on loop: EventLoop) throws(GuestFailure) {
        let process = try spawn(request)
        self.record = request.onDetach == .drop ? record : nil
        self.request = request
        self.loop = loop
        id = request.session
        pid = process.pid
        input = process.input
        outputs = [(process.output, .stdout)]
        if process.error >= 0 { outputs.append((process.error, .stderr)) }
        if request.timeoutMilliseconds > 0 {
            timer = loop.after(request.timeoutMilliseconds) { [weak self] in self?.expire() }
        }
        updateOutputs()
    }

    /// Whether the process has ended and all its output was read.
    var isFinished: Bool { status != nil && outputs.isEmpty }
    /// Whether it runs on a terminal.
    var isTerminal: Bool { request.terminal != nil }

    /// What ``SessionSummary`` says of it.
    var summary: SessionSummary {
        var summary = SessionSummary(
            session: id,
            pid: UInt32(pid),
            command: request.arguments.joined(separator: " "),
            startedSeconds: startedSeconds
        )
        summary.isTerminal = isTerminal
        summary.isAttached = attachment != nil
        summary.status = isFinished ? status : nil
        return summary
    }

    /// Takes note of the process' end.
    func ended(_ waitStatus: Int32) {
        if let timer { loop.cancel(timer) }
        timer = nil
        let signal = waitStatus & 0x7F
        let code = UInt8(truncatingIfNeeded: waitStatus >> 8)
        status = CommandEnd(
            signal == 0 ? .code(code) : .signal(UInt8(signal)),
            timedOut: timedOut
        )
        if !isTerminal { closeInput() }
        updateOutputs()
        readAll()
    }

    /// Sends a signal to the process group.
    func signal(_ number: UInt8) throws(GuestFailure) {
        guard status == nil else {
            throw GuestFailure(.sessionNotFound, "the process has ended")
        }
        guard number > 0, number < 65, kill(-pid, Int32(number)) == 0 else {
            throw GuestFailure(.invalidRequest, errno: errno, "signal \(number) was refused")
        }
    }

    /// Changes the terminal's size. Does nothing without a terminal.
    func resize(_ size: TerminalSize) {
        guard isTerminal, input >= 0 else { return }
        _ = roost_resize_terminal(input, size.rows, size.columns)
    }

    /// Ends the process group, when its policy says so, as nobody is attached any more.
    func detached() {
        if request.onDetach == .kill, status == nil { kill(-pid, SIGKILL) }
        updateOutputs()
    }

    /// The host went away without a word. Perhaps only its daemon did: a command that ends with its
    /// reader has ``patience`` left for the reader to come back.
    func lost(killing: Bool) {
        updateOutputs()
        guard killing || request.onDetach == .kill, status == nil else { return }
        _ = loop.after(Self.patience) { [weak self] in
            guard let self, attachment == nil, status == nil, !isOrphan else { return }
            kill(-pid, SIGKILL)
        }
    }

    /// In milliseconds.
    private static let patience: UInt64 = 60_000

    // MARK: Output

    /// The next output for the host.
    func nextOutput(_ limit: Int) -> (DataChannel, [UInt8])? { log.next(limit) }

    /// The host has consumed everything before `offset`.
    func acknowledge(to offset: UInt64) {
        log.acknowledge(to: offset)
        updateOutputs()
    }

    /// Output goes on from `offset`, or from the oldest byte kept; answers from where.
    func rewind(to offset: UInt64) -> UInt64 {
        defer { updateOutputs() }
        return log.rewind(to: offset)
    }

    private var dropsOldest: Bool {
        attachment == nil && !isHeld && (isOrphan || request.onDetach == .drop)
    }

    /// Whether more output can be taken now.
    private var hasRoom: Bool { (log.room > 0 || dropsOldest) && record?.hasRoom ?? true }

    /// While the machine is frozen nothing is dropped: what is said to its reader waits.
    var isHeld = false {
        didSet { updateOutputs() }
    }

    /// In a copy of a machine: the reader is the original's, so the command does not end with it, nor
    /// waits for it.
    private var isOrphan = false

    /// Makes it a command that nobody reads and that goes on.
    func orphan() {
        isOrphan = true
        updateOutputs()
    }

    /// Watches the outputs exactly while there is room: a watched descriptor that is not read
    /// would report its hang-up for ever.
    func updateOutputs() {
        let wanted = hasRoom
        for output in outputs where watched.contains(output.descriptor) != wanted {
            if wanted {
                watched.insert(output.descriptor)
                loop.watch(output.descriptor, EventLoop.readable) { [weak self] _ in
                    self?.read(output.descriptor, output.channel)
                }
            } else {
                watched.remove(output.descriptor)
                loop.forget(output.descriptor)
            }
        }
        // After the end nothing announces that a pipe is empty, so it is tried.
        if status != nil, wanted { readAll() }
    }

    private var isReadingAll = false

    private func readAll() {
        guard !isReadingAll else { return }
        isReadingAll = true
        defer { isReadingAll = false }
        for output in outputs {
            while outputs.contains(where: { $0.descriptor == output.descriptor }), hasRoom {
                read(output.descriptor, output.channel)
            }
        }
    }

    private func read(_ descriptor: Int32, _ channel: DataChannel) {
        let limit = dropsOldest ? 65_536 : min(65_536, log.room)
        guard hasRoom, limit > 0 else { return updateOutputs() }
        if let bytes = readSome(descriptor, limit) {
            guard !bytes.isEmpty else { return closeOutput(descriptor, channel) }
            if dropsOldest { log.makeRoom(for: bytes.count) }
            log.append(channel, bytes)
            // Last, since it may find room and so read on.
            if let record {
                lines[channel]?.append(bytes, to: record)
                record.flush()
            }
            if !hasRoom { updateOutputs() }
        } else if errno != EAGAIN || status != nil {
            // A grandchild may hold the pipe open for ever; what the command wrote was read.
            closeOutput(descriptor, channel)
        }
    }

    private func closeOutput(_ descriptor: Int32, _ channel: DataChannel) {
        if let record {
            lines[channel]?.finish(to: record)
            record.flush()
        }
        loop.forget(descriptor)
        watched.remove(descriptor)
        outputs.removeAll { $0.descriptor == descriptor }
        if isTerminal { input = -1 }
        close(descriptor)
    }

    // MARK: Input

    /// Queues input; answers how much of it needs no more room here.
    func write(_ bytes: [UInt8]) -> Int {
        guard input >= 0, !inputHasEnded else { return bytes.count }
        let before = pendingInput.count - pendingOffset
        pendingInput += bytes
        return flushInput(before + bytes.count)
    }

    /// No more input follows. On a terminal it is the end-of-file character.
    func endInput() {
        guard !inputHasEnded, input >= 0 else { return }
        if isTerminal {
            _ = write([4])
        } else {
            inputHasEnded = true
            if pendingInput.count == pendingOffset { closeInput() }
        }
    }

    private func flushInput(_ before: Int) -> Int {
        while pendingOffset < pendingInput.count, input >= 0 {
            let count = pendingInput[pendingOffset...].withUnsafeBytes {
                Glibc.write(input, $0.baseAddress, $0.count)
            }
            if count >= 0 {
                pendingOffset += count
            } else if errno == EAGAIN {
                waitForInputRoom()
                break
            } else if errno != EINTR {
                // Nobody reads: what is left is consumed by nobody, so the host may go on.
                discardInput()
            }
        }
        if pendingOffset == pendingInput.count {
            pendingInput = []
            pendingOffset = 0
            if !isTerminal, input >= 0 { loop.forget(input) }
            if inputHasEnded { closeInput() }
        } else if pendingOffset > 65_536 {
            pendingInput.removeFirst(pendingOffset)
            pendingOffset = 0
        }
        return before - (pendingInput.count - pendingOffset)
    }

    private func waitForInputRoom() {
        let retry: () -> Void = { [weak self] in
            guard let self else { return }
            let before = pendingInput.count - pendingOffset
            attachment?.consumed(flushInput(before))
        }
        if isTerminal {
            // The master is watched for output already, and a full terminal is rare.
            _ = loop.after(5, retry)
        } else {
            loop.watch(input, EventLoop.writable) { _ in retry() }
        }
    }

    private func discardInput() {
        pendingInput = []
        pendingOffset = 0
        if !isTerminal { closeInput() }
    }

    private func closeInput() {
        inputHasEnded = true
        guard input >= 0, !isTerminal else { return }
        loop.forget(input)
        close(input)
        input = -1
    }

    private func expire() {
        guard status == nil else { return }
        timedOut = true
        kill(-pid, SIGTERM)
        timer = loop.after(2_000) { [weak self] in
            guard let self, status == nil else { return }
            kill(-pid, SIGKILL)
        }
    }
}

/// A stream that is attached to a session.
final class SessionTask: StreamTask {
    private let session: Session
    private let existed: Bool
    private let killOnDetach: Bool
    private let consume: (Int) -> Void
    private var startMessage: Message?
    private var exitSent = false
    private var displaced = false
    private var unacknowledged: UInt64

    /// Attaches to `session` from output byte `from`; `consume` grants input credit.
    init(
        _ session: Session,
        existed: Bool,
        from: UInt64,
        killOnDetach: Bool,
        consume: @escaping (Int) -> Void
    ) {
        self.session = session
        self.existed = existed
        self.killOnDetach = killOnDetach
        self.consume = consume
        session.attachment?.displace()
        let start = session.rewind(to: from)
        unacknowledged = start
        startMessage = .started(pid: UInt32(session.pid), from: start, attached: existed)
        session.attachment = self
    }

    private func displace() { displaced = true }

    func consumed(_ count: Int) { if count > 0 { consume(count) } }

    /// The host's reader has consumed `count` more bytes.
    func acknowledged(_ count: Int) {
        guard !displaced else { return }
        unacknowledged += UInt64(count)
        session.acknowledge(to: unacknowledged)
    }

    func receive(_ bytes: [UInt8]) -> Int { displaced ? bytes.count : session.write(bytes) }

    func receive(_ message: Message) {
        guard !displaced else { return }
        switch message {
        case .resize(let size): session.resize(size)
        // Refused only when the process has just ended, which the host is about to hear.
        case .signal(let number): try? session.signal(number)
        case .started, .exited, .failed, .file, .done: break
        }
    }

    func inputEnded() { if !displaced { session.endInput() } }

    func next(_ limit: Int) -> StreamOutput {
        if let startMessage {
            self.startMessage = nil
            return .message(startMessage)
        }
        if exitSent { return .end }
        if displaced {
            exitSent = true
            return .message(.failed(GuestFailure(.takenOver, "another reader attached")))
        }
        if let (channel, bytes) = session.nextOutput(limit) { return .data(channel, bytes) }
        guard session.isFinished, session.log.isSent, let status = session.status else {
            return .idle
        }
        exitSent = true
        return .message(.exited(status))
    }

    /// The connection broke, not this stream.
    func lost() {
        guard !displaced else { return }
        session.attachment = nil
        session.lost(killing: killOnDetach)
    }

    func cancelled() {
        guard !displaced else { return }
        session.attachment = nil
        if killOnDetach, session.status == nil { kill(-session.pid, SIGKILL) }
        session.detached()
    }
}
