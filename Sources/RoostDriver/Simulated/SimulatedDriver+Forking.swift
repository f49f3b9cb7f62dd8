package import RoostModel
import Synchronization

extension SimulatedDriver: Forking {
    package func save(
        _ launch: VMLaunch,
        _ order: SaveOrder
    ) async throws(Fault) -> SavedMachine {
        try await enter(.save)
        if let done = host.saves.withLock({ $0.manifests[order.folder] }) {
            guard done.vm == launch.id, done.order == order else {
                throw Fault(
                    .inUse,
                    "'\(order.folder)' holds another saved machine",
                    metadata: ["path": order.folder, "users": "\(done.vm)"]
                )
            }
            endSaved(launch.id, order)
            return done
        }
        guard let machine = host.machine(of: launch.id) else {
            throw Fault(.wrongState, "VM \(launch.id.short) has no running process")
        }
        host.removeSave(order.folder)
        _ = host.setPaused(launch.id, true)
        // Between any two of these the daemon may die.
        await pause(latency(.save))
        let parts = host.writeParts(of: machine, order)
        if let fault = failing(.seal) {
            _ = host.setPaused(launch.id, machine.isPaused)
            host.removeSave(order.folder)
            throw fault
        }
        await pause(latency(.seal))
        let saved = SavedMachine(
            vm: launch.id,
            order: order,
            shape: Self.shape(machine.launch),
            parts: parts
        )
        if order.afterwards == .goesOn {
            guard host.succeed(machine.pid, by: token, isPaused: machine.isPaused) else {
                host.removeSave(order.folder)
                throw gone(launch.id)
            }
        }
        host.saves.withLock { $0.manifests[order.folder] = saved }
        await pause(latency(.seal))
        endSaved(launch.id, order)
        return saved
    }

    package func savedMachine(in folder: String) async throws(Fault) -> SavedMachine? {
        host.saves.withLock { $0.manifests[folder] }
    }

    package func verify(_ saved: SavedMachine) async throws(Fault) { try host.check(saved) }

    package func start(
        _ launch: VMLaunch,
        from saved: SavedMachine
    ) async throws(Fault) {
        try await enter(.start)
        guard host.machine(of: launch.id) == nil else { return }
        try host.check(saved)
        try saved.shape.check(fits: Self.shape(launch), vm: "\(launch.id)")
        let behaviour = host.behaving(launch)
        let machine = host.spawn(launch, behaviour, by: token)
        _ = host.setPaused(launch.id, true)
        host.remember(machine.pid, from: saved.part(.memory)?.path ?? "")
        await pause(behaviour.startsWithin)
        if let fault = behaviour.startFault {
            host.end(machine.pid, .exited(code: 1))
            throw fault
        }
        if saved.order.afterwards == .endsInPlace { host.removeSave(saved.order.folder) }
        guard host.setPaused(launch.id, false) else { throw gone(launch.id) }
    }

    package func discard(savedIn folder: String) async throws(Fault) {
        try await enter(.discard)
        host.removeSave(folder)
    }

    private func endSaved(_ id: VMID, _ order: SaveOrder) {
        guard order.afterwards != .goesOn else { return }
        for machine in host.machines where machine.launch.id == id {
            host.end(machine.pid, .killed(signal: 9))
        }
    }

    private static func shape(_ launch: VMLaunch) -> MachineShape {
        MachineShape([
            "vmm": "simulated", "-smp": "cpus=\(launch.cores)", "-m": "\(launch.memoryMiB)M",
            "kernel": launch.kernelPath, "initramfs": launch.initramfsPath,
        ])
    }
}
