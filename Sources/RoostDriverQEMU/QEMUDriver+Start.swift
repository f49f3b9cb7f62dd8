internal import Glibc
internal import RoostDriver
internal import RoostLinux
internal import RoostModel

/// CAP_NET_BIND_SERVICE: what publishing a host port below 1024 takes.
private let bindCapability = 10

extension QEMUDriver {
    /// Starts the VMM and returns once its control socket answers. After a throw nothing is left.
    func startMachine(_ launch: VMLaunch) async throws(Fault) {
        let machine = try await spawnMachine(launch, .boot)
        do throws(Fault) {
            _ = try await machine.control(within: .seconds(20))
        } catch {
            throw await failedStart(machine, error)
        }
    }

    /// Starts the process of a VMM and watches it.
    func spawnMachine(_ launch: VMLaunch, _ origin: Origin) async throws(Fault) -> Machine {
        let emulator = try await checkedEmulator()
        let acceleration = await probe.answer(emulator: emulator)
        let folder = MachineFolder(
            id: launch.id,
            path: launch.directory,
            memoryDirectory: launch.memoryDirectory
        )
        let machine = try await onItsOwnThread { () throws(Fault) in
            for path in [launch.kernelPath, launch.initramfsPath, launch.rootDiskPath] {
                guard access(path, R_OK) == 0 else { throw systemFault("read", path, errno) }
            }
            folder.cleanNow()
            do throws(Fault) {
                let plan = try Self.plan(
                    launch,
                    folder,
                    origin,
                    emulator: emulator,
                    accelerator: acceleration.kind
                )
                return try Self.spawn(launch, folder, plan, isPrivate: origin.isPrivate)
            } catch {
                folder.cleanNow()
                throw error
            }
        }
        adopt(machine)
        return machine
    }

    /// Where a machine's memory comes from.
    enum Origin: Sendable {
        /// A new, shared memory file.
        case boot
        /// A saved machine's files.
        case saved(memory: String, devices: String)

        var isPrivate: Bool { if case .saved = self { true } else { false } }
    }

    private static func plan(
        _ launch: VMLaunch,
        _ folder: MachineFolder,
        _ origin: Origin,
        emulator: String,
        accelerator: String
    ) throws(Fault) -> ProcessPlan {
        var context = CommandContext(
            accelerator: accelerator,
            memoryPath: folder.memoryPath,
            life: .another()
        )
        var descriptors: [Descriptor?] = []
        switch origin {
        case .boot: try folder.makeMemory(mebibytes: launch.memoryMiB)
        case .saved(let memory, let devices):
            try MachineFolder.admitPrivate(mebibytes: launch.memoryMiB)
            context.memoryPath = try folder.linkBase(memory: memory, devices: devices)
            context.isPrivate = true
            context.isIncoming = true
            descriptors = [try openDevices(devices)]
        }
        let messages = try folder.openMessages(generation: launch.generation)
        let control = try UnixSocket.listen(in: folder.path, name: MachineFolder.controlSocket)
        let agent = try UnixSocket.listen(in: folder.path, name: MachineFolder.agentSocket)
        return processPlan(
            launch,
            context,
            emulator: emulator,
            descriptors: [nil, messages, messages, control, agent] + descriptors
        )
    }

    /// The child's descriptor of the devices' file.
    static let devicesDescriptor = 5

    /// Opens a saved devices' file for a VMM to read.
    static func openDevices(_ path: String) throws(Fault) -> Descriptor {
        let number = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard number >= 0 else { throw systemFault("open", path, errno) }
        return Descriptor(number)
    }

    /// The process of `launch`; its first five descriptors are none, output twice and the two sockets.
    static func processPlan(
        _ launch: VMLaunch,
        _ context: CommandContext,
        emulator: String,
        descriptors: [Descriptor?],
        environment: [String] = []
    ) -> ProcessPlan {
        ProcessPlan(
            path: emulator,
            arguments: [emulator] + qemuArguments(launch, context),
            environment: [
                "PATH=/usr/bin:/bin", "LC_ALL=C",
                "\(ProcessMark.generation)\(launch.generation)",
            ] + environment,
            workingDirectory: launch.directory,
            descriptors: descriptors,
            keptCapabilities: launch.ports.contains { (1..<1024).contains($0.hostPort) }
                ? [bindCapability] : []
        )
    }

    /// Starts the process and writes down its handles. Blocks.
    static func spawn(
        _ launch: VMLaunch,
        _ folder: MachineFolder,
        _ plan: ProcessPlan,
        isPrivate: Bool
    ) throws(Fault) -> Machine {
        let machine = try spawnUnnoted(launch, folder, plan, isPrivate: isPrivate)
        machine.writeHandles()
        return machine
    }

    /// Starts a successor, which waits. Blocks.
    static func spawnWaiting(
        _ launch: VMLaunch,
        _ folder: MachineFolder,
        _ plan: ProcessPlan
    ) throws(Fault) -> Machine {
        let machine = try spawnUnnoted(launch, folder, plan, isPrivate: true)
        machine.waitForFolder()
        return machine
    }

    private static func spawnUnnoted(
        _ launch: VMLaunch,
        _ folder: MachineFolder,
        _ plan: ProcessPlan,
        isPrivate: Bool
    ) throws(Fault) -> Machine {
        let process = try ProcessSpawner.spawn(plan)
        // Our child is a zombie at worst, so its pid is still its own.
        let identity =
            ProcessIdentity(pid: process.pid)
            ?? ProcessIdentity(pid: process.pid, startTicks: 0)
        return Machine(
            id: launch.id,
            process: process,
            identity: identity,
            generation: launch.generation,
            folder: folder,
            isPrivate: isPrivate
        )
    }

    /// Ends what is left of a start and says why it failed, in QEMU's own words.
    func failedStart(_ machine: Machine, _ fault: Fault) async -> Fault {
        do throws(Fault) {
            try await machine.kill()
        } catch {
            return error
        }
        if fault.reason == .opCancelled { return fault }
        let words = machine.exit.value?.lastWords ?? ""
        let lastLine = words.split(separator: "\n").last.map(String.init) ?? fault.message
        let metadata = ["vm": machine.id.description, "lastWords": words]
        if words.contains("Could not set up host forwarding rule") {
            return Fault(
                .portTaken,
                "a host port of VM \(machine.id.short) is in use: \(shown(lastLine))",
                metadata: metadata,
                cause: fault
            )
        }
        return Fault(
            .vmmFailed,
            "QEMU could not start VM \(machine.id.short): \(shown(lastLine))",
            metadata: metadata,
            cause: fault
        )
    }
}
