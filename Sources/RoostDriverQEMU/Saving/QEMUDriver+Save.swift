internal import Glibc
package import RoostDriver
internal import RoostLinux
package import RoostModel

extension QEMUDriver: Forking {
    package func save(
        _ launch: VMLaunch,
        _ order: SaveOrder,
        holding guest: (any GuestHold)?
    ) async throws(Fault) -> SavedMachine {
        if let done = try await savedMachine(in: order.folder) {
            guard done.vm == launch.id, done.order == order else {
                throw Fault(
                    .inUse,
                    "'\(order.folder)' holds another saved machine",
                    metadata: ["path": order.folder, "users": done.vm.description]
                )
            }
            try await endSaved(launch.id, order)
            return done
        }
        if order.memory == .absent { return try await saveDisk(launch, order) }
        let machine = try await existing(launch.id)
        guard claim(launch.id) else {
            throw Fault(.storeConflict, "VM \(launch.id.short) is being started or saved already")
        }
        defer { release(launch.id) }
        let folder = SavedFolder(path: order.folder)
        let memoryDirectory = settings.memoryDirectory
        try await onItsOwnThread { () throws(Fault) in
            try SpaceNeeded.admit(machine, order)
            try folder.remove(memoryDirectory: memoryDirectory)
            try makeDirectory(order.folder)
        }
        let saved: SavedMachine
        do throws(Fault) {
            if order.afterwards == .goesOn {
                saved = try await saveAndGoOn(machine, launch, order, holding: guest)
            } else {
                saved = try await saveStanding(machine, order)
            }
        } catch {
            let fault = await SpaceNeeded.explained(error, in: machine.folder.path)
            // What was wrong matters more than what cannot be removed, which the next save removes.
            try? await discard(savedIn: order.folder)
            throw fault
        }
        if order.afterwards != .goesOn { try await endSaved(launch.id, order) }
        return saved
    }

    package func savedMachine(in folder: String) async throws(Fault) -> SavedMachine? {
        try await onItsOwnThread { () throws(Fault) in try SavedFolder(path: folder).read() }
    }

    package func verify(_ saved: SavedMachine) async throws(Fault) {
        let seals = seals
        try await onItsOwnThread { () throws(Fault) in
            for role in saved.requiredRoles where saved.part(role) == nil {
                throw Fault(
                    .savedStateDamaged,
                    "the saved machine has no part '\(role.rawValue)'",
                    metadata: ["path": saved.order.folder, "part": role.rawValue]
                )
            }
            for part in saved.parts { try seals.check(part, vm: saved.vm.description) }
        }
    }

    package func discard(savedIn folder: String) async throws(Fault) {
        let memoryDirectory = settings.memoryDirectory
        try await onItsOwnThread { () throws(Fault) in
            try SavedFolder(path: folder).remove(memoryDirectory: memoryDirectory)
        }
    }

    /// Keeps the disk of a machine that does not run; its own is an overlay over that afterwards.
    private func saveDisk(
        _ launch: VMLaunch,
        _ order: SaveOrder
    ) async throws(Fault) -> SavedMachine {
        guard try await begin(launch.id) else {
            throw Fault(
                .wrongState,
                "VM \(launch.id.short) runs: its disk cannot be kept without its memory",
                metadata: ["vm": launch.id.description]
            )
        }
        defer { release(launch.id) }
        let folder = MachineFolder(
            id: launch.id,
            path: launch.directory,
            memoryDirectory: launch.memoryDirectory
        )
        let memoryDirectory = settings.memoryDirectory
        do throws(Fault) {
            try await onItsOwnThread { () throws(Fault) in
                try SpaceNeeded.admit(in: folder.path, for: "keeping the disk")
                try SavedFolder(path: order.folder).remove(memoryDirectory: memoryDirectory)
                try makeDirectory(order.folder)
            }
            let layer = try await makeLayer(folder)
            try await onItsOwnThread { () throws(Fault) in
                let next = "\(folder.path)/\(MachineFolder.nextDisk)"
                try syncFile(next)
                // From here on nothing writes to the layer, whether or not the save comes to its end.
                try move(next, "\(folder.path)/root.qcow2")
                try DurableFile.syncDirectory(folder.path)
            }
            return try await seal(
                launch.id,
                order,
                MachineShape([:]),
                memory: nil,
                disk: layer,
                pages: nil
            )
        } catch {
            await clearHandOver(folder)
            // What was wrong matters more than what cannot be removed, which the next save removes.
            try? await discard(savedIn: order.folder)
            throw error
        }
    }

    /// The last step of a save that ends its machine: from the manifest on the saved one is the
    /// machine, and the process is in its way.
    private func endSaved(_ id: VMID, _ order: SaveOrder) async throws(Fault) {
        guard order.afterwards != .goesOn else { return }
        try await kill(id)
        guard order.afterwards == .ends else { return }
        let disk = "\(folder(id).path)/root.qcow2"
        try await onItsOwnThread { () throws(Fault) in
            guard isSameFile(disk, SavedFolder(path: order.folder).diskPath) else { return }
            unlink(disk)
        }
    }

    /// Stops the machine and saves it; on a throw it goes on as before.
    private func saveStanding(
        _ machine: Machine,
        _ order: SaveOrder
    ) async throws(Fault) -> SavedMachine {
        let wasRunning = machine.phase == .running
        let shape = try await shape(of: machine)
        do throws(Fault) {
            try await stand(machine, stop: wasRunning)
            let path = SavedFolder(path: order.folder).devicesPath
            let capture = Capture(machine: machine)
            let pages = try await capture.writeDevices(
                to: path,
                after: try await capture.begin(path),
                withPages: order.memory == .onHost
            )
            let disk = "\(machine.folder.path)/root.qcow2"
            return try await seal(
                machine.id,
                order,
                shape,
                memory: machine.memorySource,
                disk: disk,
                pages: pages
            )
        } catch {
            await goOn(machine, if: wasRunning)
            throw error
        }
    }

    /// Brings a machine to where a save can begin: it stands still, and its disks are active.
    ///
    /// One that stands already may do so since a daemon was killed while it saved it. A save leaves
    /// disks inactive, QEMU 7.2 aborts when the next one makes them so again, and nothing tells whether
    /// they are. Only `cont` activates them: such a guest runs for less than a millisecond.
    func stand(_ machine: Machine, stop isRunning: Bool) async throws(Fault) {
        if !isRunning {
            try await machine.command("migrate_cancel")
            let deadline = ContinuousClock.now + .seconds(30)
            while try await isMigrating(machine) {
                guard await Reactor.shared.sleep(until: .now + .milliseconds(1)) == .timedOut,
                    ContinuousClock.now < deadline
                else { throw Fault(.deadline, "VM \(machine.id.short) is still being saved") }
            }
            try await machine.command("cont")
        }
        try await machine.command("stop")
    }

    private func isMigrating(_ machine: Machine) async throws(Fault) -> Bool {
        let state = try await machine.command("query-status")["status"]?.text
        if state == "finish-migrate" { return true }
        switch try await machine.command("query-migrate")["status"]?.text {
        case "completed", "failed", "cancelled", "none", nil: return false
        default: return true
        }
    }

    /// Lets a machine that could not be saved run again.
    func goOn(_ machine: Machine, if wasRunning: Bool) async {
        guard wasRunning else { return }
        do throws(Fault) {
            try await machine.command("cont")
        } catch {
            // It has died; its watcher says so.
            machine.folder.note("could not go on after a failed save: \(error.message)")
        }
    }

    /// Brings memory, if there is any, and disk into the folder, digests everything and writes the
    /// manifest.
    func seal(
        _ id: VMID,
        _ order: SaveOrder,
        _ shape: MachineShape,
        memory source: String?,
        disk: String,
        pages: PrivatePages?
    ) async throws(Fault) -> SavedMachine {
        let (seals, directory) = (seals, settings.memoryDirectory)
        return try await onItsOwnThread { () throws(Fault) in
            let folder = SavedFolder(path: order.folder)
            var parts: [SavedMachine.Part] = []
            if let source {
                parts.append(try folder.keepMemory(source, order, pages, in: directory, seals))
                try syncFile(folder.devicesPath)
                var devices = try seals.part(.devices, folder.devicesPath)
                devices.taken = try PageFile.allocated(folder.devicesPath)
                parts.append(devices)
            }
            parts += try folder.keepDisk(disk, order, seals)
            let saved = SavedMachine(vm: id, order: order, shape: shape, parts: parts)
            try folder.finish(saved)
            return saved
        }
    }

    /// What shaped a running machine: asked of the process itself, which may be older than the
    /// installed QEMU and than its VM's present spec.
    func shape(of machine: Machine) async throws(Fault) -> MachineShape {
        let version = try await machine.command("query-version")
        let (seals, pid) = (seals, machine.pid)
        return try await onItsOwnThread { () throws(Fault) in
            guard let facts = ProcessTable.facts(pid) else {
                throw Fault(.vmmFailed, "process \(pid) of VM \(machine.id.short) is gone")
            }
            return try readShape(Array(facts.arguments.dropFirst()), versionText(version), seals)
        }
    }
}

extension Machine {
    /// The file that holds its memory, but for pages of its own.
    var memorySource: String {
        isPrivate ? folder.presentBase ?? folder.basePath : folder.memoryPath
    }
}

/// The shape of a QEMU with these arguments, reading the kernel that they name. Blocks.
func readShape(
    _ arguments: [String],
    _ version: String,
    _ seals: Seals
) throws(Fault) -> MachineShape {
    machineShape(
        arguments: arguments,
        vmm: version,
        kernel: try seals.digest(value(of: "-kernel", in: arguments) ?? ""),
        initramfs: try seals.digest(value(of: "-initrd", in: arguments) ?? "")
    )
}
