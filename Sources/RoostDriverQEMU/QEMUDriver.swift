package import RoostDriver
package import RoostLinux
package import RoostModel
internal import Synchronization

/// Where a ``QEMUDriver`` works and what it uses. Paths are absolute.
package struct QEMUSettings: Sendable {
    /// The state directory; VMs live in its `vms/<id>`.
    package var stateDirectory: String
    /// Where guest memory files go: on tmpfs, and this state directory's alone, so that what lies
    /// there and belongs to no VM is known to be left over. Made at the first start.
    package var memoryDirectory: String
    /// Directories to look for QEMU in, as in `PATH`.
    package var searchPath: String
    /// `auto` asks the probe; the others are taken as they are.
    package var acceleration: AccelerationChoice

    package init(
        stateDirectory: String,
        memoryDirectory: String,
        searchPath: String = "/usr/local/bin:/usr/bin:/bin",
        acceleration: AccelerationChoice = .auto
    ) {
        self.stateDirectory = stateDirectory
        self.memoryDirectory = memoryDirectory
        self.searchPath = searchPath
        self.acceleration = acceleration
    }
}

/// QEMU, one process a VM. The README has the picture.
package final class QEMUDriver: Driver {
    package let name = "qemu"
    package let capabilities: Capabilities = [.pause, .guestAgent, .reset, .fork]

    let settings: QEMUSettings
    let probe: AccelerationProbe
    let seals = Seals()

    private struct State {
        var machines: [VMID: Machine] = [:]
        var claimed: Set<VMID> = []
        var search: Task<Void, Never>?
    }

    private let state = Mutex(State())

    /// Does nothing yet; VMMs of an earlier daemon are found at the first question.
    package init(_ settings: QEMUSettings) {
        self.settings = settings
        probe = AccelerationProbe(
            stateDirectory: settings.stateDirectory,
            choice: settings.acceleration
        )
    }

    package func acceleration() async -> Acceleration {
        guard let path = emulatorPath() else {
            return Acceleration(kind: "tcg", why: "QEMU is not installed")
        }
        return await probe.answer(emulator: path)
    }

    package func start(_ launch: VMLaunch) async throws(Fault) {
        guard try await begin(launch.id) else { return }
        defer { release(launch.id) }
        try await startMachine(launch)
    }

    /// Claims a VM for a start; `false` when it runs already.
    func begin(_ id: VMID) async throws(Fault) -> Bool {
        if let machine = await machine(id) {
            if machine.identity.isAlive { return false }
            // It has just died: its files are cleared away before new ones are made.
            _ = await machine.cleaned.wait()
        }
        guard claim(id) else {
            throw Fault(.storeConflict, "VM \(id.short) is being started already")
        }
        return true
    }

    /// Takes a VM for one start or save; `false` when another has it.
    func claim(_ id: VMID) -> Bool { state.withLock { $0.claimed.insert(id).inserted } }
    func release(_ id: VMID) { state.withLock { _ = $0.claimed.remove(id) } }

    package func inspect(_ id: VMID) async throws(Fault) -> VMMStatus? {
        guard let machine = await machine(id) else { return nil }
        let identity = machine.identity
        let pid = identity.pid
        let (isAlive, usage) = try await onItsOwnThread { () throws(Fault) in
            (identity.isAlive, ProcessTable.usage(pid))
        }
        guard isAlive else { return nil }
        return VMMStatus(
            phase: machine.phase,
            pid: pid,
            generation: machine.generation,
            cpuTime: usage?.cpu ?? .zero,
            resident: usage?.resident ?? ByteCount(bytes: 0)
        )
    }

    package func running() async throws(Fault) -> [VMID] {
        await search()
        return state.withLock { $0.machines.keys.sorted() }
    }

    /// As the contract says. A cancelled caller gets ``VMMExit/Cause/unknown`` at once.
    package func waitForExit(_ id: VMID) async -> VMMExit {
        guard var machine = await machine(id) else { return await folder(id).exitReport() }
        while true {
            guard let exit = await machine.exit.wait() else {
                return VMMExit(cause: .unknown, lastWords: "")
            }
            // Its successor is the VMM now. That may have ended meanwhile, sooner than this one, which the
            // kernel takes its time to clear away.
            guard let next = machine.successor else { return exit }
            machine = next
        }
    }

    package func powerButton(_ id: VMID) async throws(Fault) {
        try await existing(id).command("system_powerdown")
    }

    package func reset(_ id: VMID) async throws(Fault) {
        try await existing(id).command("system_reset")
    }

    package func kill(_ id: VMID) async throws(Fault) {
        guard let machine = await machine(id) else { return }
        try await machine.kill()
    }

    package func pause(_ id: VMID) async throws(Fault) {
        try await existing(id).command("stop")
    }

    package func resume(_ id: VMID) async throws(Fault) {
        try await existing(id).command("cont")
    }

    package func guestChannel(_ id: VMID) async throws(Fault) -> any ByteStream {
        let machine = try await existing(id)
        do throws(Fault) {
            return try await machine.agentChannel()
        } catch {
            throw Fault(
                .guestUnreachable,
                "the agent's port of VM \(id.short) cannot be reached",
                metadata: ["vm": id.description],
                cause: error
            )
        }
    }

    /// The VMM of a VM, if it has one; VMMs of an earlier daemon are found first.
    func machine(_ id: VMID) async -> Machine? {
        await search()
        return state.withLock { $0.machines[id] }
    }

    func existing(_ id: VMID) async throws(Fault) -> Machine {
        if let machine = await machine(id) { return machine }
        throw Fault(
            .wrongState,
            "VM \(id.short) has no running process",
            metadata: ["vm": id.description]
        )
    }

    func folder(_ id: VMID) -> MachineFolder {
        MachineFolder(
            id: id,
            path: "\(settings.stateDirectory)/vms/\(id)",
            memoryDirectory: settings.memoryDirectory
        )
    }

    /// Where QEMU is; `nil` when it is not installed.
    func emulatorPath() -> String? {
        ProcessSpawner.resolve("qemu-system-x86_64", searchPath: settings.searchPath)
    }

    /// Registers and watches a VMM.
    func adopt(_ machine: Machine) {
        register(machine)
        watch(machine)
    }

    /// Makes it the VM's VMM.
    func register(_ machine: Machine) {
        state.withLock { $0.machines[machine.id] = machine }
    }

    /// Notices its end.
    func watch(_ machine: Machine) {
        machine.watch { [weak self] ended in
            self?.state.withLock { state in
                if state.machines[ended.id] === ended { state.machines[ended.id] = nil }
            }
        }
    }

    /// Lets go of a VMM without ending it, as a daemon does that stops: connections are closed, the
    /// guest runs on, and the next driver finds it.
    package func abandon(_ id: VMID) async {
        let machine = state.withLock { $0.machines.removeValue(forKey: id) }
        await machine?.letGo()
    }

    /// Looks for VMMs that an earlier daemon started, once: the state directory's lock sees to it
    /// that nobody else starts any later.
    private func search() async {
        let task = state.withLock { state in
            if let search = state.search { return search }
            let search = Task { await self.adoptEarlierMachines() }
            state.search = search
            return search
        }
        await task.value
    }
}

extension SocketStream: ByteStream {}
