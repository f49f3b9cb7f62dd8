internal import Glibc
package import RoostDriver
internal import RoostLinux
package import RoostModel

extension QEMUDriver {
    package func start(
        _ launch: VMLaunch,
        from saved: SavedMachine
    ) async throws(Fault) {
        guard try await begin(launch.id) else { return }
        defer { release(launch.id) }
        try await verify(saved)
        try await checkShape(launch, saved)
        guard let memory = saved.part(.memory), let devices = saved.part(.devices) else {
            throw Fault(.savedStateDamaged, "the saved machine lacks parts")
        }
        let machine = try await spawnMachine(
            launch,
            .saved(memory: memory.path, devices: devices.path)
        )
        do throws(Fault) {
            try await prepareLoad(machine)
            try await load(machine)
            try await run(machine, from: saved)
        } catch {
            throw await failedStart(machine, error)
        }
    }

    /// Tells a process that waits how it is to load.
    func prepareLoad(_ machine: Machine) async throws(Fault) {
        _ = try await machine.control(within: .seconds(20))
        try await machine.command("migrate-set-capabilities", ignoreSharedMemory)
        // On this host as before, or a copy that is given an address of its own: told that it has moved, a
        // guest announces itself to its networks before anything else, which takes an emulated one 20 ms.
        try await machine.command("migrate-set-parameters", ["announce-rounds": .int(0)])
    }

    /// Loads the saved state that the prepared process holds open; it stands still afterwards.
    func load(_ machine: Machine) async throws(Fault) {
        try await beginLoad(machine)
        try await awaitLoad(machine)
    }

    /// The first half of ``load(_:)``: the process reads what there is.
    func beginLoad(_ machine: Machine) async throws(Fault) {
        try await machine.command(
            "migrate-incoming",
            ["uri": .string("fd:\(Self.devicesDescriptor)")]
        )
    }

    func awaitLoad(_ machine: Machine) async throws(Fault) {
        let deadline = ContinuousClock.now + .seconds(120)
        // QEMU loads on the thread that answers us, so the first answer is nearly always the last.
        while try await machine.command("query-status", within: .seconds(60))["status"]?.text
            == "inmigrate"
        {
            guard await Reactor.shared.sleep(until: .now + .milliseconds(1)) == .timedOut,
                ContinuousClock.now < deadline
            else { throw Fault(.deadline, "QEMU did not load VM \(machine.id.short) in time") }
        }
    }

    /// Lets a loaded machine run, and marks the process as one that has.
    func run(_ machine: Machine) async throws(Fault) {
        try await machine.command("cont")
        try await mark(machine)
    }

    /// As ``run(_:)``; what is resumed in place is used up first, while its CPUs stand still: memory
    /// that is older than its disk must never be found again.
    private func run(_ machine: Machine, from saved: SavedMachine) async throws(Fault) {
        guard saved.order.afterwards == .endsInPlace else { return try await run(machine) }
        try await mark(machine)
        try await discard(savedIn: saved.order.folder)
        try await machine.command("cont")
    }

    /// Leaves a mark in the process, for the next daemon: it has run, so it is not half made.
    func mark(_ machine: Machine) async throws(Fault) {
        try await machine.command(
            "object-add",
            ["qom-type": .string("secret"), "id": .string(ranMark), "data": .string("1")]
        )
    }

    /// Whether the process has the mark.
    func hasRun(_ machine: Machine) async throws(Fault) -> Bool {
        let objects = try await machine.command("qom-list", ["path": .string("/objects")])
        return (objects.elements ?? []).contains { $0["name"]?.text == ranMark }
    }

    /// Throws ``Reason/shapeDiffers`` unless the machine of `launch` would be of the saved one's shape.
    func checkShape(_ launch: VMLaunch, _ saved: SavedMachine) async throws(Fault) {
        let emulator = try await checkedEmulator()
        let version = try await probe.version(of: emulator)
        let context = CommandContext(
            accelerator: await probe.answer(emulator: emulator).kind,
            memoryPath: "",
            life: .another()
        )
        let seals = seals
        let now = try await onItsOwnThread { () throws(Fault) in
            try readShape(qemuArguments(launch, context), versionText(version), seals)
        }
        try saved.shape.check(fits: now, vm: launch.id.description)
    }
}

private let ranMark = "roost-ran"
