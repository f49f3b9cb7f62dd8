import CRoostLinux
import Glibc
import RoostGuestWire
import Synchronization

/// The agent: serves the host's requests over one channel, on the calling thread.
///
/// Nothing here blocks on the host: output is produced only when the stream has credit and the
/// port has room. Not to be used from two threads.
package final class Agent {
    /// How the agent sits in its machine.
    package struct Role: Sendable {
        /// Whether it is process 1, and so reaps orphans and powers off itself.
        package var isInit: Bool
        /// Whether requests may change the machine (clock, host name, power).
        package var mayChangeMachine: Bool
        /// Whether the channel's hang-up ends the agent (a socket in tests).
        package var endsWithPeer: Bool

        package init(isInit: Bool, mayChangeMachine: Bool, endsWithPeer: Bool) {
            self.isInit = isInit
            self.mayChangeMachine = mayChangeMachine
            self.endsWithPeer = endsWithPeer
        }
    }

    /// The agent's version, as its hello says it.
    package static let version = "roost-agent/1"

    let role: Role
    let loop: EventLoop
    let port: Port
    let sessions: SessionTable
    private let log: LogPort?
    private let kernel: KernelLog?
    let freezer = Freezer()
    /// `nil`: the machine is not this agent's.
    let generation: Generation?
    let hostKeys = HostKeys()
    /// Those of the renewal that is under way.
    var hooks: ForkHooks?
    var mux: Mux?
    var tasks: [UInt32: any StreamTask] = [:]
    private var turn: [UInt32] = []
    /// While the machine stands still for the host: the answer that said so, after which nothing is said.
    var lastWord: (any StreamTask)? {
        didSet { isToStand = lastWord != nil }
    }
    /// Whether nothing is left to be said before it may stand still too.
    private var isToStand = false
    /// While the machine stands still for the host, where its VMM shows one.
    var life: VMMLife?
    var isStopping = false
    private var children: [Int32: (Int32) -> Void] = [:]

    /// Takes over `channel`, the descriptor of the port or socket, and `log`, that of the guest's log,
    /// if there is one.
    package init?(channel: Int32, log: Int32? = nil, role: Role) {
        roost_ignore_signals()
        guard let loop = try? EventLoop() else { return nil }
        self.role = role
        self.loop = loop
        port = Port(channel, on: loop, endsWithPeer: role.endsWithPeer)
        let record = log.map { LogPort($0, on: loop) }
        self.log = record
        generation = role.mayChangeMachine ? Generation() : nil
        kernel = role.mayChangeMachine ? record.flatMap { KernelLog(to: $0, on: loop) } : nil
        sessions = SessionTable(on: loop, reapsAll: role.isInit, record: record)
        if role.isInit { watchSignals() }
        loop.afterBatch = { [unowned self] in serve() }
        port.onItem = { [unowned self] in receive($0) }
        port.onError = { [unowned self] error in
            say("bad frame from the host: \(error)")
            dropConnection()
        }
        port.onEnd = { [unowned self] in self.loop.stop() }
        record?.onRoom = { [unowned self] in
            kernel?.read()
            sessions.resume()
        }
        kernel?.read()
    }

    /// Serves until the peer hangs up (a socket) or for ever (a port).
    package func run() {
        loop.run()
        dropConnection()
        close(port.descriptor)
    }

    // MARK: The channel

    private func serve() -> Bool {
        let more = port.receive()
        pump()
        port.flush()
        recordSpoken()
        standUntilSpokenTo()
        // A peer that never reads its answers gets no more of them.
        if port.pending > Port.limit { dropConnection() }
        return more || (port.pending == 0 && hasOutput)
    }

    /// Hands over the log's last records before the machine ends, within a second.
    func finishLog() {
        recordSpoken()
        log?.drain(milliseconds: 1_000)
    }

    /// Everything stands still, and the host knows. What wakes the machine up again is as little code
    /// as can be: a VMM that emulates and has just begun has translated none of it yet.
    private func standUntilSpokenTo() {
        guard isToStand, port.pending == 0, let mux,
            !tasks.values.contains(where: { $0 === lastWord })
        else { return }
        isToStand = false
        guard !goesOnByItself() else { return }
        let goOn = Frame(epoch: mux.epoch, stream: 0, body: .goOn).encoded()
        port.stand(until: goOn) { [freezer] in freezer.release() }
    }

    /// How long those who stood still have the machine for themselves, in microseconds.
    private static let courtesy: UInt32 = 20_000

    /// Looks whether another VMM has the machine, and lets everything go on if that says so: the host's own
    /// word comes later, by way of an interrupt and what the kernel does about it.
    private func goesOnByItself() -> Bool {
        // Who looks keeps a processor busy: not for longer than a hand-over takes.
        guard let life else { return false }
        for _ in 0..<100 {
            switch life.change(within: 5) {
            case .goesOn:
                freezer.release()
                // First whoever stood still: an emulated processor has translated none of the rest yet.
                usleep(Self.courtesy)
                thaw()
                say("goes on in another VMM", for: life.operation)
                return true
            case .waits: return false
            case nil: if port.hears { return false }
            }
        }
        return false
    }

    private func recordSpoken() {
        guard let log else { return }
        let lines = spoken.withLock { lines in
            defer { lines = [] }
            return lines
        }
        guard !lines.isEmpty else { return }
        for line in lines { log.write(.agent, Array(line.utf8)[...]) }
        log.flush()
    }

    private var hasOutput = false

    private func receive(_ item: FrameDecoder.Item) {
        switch item {
        case .hello(let hello):
            guard hello.side == .host else { return port.desynchronize() }
            greet(hello)
        case .frame(let frame):
            do throws(WireError) {
                guard let incoming = try mux?.receive(frame) else { return }
                handle(incoming, credit: creditOf(frame))
            } catch {
                port.onError(error)
            }
        }
    }

    private func creditOf(_ frame: Frame) -> Int {
        if case .credit(let count) = frame.body { return Int(count) }
        return 0
    }

    private func greet(_ hello: Hello) {
        dropStreams()
        var answer = Hello(
            side: .guest,
            nonce: hello.nonce,
            wallClock: wallNanoseconds(),
            software: Self.version
        )
        answer.capabilities |= Hello.Capability.generations | Hello.Capability.silence
        if role.isInit { answer.capabilities |= Hello.Capability.isInit }
        answer.bootID = bootID()
        answer.uptimeMilliseconds = bootNanoseconds() / 1_000_000
        port.send(answer.encoded())
        guard hello.version == WireLimits.version else { return port.desynchronize() }
        mux = Mux(side: .guest, epoch: hello.epoch, peer: hello)
        send(0, .event(isStopping ? .stopping : .ready))
        generation?.publish()
        let difference = hello.wallClock.subtractingReportingOverflow(wallNanoseconds())
        if hello.wallClock > 0, role.mayChangeMachine,
            difference.overflow || difference.partialValue.magnitude > 1_000_000_000
        {
            try? setWallClock(hello.wallClock)
        }
    }

    /// Forgets the connection until the next preamble.
    func dropConnection() {
        dropStreams()
        port.desynchronize()
    }

    /// Forgets all streams and what was to be sent. Sessions live on.
    private func dropStreams() {
        mux = nil
        lastWord = nil
        // Who asked for it is gone: it may stand still, and must not fall silent for anybody.
        freezer.forget()
        let dropped = tasks.sorted { $0.key < $1.key }
        tasks = [:]
        turn = []
        for (_, task) in dropped {
            if let session = task as? SessionTask { session.lost() } else { task.cancelled() }
        }
        port.dropOutput()
    }

    private func handle(_ incoming: Mux.Incoming, credit: Int) {
        switch incoming {
        case .opened(let stream, let request, let operation):
            tasks[stream] = task(for: request, on: stream, of: operation)
            turn.append(stream)
        case .message(let stream, let message): tasks[stream]?.receive(message)
        case .data(let stream, _, let bytes):
            let consumed = tasks[stream]?.receive(bytes) ?? bytes.count
            self.consumed(consumed, on: stream)
        case .credit(let stream): (tasks[stream] as? SessionTask)?.acknowledged(credit)
        case .inputEnded(let stream): tasks[stream]?.inputEnded()
        case .closed(let stream, _): drop(stream)?.cancelled()
        case .ping(let number): send(0, .pong(number))
        case .goOn: thaw()
        case .pong, .event, .ignored: break
        }
    }

    private func drop(_ stream: UInt32) -> (any StreamTask)? {
        turn.removeAll { $0 == stream }
        return tasks.removeValue(forKey: stream)
    }

    /// Grants what a task has consumed.
    func consumed(_ count: Int, on stream: UInt32) {
        guard count > 0, let grant = mux?.consumed(count, on: stream) else { return }
        send(stream, .credit(grant))
    }

    private func send(_ stream: UInt32, _ body: Frame.Body) {
        guard let mux else { return }
        port.send(Frame(epoch: mux.epoch, stream: stream, body: body).encoded())
    }

    /// Says something unasked.
    func announce(_ event: Event) { send(0, .event(event)) }

    /// Asks every task in turn for a chunk until none has any or the port is full.
    private func pump() {
        hasOutput = true
        var progress = true
        while progress {
            progress = false
            for stream in turn {
                guard port.hasRoom else { return }
                if advance(stream) { progress = true }
            }
        }
        hasOutput = false
    }

    private func advance(_ stream: UInt32) -> Bool {
        guard let task = tasks[stream], lastWord == nil || lastWord === task else { return false }
        let limit = min(mux?.sendCredit(stream) ?? 0, WireLimits.dataChunk)
        switch task.next(limit) {
        case .idle: return false
        case .message(let message): send(stream, .message(message))
        case .data(let channel, let bytes):
            mux?.sent(bytes.count, on: stream)
            send(stream, .data(channel, bytes))
        case .end:
            if mux?.end(stream) == true { send(stream, .end) }
            if let task = drop(stream) as? SessionTask { task.cancelled() }
        }
        return true
    }

    // MARK: Children and signals

    /// Calls `action` with the wait status when child `pid` ends.
    func whenEnded(_ pid: Int32, _ action: @escaping (Int32) -> Void) {
        children[pid] = action
        guard !role.isInit else { return }
        let descriptor = roost_pidfd_open(pid)
        guard descriptor >= 0 else { return }
        loop.watch(descriptor, EventLoop.readable) { [unowned self] _ in
            var status: Int32 = 0
            guard waitpid(pid, &status, WNOHANG) == pid else { return }
            loop.forget(descriptor)
            close(descriptor)
            children.removeValue(forKey: pid)?(status)
        }
    }

    private func watchSignals() {
        let descriptor = roost_signal_descriptor()
        guard descriptor >= 0 else { return say("no signalfd: errno \(-descriptor)") }
        loop.watch(descriptor, EventLoop.readable) { [unowned self] _ in
            while true {
                let number = roost_next_signal(descriptor)
                guard number > 0 else { break }
                if let reboot = rebootOrder(number) { shutDown(reboot: reboot, grace: 10_000) }
            }
            reap()
        }
    }

    /// Collects every ended child, ours or inherited.
    func reap() {
        var status: Int32 = 0
        while true {
            let pid = waitpid(-1, &status, WNOHANG)
            guard pid > 0 else { return }
            if let action = children.removeValue(forKey: pid) {
                action(status)
            } else {
                sessions.childEnded(pid, status)
            }
        }
    }
}

/// What a signal orders process 1 to do: to reboot (`true`), to power off, or nothing.
///
/// Ctrl-alt-del comes as SIGINT and a power failure as SIGPWR, from the kernel. busybox's `reboot`,
/// `halt` and `poweroff` send SIGTERM, SIGUSR1 and SIGUSR2 to process 1, as its own init has them.
func rebootOrder(_ signal: Int32) -> Bool? {
    switch signal {
    case SIGINT, SIGTERM: true
    case SIGPWR, SIGUSR1, SIGUSR2: false
    default: nil
    }
}

/// The kernel's boot id as 16 bytes.
func bootID() -> [UInt8] {
    let digits = (text(of: "/proc/sys/kernel/random/boot_id") ?? "").filter(\.isHexDigit)
    var bytes: [UInt8] = []
    var rest = Substring(digits)
    while bytes.count < 16, rest.count >= 2 {
        bytes.append(UInt8(rest.prefix(2), radix: 16) ?? 0)
        rest = rest.dropFirst(2)
    }
    return bytes + Array(repeating: 0, count: 16 - bytes.count)
}
