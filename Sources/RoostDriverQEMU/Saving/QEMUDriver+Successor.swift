internal import Glibc
internal import RoostDriver
internal import RoostLinux
internal import RoostModel

/// Saving a machine that goes on. Its memory file is frozen for good, so it goes on in another
/// process, the successor, which is ready before the machine is stopped:
///
/// ```text
///  source     runs ───────────────▶ stopped ▶ saved ─────────▶ killed
///  successor       spawned ▶ waits ───────────────▶ loaded ────────────▶ files, sockets ▶ runs ▶ marked
/// ```
/// While both are alive the source is the machine: the successor has not run. Once the source is
/// dead the successor is. So a look at the process table says whose the VM is.
extension QEMUDriver {
    func saveAndGoOn(
        _ machine: Machine,
        _ launch: VMLaunch,
        _ order: SaveOrder
    ) async throws(Fault) -> SavedMachine {
        let wasRunning = machine.phase == .running
        let shape = try await shape(of: machine)
        let layer = try await makeLayer(machine.folder)
        let next: Machine
        do throws(Fault) {
            next = try await spawnSuccessor(of: machine, launch, order, wasRunning, shape)
        } catch {
            await clearHandOver(machine.folder)
            throw error
        }
        do throws(Fault) {
            _ = try await next.control(within: .seconds(20))
            try await stand(machine, stop: wasRunning)
            _ = try await Capture(machine: machine)
                .writeDevices(to: SavedFolder(path: order.folder).devicesPath, withPages: true)
            try await load(next)
        } catch {
            // Its end cleans nothing: it owns nothing yet.
            try? await next.kill()
            await clearHandOver(machine.folder)
            await goOn(machine, if: wasRunning)
            throw error
        }
        try await handOver(from: machine, to: next, launch, order, runs: wasRunning)
        return try await seal(
            next,
            order,
            shape,
            memory: next.memorySource,
            disk: layer,
            pages: nil
        )
    }

    /// From here on there is no way back: the source dies, the successor is the machine.
    private func handOver(
        from machine: Machine,
        to next: Machine,
        _ launch: VMLaunch,
        _ order: SaveOrder,
        runs: Bool
    ) async throws(Fault) {
        machine.giveUpFolder()
        register(next)
        // On a throw it is not dead after 5 s: then nothing may run in its place.
        try await machine.kill()
        let devices = SavedFolder(path: order.folder).devicesPath
        try await onItsOwnThread { () throws(Fault) in
            try next.takeOverFolder()
            try linkAnew(devices, next.folder.devicesBasePath)
        }
        let problem = await publish(forwards(launch), of: next)
        if runs { try await run(next) } else { try await mark(next) }
        if let problem { throw problem }
    }

    /// Publishes the ports of a machine that runs without them, as ``forwards(_:)`` writes them: while
    /// two processes are one machine, only one can have them. Returns what went wrong.
    func publish(_ forwards: [String], of machine: Machine) async -> Fault? {
        for forward in forwards {
            do throws(Fault) {
                let answer = try await machine.command(
                    "human-monitor-command",
                    ["command-line": .string("hostfwd_add net0 \(forward)")]
                )
                guard let words = answer.text, !words.isEmpty else { continue }
                return Fault(
                    .portTaken,
                    "the machine goes on, but not with its port \(forward): \(shown(words))"
                )
            } catch { return error }
        }
        return nil
    }

    /// Gives the disk as it is a further name, for the successor's overlay to stand on, and makes that
    /// overlay. Returns the name.
    private func makeLayer(_ folder: MachineFolder) async throws(Fault) -> String {
        await clearHandOver(folder)
        let disk = "\(folder.path)/root.qcow2"
        let (layer, size) = try await onItsOwnThread { () throws(Fault) in
            let size = try diskSize(disk)
            let number = (1...).first { access("\(folder.path)/root.\($0).qcow2", F_OK) != 0 } ?? 1
            let layer = "\(folder.path)/root.\(number).qcow2"
            try linkAnew(disk, layer)
            return (layer, size)
        }
        let name = layer.dropFirst(folder.path.count + 1)
        // Relative: the directory may come to lie in the trash and back.
        try await DiskTool(searchPath: settings.searchPath).makeUncheckedOverlay(
            "\(folder.path)/\(MachineFolder.nextDisk)",
            over: String(name),
            bytes: size
        )
        return layer
    }

    private func spawnSuccessor(
        of machine: Machine,
        _ launch: VMLaunch,
        _ order: SaveOrder,
        _ wasRunning: Bool,
        _ shape: MachineShape
    ) async throws(Fault) -> Machine {
        let emulator = try await checkedEmulator()
        let version = try await probe.version(of: emulator)
        let accelerator = await probe.answer(emulator: emulator).kind
        let seals = seals
        let next = try await onItsOwnThread { () throws(Fault) in
            let folder = machine.folder
            try MachineFolder.admitPrivate(mebibytes: launch.memoryMiB)
            if !machine.isPrivate { try linkAnew(folder.memoryPath, folder.basePath) }
            let context = CommandContext(
                accelerator: accelerator,
                memoryPath: folder.presentBase ?? folder.basePath,
                isPrivate: true,
                isIncoming: true
            )
            let forwards = forwards(launch)
            var launch = launch
            // The source has them until its end.
            launch.ports = []
            launch.rootDiskPath = "\(folder.path)/\(MachineFolder.nextDisk)"
            let devices = SavedFolder(path: order.folder).devicesPath
            PageFile.touch(devices)
            let messages = try folder.openMessages(generation: launch.generation)
            let plan = Self.processPlan(
                launch,
                context,
                emulator: emulator,
                descriptors: [
                    nil, messages, messages,
                    try UnixSocket.listen(in: folder.path, name: MachineFolder.nextControlSocket),
                    try UnixSocket.listen(in: folder.path, name: MachineFolder.nextAgentSocket),
                    try Self.openDevices(devices),
                ],
                environment: [
                    "\(ProcessMark.successor)\(machine.pid)",
                    "\(ProcessMark.successorRuns)\(wasRunning ? 1 : 0)",
                    "\(ProcessMark.forwards)\(forwards.joined(separator: ","))",
                ]
            )
            let now = try readShape(
                Array(plan.arguments.dropFirst()),
                versionText(version),
                seals
            )
            try shape.check(fits: now, vm: launch.id.description)
            return try Self.spawnWaiting(launch, folder, plan)
        }
        watch(next)
        return next
    }

    /// Removes what an unfinished hand-over left in a VM's directory.
    func clearHandOver(_ folder: MachineFolder) async {
        _ = try? await onItsOwnThread { () throws(Fault) in
            folder.cleanScratch()
            for name in names(in: folder.path) where isUnfinishedLayer(name, in: folder.path) {
                unlink("\(folder.path)/\(name)")
            }
        }
    }
}

extension Machine {
    /// Makes the VM's files this successor's: sockets, disk, memory, handles. Blocks.
    func takeOverFolder() throws(Fault) {
        try takeOver(folder)
        ownFolder()
        writeHandles()
    }
}

/// Gives a successor's files their usual names. May be repeated; blocks.
func takeOver(_ folder: MachineFolder) throws(Fault) {
    for (from, to) in [
        (MachineFolder.nextControlSocket, MachineFolder.controlSocket),
        (MachineFolder.nextAgentSocket, MachineFolder.agentSocket),
        (MachineFolder.nextDisk, "root.qcow2"),
    ] where access("\(folder.path)/\(from)", F_OK) == 0 {
        try move("\(folder.path)/\(from)", "\(folder.path)/\(to)")
    }
    try DurableFile.syncDirectory(folder.path)
    unlink(folder.memoryPath)
}

/// Whether `name` is that of a disk's frozen layer, `root.N.qcow2`.
func isLayer(_ name: String) -> Bool {
    let parts = name.split(separator: ".")
    return parts.count == 3 && parts[0] == "root" && parts[2] == "qcow2" && Int(parts[1]) != nil
}

/// Whether `name` is a layer that is still the disk itself: nothing stands on it.
private func isUnfinishedLayer(_ name: String, in folder: String) -> Bool {
    isLayer(name) && isSameFile("\(folder)/\(name)", "\(folder)/root.qcow2")
}

/// The virtual size of a qcow2 disk in bytes: 8 bytes, most significant first, at 24. Blocks.
private func diskSize(_ path: String) throws(Fault) -> UInt64 {
    let number = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard number >= 0 else { throw systemFault("open", path, errno) }
    let file = Descriptor(number)
    var bytes = [UInt8](repeating: 0, count: 32)
    let count = bytes.withUnsafeMutableBytes { pread(file.number, $0.baseAddress, 32, 0) }
    guard count == 32, bytes[..<4].elementsEqual([0x51, 0x46, 0x49, 0xfb]) else {
        throw Fault(.stateUnreadable, "'\(path)' is no qcow2 disk", metadata: ["path": path])
    }
    return bytes[24..<32].reduce(0) { $0 << 8 | UInt64($1) }
}
