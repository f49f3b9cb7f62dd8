package import RoostModel

/// A driver without a hypervisor: its VMs exist on a ``SimulatedHypervisor`` only.
///
/// It keeps the contract of ``Driver`` as QEMU's does, with latencies on the given clock, so that the
/// same node runs on either. There are no guests but for what ``SimulatedGuest`` says: no output but a
/// few console lines, and no channel to an agent.
package struct SimulatedDriver: Driver {
    /// What is called, for whoever makes a call slow or fail.
    package enum Call: String, CaseIterable, Sendable {
        case start
        case inspect
        case running
        case powerButton
        case reset
        case kill
        case pause
        case resume
        case save
        /// The second half of a save.
        case seal
        case discard
        /// Reading what is saved in a folder.
        case find
    }

    /// How long a call takes; asked once for each half of it.
    package typealias Latency = @Sendable (Call) -> Duration
    /// The fault of a call, or `nil` to let it be.
    package typealias Failing = @Sendable (Call) -> Fault?

    package let name = "simulated"
    package let capabilities: Capabilities
    let host: SimulatedHypervisor
    private let clock: any Clock<Duration>
    let latency: Latency
    let failing: Failing
    let token: Int

    /// A driver of a daemon that has just started, on a host that may have machines already.
    ///
    /// With `hasAgents` it says that its guests answer: to whom, is the composition's.
    package init(
        host: SimulatedHypervisor,
        clock: any Clock<Duration>,
        hasAgents: Bool = false,
        latency: @escaping Latency = { _ in .zero },
        failing: @escaping Failing = { _ in nil }
    ) {
        capabilities =
            hasAgents ? [.pause, .reset, .fork, .guestAgent] : [.pause, .reset, .fork]
        self.host = host
        self.clock = clock
        self.latency = latency
        self.failing = failing
        token = host.newDriver()
    }

    package func preflight() async -> [Fault] { [] }

    package func acceleration() async -> Acceleration {
        Acceleration(kind: "simulated", why: "VMs exist in this daemon's memory only")
    }

    package func start(_ launch: VMLaunch) async throws(Fault) {
        try await enter(.start)
        guard host.machine(of: launch.id) == nil else { return }
        let behaviour = host.behaving(launch)
        await pause(behaviour.startsWithin / 2)
        let machine = host.spawn(launch, behaviour, by: token)
        await pause(behaviour.startsWithin / 2)
        if let fault = behaviour.startFault {
            host.end(machine.pid, .exited(code: 1))
            throw fault
        }
        guard host.machine(of: launch.id) != nil else {
            throw Fault(
                .vmmFailed,
                "\(launch.name) ended while it started",
                metadata: ["vm": launch.name]
            )
        }
    }

    package func inspect(_ id: VMID) async throws(Fault) -> VMMStatus? {
        try await enter(.inspect)
        let machine = host.machine(of: id)
        await pause(latency(.inspect))
        return machine.map {
            VMMStatus(
                phase: $0.isPaused ? .paused : .running,
                pid: $0.pid,
                generation: $0.launch.generation
            )
        }
    }

    package func running() async throws(Fault) -> [VMID] {
        try await enter(.running)
        return Set(host.machines.map(\.launch.id)).sorted()
    }

    package func waitForExit(_ id: VMID) async -> VMMExit {
        await host.exit(of: id, seenBy: token)
    }

    package func powerButton(_ id: VMID) async throws(Fault) {
        try await enter(.powerButton)
        host.pressPowerButton(of: id)
    }

    package func reset(_ id: VMID) async throws(Fault) {
        try await enter(.reset)
        guard host.restart(id) else { throw gone(id) }
    }

    package func kill(_ id: VMID) async throws(Fault) {
        try await enter(.kill)
        for machine in host.machines where machine.launch.id == id {
            host.end(machine.pid, .killed(signal: 9))
        }
        await pause(latency(.kill))
    }

    package func pause(_ id: VMID) async throws(Fault) {
        try await enter(.pause)
        guard host.setPaused(id, true) else { throw gone(id) }
        await pause(latency(.pause))
    }

    package func resume(_ id: VMID) async throws(Fault) {
        try await enter(.resume)
        guard host.setPaused(id, false) else { throw gone(id) }
        await pause(latency(.resume))
    }

    package func guestChannel(_ id: VMID) async throws(Fault) -> any ByteStream {
        throw Fault(.unsupported, "simulated VMs have no guest", metadata: ["vm": "\(id)"])
    }

    func enter(_ call: Call) async throws(Fault) {
        await pause(latency(call))
        if let fault = failing(call) { throw fault }
    }

    func gone(_ id: VMID) -> Fault {
        Fault(.vmmFailed, "VM \(id.short) has no VMM", metadata: ["vm": "\(id)"])
    }

    func pause(_ duration: Duration) async {
        guard duration > .zero else { return }
        // Cancelled: what was begun is done all the same, only sooner.
        try? await clock.sleep(for: duration)
    }
}
