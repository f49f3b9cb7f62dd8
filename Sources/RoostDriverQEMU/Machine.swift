internal import Glibc
internal import RoostDriver
internal import RoostLinux
internal import RoostModel
internal import Synchronization

/// One VMM process: found or started, watched until it has ended, then cleaned up after.
///
/// Three tasks belong to it and end with it: the watcher (pidfd), and one for each log's bound.
final class Machine: Sendable {
    let id: VMID
    let identity: ProcessIdentity
    let generation: Int?
    let folder: MachineFolder
    /// Its memory file is frozen: what it writes are pages of its own.
    let isPrivate: Bool
    /// How it ended, once it has and is reaped: whoever waits hears it before the clean-up.
    let exit = Latch<VMMExit>()
    /// Set once it is cleaned up after: nothing of it is in the way of its next start.
    let cleaned = Latch<Void>()

    private struct State {
        var phase = VMMStatus.Phase.running
        var saidPowerOff = false
        var control: QMPClient?
        var connecting: Task<Result<QMPClient, Fault>, Never>?
        var agent: AgentChannel?
        var resets = ResetCount()
        var tasks: [Task<Void, Never>] = []
        var isLetGo = false
        /// The process that has gone on for it.
        var successor: Machine?
        var ownsFolder = true
        /// Its end is being cleaned up after: nobody can go on with its files.
        var isCleaned = false
        var controlSocket = MachineFolder.controlSocket
        var agentSocket = MachineFolder.agentSocket
    }

    private let process: PidDescriptor
    private let state = Mutex(State())

    init(
        id: VMID,
        process: PidDescriptor,
        identity: ProcessIdentity,
        generation: Int?,
        folder: MachineFolder,
        isPrivate: Bool
    ) {
        self.id = id
        self.process = process
        self.identity = identity
        self.generation = generation
        self.folder = folder
        self.isPrivate = isPrivate
    }

    var phase: VMMStatus.Phase { state.withLock(\.phase) }

    /// Begins to watch. `ended` is called once, after the clean-up and before ``cleaned`` is set.
    func watch(ended: @escaping @Sendable (Machine) -> Void) {
        let watcher = Task { [self] in
            guard let end = await process.end() else { return }
            let keepers = await disconnect()
            exit.set(await exitReport(end))
            for keeper in keepers { keeper.cancel() }
            // What a successor took over is its own now.
            let cleans = state.withLock { state in
                state.isCleaned = state.ownsFolder
                return state.ownsFolder
            }
            if cleans { await folder.clean() }
            ended(self)
            cleaned.set(())
        }
        let logs = [folder.console, folder.guest, folder.messages]
        let keepers = logs.map { log in Task { await log.keepBounded() } }
        state.withLock { $0.tasks = [watcher] + keepers }
    }

    /// Ends it with SIGKILL and waits for that; throws as ``awaitEnd()`` does.
    func kill() async throws(Fault) {
        try beginKill()
        try await awaitEnd()
    }

    /// Sends SIGKILL: no line of it runs any more. The kernel may still be clearing it away.
    func beginKill() throws(Fault) { try process.signal(SIGKILL) }

    /// The second half of ``kill()``: waits until it is reaped and cleaned up after. Throws
    /// ``Reason/deadline`` after 5 s.
    func awaitEnd() async throws(Fault) {
        // Not the caller's task: a cancelled caller must not believe that it is dead already.
        let isOver = await Task { [cleaned] in
            await cleaned.wait(until: .now + .seconds(5)) != nil
        }.value
        guard isOver else {
            throw Fault(.deadline, "process \(identity.pid) of VM \(id.short) does not end")
        }
    }

    /// Closes the connections and stops watching; the process runs on.
    func letGo() async {
        let (tasks, control, agent) = state.withLock { state in
            state.isLetGo = true
            return (state.tasks, state.control, state.agent)
        }
        for task in tasks { task.cancel() }
        for task in tasks { await task.value }
        control?.close()
        agent?.closeNow()
    }

    /// Runs a control command, connecting first where needed.
    @discardableResult
    func command(
        _ name: String,
        _ arguments: [String: QMPValue] = [:],
        within time: Duration = .seconds(10)
    ) async throws(Fault) -> QMPValue {
        do throws(Fault) {
            return try await control().execute(name, arguments, within: time)
        } catch {
            throw Fault(
                error.reason,
                error.message,
                metadata: error.metadata.merging(["vm": id.description]) { old, _ in old },
                cause: error.cause ?? error
            )
        }
    }

    /// The control connection, made anew when there is none. Callers share one attempt.
    func control(within time: Duration = .seconds(10)) async throws(Fault) -> QMPClient {
        let attempt = state.withLock { state -> Task<Result<QMPClient, Fault>, Never> in
            if state.isLetGo {
                return Task { .failure(Fault(.shuttingDown, "the driver has let go of this VM")) }
            }
            if let control = state.control, !control.isClosed { return Task { .success(control) } }
            if let connecting = state.connecting { return connecting }
            let task = Task { [self] in await connect(within: time) }
            state.connecting = task
            return task
        }
        return try await attempt.value.get()
    }

    private func connect(within time: Duration) async -> Result<QMPClient, Fault> {
        let result: Result<QMPClient, Fault>
        do throws(Fault) {
            let client = try await QMPClient.open(
                in: folder.path,
                name: state.withLock(\.controlSocket),
                within: time,
                handler: { [weak self] in self?.take($0) }
            )
            let status = try await client.execute("query-status", within: time)
            setPhase(status["status"]?.text ?? "")
            result = .success(client)
        } catch {
            result = .failure(error)
        }
        state.withLock { state in
            state.connecting = nil
            if case .success(let client) = result { state.control = client }
        }
        return result
    }

    /// Connects to the agent's port; an earlier connection ends first.
    func agentChannel() async throws(Fault) -> AgentChannel {
        giveUpAgent()?.closeNow()
        let channel = AgentChannel(try await agentPort())
        let earlier = state.withLock { state in
            defer { state.agent = channel }
            return state.agent
        }
        earlier?.closeNow()
        return channel
    }

    /// A connection to the agent's port, which takes one.
    func agentPort() async throws(Fault) -> SocketStream {
        try await UnixSocket.connect(
            in: folder.path,
            name: state.withLock(\.agentSocket),
            until: .now + .seconds(5)
        )
    }

    /// The channel to the agent is its own no longer, and stays open.
    private func giveUpAgent() -> AgentChannel? {
        state.withLock { state in
            defer { state.agent = nil }
            return state.agent
        }
    }

    /// Goes on with the channel to the agent of `source`, for which this machine goes on, over `port`.
    func takeAgent(of source: Machine, over port: SocketStream) {
        guard let channel = source.giveUpAgent() else { return port.closeNow() }
        channel.carry(to: port)
        state.withLock { $0.agent = channel }
    }

    private func setPhase(_ status: String) {
        state.withLock { state in
            switch status {
            case "running": state.phase = .running
            case "shutdown": state.phase = .shutDown
            case "paused", "prelaunch", "suspended", "io-error", "internal-error",
                "guest-panicked", "save-vm", "restore-vm", "finish-migrate", "postmigrate",
                "inmigrate", "debug", "watchdog", "colo":
                state.phase = .paused
            default: break
            }
        }
    }

    private func take(_ event: QMPEvent) {
        switch event.name {
        case "STOP": setPhase("paused")
        case "RESUME": setPhase("running")
        case "SHUTDOWN":
            setPhase("shutdown")
            if event.data["reason"]?.text == "guest-shutdown" {
                state.withLock { $0.saidPowerOff = true }
            }
        case "RESET":
            if event.data["guest"]?.truth == true {
                hangUpOnAgent()
                countGuestReset()
            }
        default: break
        }
    }

    /// Ends the connection to the agent that a reset has ended: QEMU holds the socket open, and the
    /// agent of the next boot does not know it. Whoever waited for that agent waited for ever.
    ///
    /// A connection on which nothing has come yet waits for the next agent, and is left to it.
    private func hangUpOnAgent() {
        let agent = state.withLock { state -> AgentChannel? in
            guard state.agent?.hasReceived == true else { return nil }
            defer { state.agent = nil }
            return state.agent
        }
        agent?.closeNow()
    }

    /// A guest that panics at boot would reset itself for ever and hold a core.
    private func countGuestReset() {
        let isLooping = state.withLock { $0.resets.count(at: .now) }
        guard isLooping else { return }
        folder.note("the guest reset itself again and again: ended")
        // A process that cannot be signalled has ended.
        try? beginKill()
    }

    /// Closes what leads to the process that has ended; returns who else watches its files.
    private func disconnect() async -> [Task<Void, Never>] {
        let (control, agent, tasks) = state.withLock { state in
            (state.control, state.agent, state.tasks.dropFirst())
        }
        // QEMU said why before it closed the socket; what is in flight is read first.
        await control?.drained(until: .now + .milliseconds(200))
        control?.close()
        agent?.closeNow()
        return Array(tasks)
    }

    /// From now on another process goes on for it, with its files: its end cleans nothing. `false`: it has
    /// ended already, and its files go.
    func giveUpFolder(to next: Machine) -> Bool {
        state.withLock { state in
            guard !state.isCleaned else { return false }
            state.ownsFolder = false
            state.successor = next
            return true
        }
    }
    /// From now on the files are its own, under their usual names.
    func ownFolder() {
        state.withLock { state in
            state.ownsFolder = true
            state.controlSocket = MachineFolder.controlSocket
            state.agentSocket = MachineFolder.agentSocket
        }
    }
    /// Makes it a successor that has not taken over: it listens elsewhere and owns nothing.
    func waitForFolder() {
        state.withLock { state in
            state.ownsFolder = false
            state.controlSocket = MachineFolder.nextControlSocket
            state.agentSocket = MachineFolder.nextAgentSocket
        }
    }
    /// The process that has gone on for it, if one has.
    var successor: Machine? { state.withLock(\.successor) }
    /// The VMM's pid.
    var pid: Int32 { identity.pid }

    private func exitReport(_ end: ProcessEnd) async -> VMMExit {
        let said = state.withLock(\.saidPowerOff)
        let report = await folder.exitReport()
        if said || report.cause == .guestPoweredOff {
            return VMMExit(cause: .guestPoweredOff, lastWords: report.lastWords)
        }
        let cause: VMMExit.Cause =
            switch end {
            case .exited(let code): .exited(code: code)
            case .killed(let signal): .killed(signal: signal)
            case .unknown: .unknown
            }
        return VMMExit(cause: cause, lastWords: report.lastWords)
    }
}
