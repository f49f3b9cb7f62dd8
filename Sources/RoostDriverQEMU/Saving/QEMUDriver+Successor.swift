internal import Glibc
internal import RoostDriver
internal import RoostLinux
internal import RoostModel

/// Saving a machine that goes on. Its memory file is frozen for good, so it goes on in another
/// process, the successor, which is ready before the machine is stopped:
///
/// ```text
///  source     runs ─────────────────▶ stopped ▶ saved ───▶ SIGKILL ─────────────────▶ gone
///  successor       spawned ▶ waits ─────────── loads ────▶ files, sockets, synced ▶ runs ▶ marked ▶ ports
///  guest                             held ──────────────────────────────────────── goes on ▶ told so
/// ```
/// The guest stands still only where it must: all that can be done before is done before, and what was
/// saved is digested and synced after.
///
/// While both are alive the source is the machine: the successor has not run. Once the source is
/// dead the successor is. So a look at the process table says whose the VM is.
extension QEMUDriver {
    func saveAndGoOn(
        _ machine: Machine,
        _ launch: VMLaunch,
        _ order: SaveOrder,
        holding guest: (any GuestHold)?
    ) async throws(Fault) -> SavedMachine {
        let wasRunning = machine.phase == .running
        let shape = try await shape(of: machine)
        let layer = try await makeLayer(machine.folder)
        let devices = SavedFolder(path: order.folder).devicesPath
        let (reader, ends) = try StateReader.make(for: machine.id.short)
        let next: Machine
        do throws(Fault) {
            next = try await spawnSuccessor(
                of: machine,
                launch,
                wasRunning,
                shape,
                Succession(
                    names: HandOver(back: nil),
                    memory: try await freeze(machine),
                    state: ends,
                    life: .goesOn()
                )
            )
        } catch {
            await clearHandOver(machine.folder)
            throw error
        }
        // The successor alone has the end that is read now, so that its own end is noticed.
        ends[0].close()
        // One that stands paused could not answer, and holds itself.
        let guest = wasRunning ? guest : nil
        let capture = Capture(machine: machine, reader: reader)
        let port: SocketStream
        do throws(Fault) {
            try await prepareLoad(next)
            port = try await next.agentPort()
            try await beginLoad(next)
            let draft = try await capture.begin(devices)
            try await guest?.hold()
            try await stand(machine, stop: wasRunning)
            _ = try await capture.writeDevices(to: devices, after: draft, withPages: true)
            try await awaitLoad(next)
        } catch {
            // Its end cleans nothing: it owns nothing yet.
            try? await next.kill()
            await clearHandOver(machine.folder)
            await goOn(machine, if: wasRunning)
            throw error
        }
        // Before the source's end, which would be the channel's too. The agent of one that has come to
        // stand by itself may have been in the middle of a word: its connection ends.
        if wasRunning { next.takeAgent(of: machine, over: port) } else { port.closeNow() }
        try await handOver(
            from: machine,
            to: next,
            launch,
            HandOver(back: nil),
            devices: devices,
            runs: wasRunning,
            holding: guest
        )
        return try await seal(
            next.id,
            order,
            shape,
            memory: next.memorySource,
            disk: layer,
            pages: nil
        )
    }

    /// Gives the memory that a successor maps its name, and returns its path.
    private func freeze(_ machine: Machine) async throws(Fault) -> String {
        try await onItsOwnThread { () throws(Fault) in
            let folder = machine.folder
            if !machine.isPrivate { try linkAnew(folder.memoryPath, folder.basePath) }
            return folder.presentBase ?? folder.basePath
        }
    }

    /// From here on there is no way back: the source dies, the successor is the machine. `devices` is
    /// the file that it was loaded from, when it has no name of the VM's own yet; `guest` is let go as
    /// soon as the machine runs.
    ///
    /// A source that stands still has nothing on its way to its disk, and once it is killed does nothing
    /// more. So nobody waits until the kernel has cleared it away, but for what it has that there is once:
    /// its host ports.
    func handOver(
        from machine: Machine,
        to next: Machine,
        _ launch: VMLaunch,
        _ names: HandOver,
        devices: String? = nil,
        runs: Bool,
        holding guest: (any GuestHold)? = nil
    ) async throws(Fault) {
        guard machine.giveUpFolder(to: next) else {
            // Whoever ended it, its files are going: nothing can run on them.
            try await next.kill()
            throw Fault(
                .vmmFailed,
                "the VMM of \(machine.id.short) ended while another was to go on for it",
                metadata: ["vm": machine.id.description]
            )
        }
        register(next)
        let stands = machine.phase == .paused
        try machine.beginKill()
        // On a throw it is not dead after 5 s: then nothing may run in its place.
        if !stands { try await machine.awaitEnd() }
        try await onItsOwnThread { () throws(Fault) in
            try next.takeOverFolder(names)
            if let devices { try linkAnew(devices, next.folder.devicesBasePath) }
        }
        // Before anybody in the guest hears that what he wrote is on the disk.
        try await onItsOwnThread { () throws(Fault) in
            try DurableFile.syncDirectory(next.folder.path)
        }
        if runs { try await run(next) } else { try await mark(next) }
        async let unpublished = publish(forwards(launch), of: next, after: machine)
        let settled: Result<Void, Fault>
        do throws(Fault) { settled = .success(try await guest?.letGo() ?? ()) } catch {
            settled = .failure(error)
        }
        if let problem = await unpublished {
            next.folder.note(problem.message)
            try settled.get()
            throw problem
        }
        try settled.get()
    }

    /// As ``publish(_:of:)``, once `source` has given them up.
    private func publish(
        _ forwards: [String],
        of machine: Machine,
        after source: Machine
    ) async -> Fault? {
        guard !forwards.isEmpty else { return nil }
        do throws(Fault) { try await source.awaitEnd() } catch {
            return Fault(
                .portTaken,
                "the machine goes on, but not with its ports: \(error.message)",
                metadata: error.metadata
            )
        }
        return await publish(forwards, of: machine)
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
    func makeLayer(_ folder: MachineFolder) async throws(Fault) -> String {
        await clearHandOver(folder)
        let disk = "\(folder.path)/root.qcow2"
        let (layer, size) = try await onItsOwnThread { () throws(Fault) in
            let size = try DiskHeader(disk).size
            try Layers.admitOneMore(under: disk)
            let layer = "\(folder.path)/root.\(Layers.freeNumber(in: folder.path)).qcow2"
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

    /// Starts the process that is to go on for `machine`; it waits.
    func spawnSuccessor(
        of machine: Machine,
        _ launch: VMLaunch,
        _ wasRunning: Bool,
        _ shape: MachineShape,
        _ succession: Succession
    ) async throws(Fault) -> Machine {
        let emulator = try await checkedEmulator()
        let version = try await probe.version(of: emulator)
        let accelerator = await probe.answer(emulator: emulator).kind
        let seals = seals
        let next = try await onItsOwnThread { () throws(Fault) in
            let folder = machine.folder
            try MachineFolder.admitPrivate(mebibytes: launch.memoryMiB)
            let context = CommandContext(
                accelerator: accelerator,
                memoryPath: succession.memory,
                isPrivate: true,
                isIncoming: true,
                life: succession.life
            )
            let forwards = forwards(launch)
            var launch = launch
            // The source has them until its end.
            launch.ports = []
            launch.rootDiskPath = "\(folder.path)/\(succession.names.disk)"
            let messages = try folder.openMessages(generation: launch.generation)
            let plan = Self.processPlan(
                launch,
                context,
                emulator: emulator,
                descriptors: [
                    nil, messages, messages,
                    try UnixSocket.listen(in: folder.path, name: MachineFolder.nextControlSocket),
                    try UnixSocket.listen(in: folder.path, name: MachineFolder.nextAgentSocket),
                ] + succession.state,
                environment: [
                    "\(ProcessMark.successor)\(machine.pid)",
                    "\(ProcessMark.successorRuns)\(wasRunning ? 1 : 0)",
                    "\(ProcessMark.forwards)\(forwards.joined(separator: ","))",
                ] + (succession.names.back.map { ["\(ProcessMark.back)\($0)"] } ?? [])
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

    /// Removes what an unfinished hand-over left in a VM's directory, and layers that its disk does
    /// not stand on.
    func clearHandOver(_ folder: MachineFolder) async {
        do throws(Fault) {
            try await onItsOwnThread { () throws(Fault) in
                folder.cleanScratch()
                unlink("\(folder.path)/\(MachineFolder.backDisk)")
                try Layers.removeStrays(in: folder.path)
            }
        } catch {
            folder.note("could not clear away layers: \(error.message)")
        }
    }
}

extension Machine {
    /// Makes the VM's files this successor's: sockets, disk, memory, handles. Blocks.
    func takeOverFolder(_ names: HandOver) throws(Fault) {
        try takeOver(folder, names)
        ownFolder()
        writeHandles()
    }
}

/// What a successor is started from; paths are absolute.
struct Succession: Sendable {
    var names: HandOver
    /// The frozen memory that it maps.
    var memory: String
    /// What it reads the rest of its state from, a file or the end of a socket, and what it holds besides.
    var state: [Descriptor]
    var life: ProcessLife
}

/// The names in a VM's directory that a successor's files have until it takes over.
struct HandOver: Sendable, Hashable {
    /// Where the successor is an earlier machine that the VM goes back to: a text of this attempt
    /// alone, since what a crash left of another must never be taken for this one's.
    let back: String?

    var disk: String { back.map { "\(Self.prefix)\($0).qcow2" } ?? MachineFolder.nextDisk }
    /// Further names of the memory and the devices that it was started from.
    var memory: String? { back.map { "\(Self.prefix)\($0).memory" } }
    var devices: String? { back.map { "\(Self.prefix)\($0).devices" } }

    static let prefix = "back-"
}

/// Gives a successor's files their usual names, which a sync of the directory makes durable. May be
/// repeated; blocks.
func takeOver(_ folder: MachineFolder, _ names: HandOver) throws(Fault) {
    let path = folder.path
    if let memory = names.memory, access("\(path)/\(memory)", F_OK) == 0 {
        // The former machine's: this one's is beside the disk.
        unlink(folder.basePath)
        try move("\(path)/\(memory)", folder.diskBasePath)
    }
    if let devices = names.devices, access("\(path)/\(devices)", F_OK) == 0 {
        try move("\(path)/\(devices)", folder.devicesBasePath)
    }
    for (from, to) in [
        (MachineFolder.nextControlSocket, MachineFolder.controlSocket),
        (MachineFolder.nextAgentSocket, MachineFolder.agentSocket),
        (names.disk, "root.qcow2"),
    ] where access("\(path)/\(from)", F_OK) == 0 {
        try move("\(path)/\(from)", "\(path)/\(to)")
    }
    unlink(folder.memoryPath)
}
