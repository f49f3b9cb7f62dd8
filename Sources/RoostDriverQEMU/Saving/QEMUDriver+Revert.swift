internal import Glibc
package import RoostDriver
internal import RoostLinux
package import RoostModel

/// Going back to a saved machine, in place. Everything of it is verified and made ready before
/// anything of the present one is touched:
///
/// ```text
///  running ▶ with memory   staged ▶ successor loaded ▶ source killed ▶ files, sockets ▶ runs ▶ marked
///  stopped ▶ with memory   staged ▶ process loaded ▶ disk renamed ▶ runs ▶ marked
///  any     ▶ disk alone    staged ▶ source killed ▶ disk renamed
/// ```
/// Staged is a fresh overlay over the saved disk, beside the VM's own. Adoption finds the source, or
/// its successor, as after a save that goes on; see README.md.
extension QEMUDriver {
    package func revert(_ launch: VMLaunch, to saved: SavedMachine) async throws(Fault) {
        try await verify(saved)
        if saved.hasMemory { try await checkShape(launch, saved) }
        let source = await machine(launch.id).flatMap { $0.identity.isAlive ? $0 : nil }
        guard try await source == nil ? begin(launch.id) : claim(launch.id) else {
            throw Fault(.storeConflict, "VM \(launch.id.short) is being started or saved already")
        }
        defer { release(launch.id) }
        let folder = MachineFolder(
            id: launch.id,
            path: launch.directory,
            memoryDirectory: launch.memoryDirectory
        )
        do throws(Fault) {
            switch (source, saved.hasMemory) {
            case (let source?, true): try await replace(source, launch, saved)
            case (nil, true): try await startBack(launch, saved, folder)
            case (_, false):
                try await stage(saved, in: folder, as: MachineFolder.backDisk)
                try await source?.kill()
                try await renameBackDisk(folder)
            }
        } catch {
            // Once the successor has its place, the files are its own.
            let now = await machine(launch.id)
            let fault = await SpaceNeeded.explained(error, in: folder.path)
            if source == nil || now === source { await clearHandOver(folder) }
            throw fault
        }
        // The layers that only the former disk stood on.
        await clearHandOver(folder)
    }

    /// Makes an overlay of that name over a saved machine's disk in a VM's directory, with links to
    /// the layers that it needs.
    private func stage(
        _ saved: SavedMachine,
        in folder: MachineFolder,
        as name: String
    ) async throws(Fault) {
        await clearHandOver(folder)
        let (base, size) = try await onItsOwnThread { () throws(Fault) in
            try SpaceNeeded.admit(in: folder.path, for: "going back")
            let from = saved.order.folder
            let layers = names(in: from).filter(isLayer)
            let top = layers.first { isSameFile("\(from)/\($0)", saved.rootDiskPath) }
            guard let top else {
                throw Fault(
                    .savedStateDamaged,
                    "'\(from)' has no disk to stand on",
                    metadata: ["path": from, "part": "rootDisk"]
                )
            }
            for layer in layers { try linkOnce("\(from)/\(layer)", "\(folder.path)/\(layer)") }
            return (top, try DiskHeader(saved.rootDiskPath).size)
        }
        try await DiskTool(searchPath: settings.searchPath).makeUncheckedOverlay(
            "\(folder.path)/\(name)",
            over: base,
            bytes: size
        )
        try await onItsOwnThread { () throws(Fault) in
            try syncFile("\(folder.path)/\(name)")
            try DurableFile.syncDirectory(folder.path)
        }
    }

    private func renameBackDisk(_ folder: MachineFolder) async throws(Fault) {
        try await onItsOwnThread { () throws(Fault) in
            try move("\(folder.path)/\(MachineFolder.backDisk)", "\(folder.path)/root.qcow2")
            try DurableFile.syncDirectory(folder.path)
        }
    }

    /// Lets a successor that was started from the saved machine take the place of what runs.
    private func replace(
        _ source: Machine,
        _ launch: VMLaunch,
        _ saved: SavedMachine
    ) async throws(Fault) {
        let (memory, devices) = try memoryParts(saved)
        let folder = source.folder
        let random = EntropySource()
        let names = HandOver(back: String(random.next(), radix: 36))
        try await stage(saved, in: folder, as: names.disk)
        try await onItsOwnThread { () throws(Fault) in
            for (path, name) in [(memory, names.memory), (devices, names.devices)] {
                if let name { try linkAnew(path, "\(folder.path)/\(name)") }
            }
        }
        let wasRunning = source.phase == .running
        let next = try await spawnSuccessor(
            of: source,
            launch,
            wasRunning,
            saved.shape,
            Succession(
                names: names,
                memory: memory,
                state: [try Self.openDevices(devices)],
                life: .another()
            )
        )
        do throws(Fault) {
            try await prepareLoad(next)
            try await load(next)
        } catch {
            // Its end cleans nothing: it owns nothing yet.
            try? await next.kill()
            throw error
        }
        try await handOver(from: source, to: next, launch, names, runs: true)
    }

    /// Starts a VM that has no process from the saved machine.
    private func startBack(
        _ launch: VMLaunch,
        _ saved: SavedMachine,
        _ folder: MachineFolder
    ) async throws(Fault) {
        let (memory, devices) = try memoryParts(saved)
        try await stage(saved, in: folder, as: MachineFolder.backDisk)
        var launch = launch
        launch.rootDiskPath = "\(folder.path)/\(MachineFolder.backDisk)"
        let machine = try await spawnMachine(launch, .saved(memory: memory, devices: devices))
        do throws(Fault) {
            try await prepareLoad(machine)
            try await load(machine)
            // Before it runs: one that has run must be found on its VM's disk.
            try await renameBackDisk(folder)
            try await run(machine)
        } catch {
            throw await failedStart(machine, error)
        }
    }

    private func memoryParts(
        _ saved: SavedMachine
    ) throws(Fault) -> (memory: String, devices: String) {
        guard let memory = saved.part(.memory), let devices = saved.part(.devices) else {
            throw Fault(.savedStateDamaged, "the saved machine lacks parts")
        }
        return (memory.path, devices.path)
    }

    package func share(_ saved: SavedMachine, in folder: String) async throws(Fault) {
        if let done = try await savedMachine(in: folder) {
            guard done.vm == saved.vm else {
                throw Fault(
                    .inUse,
                    "'\(folder)' holds another saved machine",
                    metadata: ["path": folder, "users": done.vm.description]
                )
            }
            return
        }
        do throws(Fault) {
            let memoryDirectory = settings.memoryDirectory
            try await onItsOwnThread { () throws(Fault) in
                let from = saved.order.folder
                var copy = saved
                copy.order.folder = folder
                for index in copy.parts.indices {
                    let path = copy.parts[index].path
                    guard path.hasPrefix("\(from)/") else {
                        throw Fault(.bug, "'\(path)' is not in '\(from)'")
                    }
                    copy.parts[index].path = folder + path.dropFirst(from.count)
                }
                let target = SavedFolder(path: folder)
                try target.remove(memoryDirectory: memoryDirectory)
                try makeDirectory(folder)
                for name in names(in: from) where "\(from)/\(name)" != saved.manifestPath {
                    try linkAnew("\(from)/\(name)", "\(folder)/\(name)")
                }
                try target.finish(copy)
            }
        } catch {
            // What was wrong matters more than what cannot be removed, which the next one removes.
            try? await discard(savedIn: folder)
            throw error
        }
    }
}

extension SavedMachine {
    fileprivate var manifestPath: String { SavedFolder(path: order.folder).manifestPath }
}

/// As ``linkAnew(_:_:)``, but never in the place of another file.
private func linkOnce(_ from: String, _ to: String) throws(Fault) {
    guard access(to, F_OK) != 0 || isSameFile(from, to) else {
        throw Fault(
            .stateUnreadable,
            "'\(to)' is another layer than '\(from)'",
            metadata: ["path": to]
        )
    }
    try linkAnew(from, to)
}
