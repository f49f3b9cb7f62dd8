internal import Glibc
internal import RoostDriver
internal import RoostLinux
internal import RoostModel

/// CAP_NET_BIND_SERVICE: what publishing a host port below 1024 takes.
private let bindCapability = 10

extension QEMUDriver {
    /// Starts the VMM and returns once its control socket answers. After a throw nothing is left.
    func startMachine(_ launch: VMLaunch) async throws(Fault) {
        let emulator = try await checkedEmulator()
        let acceleration = await probe.answer(emulator: emulator)
        let folder = MachineFolder(
            id: launch.id,
            path: launch.directory,
            memoryDirectory: launch.memoryDirectory
        )
        let machine = try await onItsOwnThread { () throws(Fault) in
            try Self.spawn(launch, folder, emulator: emulator, accelerator: acceleration.kind)
        }
        adopt(machine)
        do throws(Fault) {
            _ = try await machine.control(within: .seconds(20))
        } catch {
            throw await failedStart(machine, error)
        }
    }

    private static func spawn(
        _ launch: VMLaunch,
        _ folder: MachineFolder,
        emulator: String,
        accelerator: String
    ) throws(Fault) -> Machine {
        for path in [launch.kernelPath, launch.initramfsPath, launch.rootDiskPath] {
            guard access(path, R_OK) == 0 else { throw systemFault("read", path, errno) }
        }
        folder.cleanNow()
        try folder.makeMemory(mebibytes: launch.memoryMiB)
        do throws(Fault) {
            let messages = try folder.openMessages(generation: launch.generation)
            let control = try UnixSocket.listen(
                in: folder.path,
                name: MachineFolder.controlSocket
            )
            let agent = try UnixSocket.listen(in: folder.path, name: MachineFolder.agentSocket)
            let context = CommandContext(accelerator: accelerator, memoryPath: folder.memoryPath)
            let plan = ProcessPlan(
                path: emulator,
                arguments: [emulator] + qemuArguments(launch, context),
                environment: [
                    "PATH=/usr/bin:/bin", "LC_ALL=C",
                    "ROOST_GENERATION=\(launch.generation)",
                ],
                workingDirectory: folder.path,
                descriptors: [nil, messages, messages, control, agent],
                keptCapabilities: launch.ports.contains { (1..<1024).contains($0.hostPort) }
                    ? [bindCapability] : []
            )
            let process = try ProcessSpawner.spawn(plan)
            // Our child is a zombie at worst, so its pid is still its own.
            let identity =
                ProcessIdentity(pid: process.pid)
                ?? ProcessIdentity(pid: process.pid, startTicks: 0)
            let handles = Handles(
                vm: launch.id,
                process: identity,
                bootID: HostFacts.bootID,
                generation: launch.generation,
                memoryPath: folder.memoryPath
            )
            do throws(Fault) {
                try handles.write(to: folder.handlesPath)
            } catch {
                // A full disk must not kill a guest: the process is found without the file.
                folder.note("handles.json could not be written: \(error.message)")
            }
            return Machine(
                id: launch.id,
                process: process,
                identity: identity,
                generation: launch.generation,
                folder: folder
            )
        } catch {
            folder.cleanNow()
            throw error
        }
    }

    /// Ends what is left of a start and says why it failed, in QEMU's own words.
    private func failedStart(_ machine: Machine, _ fault: Fault) async -> Fault {
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
