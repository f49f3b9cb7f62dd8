package import RoostModel
import Synchronization

extension SimulatedDriver: Forking {
    package func save(
        _ launch: VMLaunch,
        _ order: SaveOrder,
        holding guest: (any GuestHold)?
    ) async throws(Fault) -> SavedMachine {
        try await enter(.save)
        if let done = try host.manifest(order.folder) {
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
        let found = host.machine(of: launch.id)
        if order.memory == .absent { return try await saveDisk(launch, order, isUp: found != nil) }
        guard let machine = found else {
            throw Fault(.wrongState, "VM \(launch.id.short) has no running process")
        }
        host.removeSave(order.folder)
        let guest = order.afterwards == .goesOn && !machine.isPaused ? guest : nil
        try await guest?.hold()
        _ = host.setPaused(launch.id, true)
        // Between any two of these the daemon may die.
        await pause(latency(.save))
        guard host.machine(of: launch.id)?.pid == machine.pid else { throw gone(launch.id) }
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
            do throws(Fault) {
                try await guest?.letGo()
            } catch {
                host.removeSave(order.folder)
                throw error
            }
        }
        host.saves.withLock { $0.manifests[order.folder] = saved }
        await pause(latency(.seal))
        endSaved(launch.id, order)
        return saved
    }

    package func savedMachine(in folder: String) async throws(Fault) -> SavedMachine? {
        try await enter(.find)
        return try host.manifest(folder)
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
        let machine = host.spawn(launch, behaviour, by: token, loaded: saved.order)
        host.remember(machine, from: saved.part(.memory)?.path ?? "")
        await pause(behaviour.startsWithin)
        if let fault = behaviour.startFault {
            host.end(machine.pid, .exited(code: 1))
            throw fault
        }
        guard host.setRan(launch.id) else { throw gone(launch.id) }
        if saved.order.afterwards == .endsInPlace {
            // From here on a daemon that takes over finds a machine, and memory beside it.
            await pause(latency(.discard))
            if let fault = failing(.discard) {
                host.end(machine.pid, .killed(signal: 9))
                throw fault
            }
            host.removeSave(saved.order.folder)
            await pause(latency(.resume))
        }
        if let fault = failing(.resume) {
            host.end(machine.pid, .killed(signal: 9))
            throw fault
        }
        guard host.setPaused(launch.id, false) else { throw gone(launch.id) }
    }

    private func saveDisk(
        _ launch: VMLaunch,
        _ order: SaveOrder,
        isUp: Bool
    ) async throws(Fault) -> SavedMachine {
        guard !isUp else {
            throw Fault(.wrongState, "VM \(launch.id.short) runs: its disk is not kept alone")
        }
        host.removeSave(order.folder)
        await pause(latency(.save))
        let parts = host.writeParts(of: launch, order, memory: host.diskCount(of: launch.id))
        if let fault = failing(.seal) {
            host.removeSave(order.folder)
            throw fault
        }
        await pause(latency(.seal))
        let saved = SavedMachine(
            vm: launch.id,
            order: order,
            shape: MachineShape([:]),
            parts: parts
        )
        host.saves.withLock { $0.manifests[order.folder] = saved }
        await pause(latency(.seal))
        return saved
    }

    package func revert(_ launch: VMLaunch, to saved: SavedMachine) async throws(Fault) {
        try await enter(.start)
        try host.check(saved)
        let behaviour = host.behaving(launch)
        if saved.hasMemory {
            try saved.shape.check(fits: Self.shape(launch), vm: "\(launch.id)")
            if let fault = behaviour.startFault { throw fault }
        }
        await pause(latency(.seal))
        if let fault = failing(.seal) { throw fault }
        host.revert(launch, to: saved, behaviour, by: token)
        await pause(latency(.resume))
    }

    package func share(_ saved: SavedMachine, in folder: String) async throws(Fault) {
        try await enter(.seal)
        if let done = try host.manifest(folder) {
            guard done.vm == saved.vm else {
                throw Fault(
                    .inUse,
                    "'\(folder)' holds another saved machine",
                    metadata: ["path": folder, "users": "\(done.vm)"]
                )
            }
            return
        }
        host.share(saved, in: folder)
        await pause(latency(.seal))
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
