import RoostDriver
import RoostHost
import RoostLink
import RoostModel
import RoostOperations

/// The steps that keep a machine's memory or begin with kept memory.
extension NodeVMs {
    /// Lets a VM that stands still go on. What was kept of its memory is older than it then.
    func resumeVMM(_ id: VMID) async throws(Fault) {
        if let driver = parts.driver as? any Forking {
            let folder = parts.files.savedFolder(id, .live)
            if try await driver.holdsMachine(folder) { parts.failpoints.mark(.olderMemory) }
            if !parts.failpoints.skips(.olderMemory) { try await driver.discard(savedIn: folder) }
        }
        try await parts.driver.resume(id)
        // It stood still, and so did its clock. Nobody waits for it: the guest may be stuck.
        parts.spawner.spawn { await self.parts.guests.stepClock(id) }
    }

    func saveVMM(_ vm: VMAssignment) async throws(Fault) {
        let driver = try forking()
        let folder = parts.files.savedFolder(vm.id, .live)
        await parts.guests.drop(vm.id)
        if try await driver.inspect(vm.id) == nil,
            try await driver.savedMachine(in: folder) != nil
        {
            return
        }
        // A copy of a template was not synced so far: nobody wanted it after a cut of the power.
        if !parts.failpoints.skips(.lasting) { try await parts.files.makeLasting(vm.id) }
        let order = SaveOrder(folder: folder, memory: .onDisk, afterwards: .endsInPlace)
        do throws(Fault) {
            _ = try await driver.save(try await launch(vm), order)
        } catch {
            parts.failpoints.mark(.saveFailed)
            throw error
        }
    }

    func restoreVMM(_ vm: VMAssignment) async throws(Fault) {
        let driver = try forking()
        if try await driver.inspect(vm.id) != nil { return }
        guard let saved = try await driver.savedMachine(in: parts.files.savedFolder(vm.id, .live))
        else {
            throw Fault(
                .savedStateDamaged,
                "the memory of \(vm.name) is not there any more",
                metadata: ["path": parts.files.savedFolder(vm.id, .live), "vm": vm.name]
            )
        }
        do throws(Fault) {
            try await driver.start(try await launch(vm), from: saved)
        } catch {
            if error.reason == .savedStateDamaged { parts.failpoints.mark(.memoryRefused) }
            throw error
        }
        follow(vm.id)
    }

    func dropSaved(_ id: VMID) async throws(Fault) {
        let place = try await parts.files.place(id)
        try await forking().discard(savedIn: parts.files.savedFolder(id, place))
    }

    func copyTemplate(_ vm: VMAssignment) async throws(Fault) {
        if let origin = vm.spec.template { return try await copySealed(vm, origin) }
        let name = TemplateShape(vm.spec).name
        try templates.lend(name)
        defer { templates.giveBack(name) }
        let template = try await template(for: vm)
        try await parts.files.prepareCopy(
            vm.id,
            of: name,
            disk: template.rootDiskPath,
            spec: vm.spec
        )
    }

    func startCopy(_ vm: VMAssignment) async throws(Fault) {
        let template: SavedMachine
        if let origin = vm.spec.template {
            template = try await sealed(origin, for: vm)
        } else {
            template = try await self.template(for: vm)
        }
        try await forking().start(try await launch(vm), from: template)
        parts.failpoints.mark(.copied)
        follow(vm.id)
    }

    /// Long enough for SSH host keys on a slow machine, and for all the time that hooks may take.
    static var renewalDeadline: Duration { .seconds(90) }

    func renewGuest(_ vm: VMAssignment, preemption: Signal) async throws(Fault) {
        let parts = parts
        if parts.failpoints.skips(.renewal) { return }
        guard parts.driver.capabilities.contains(.guestAgent) else {
            return try await parts.files.markRenewed(vm.id)
        }
        let identity = GuestIdentity(
            hostname: vm.name,
            machineID: randomBytes(16),
            ethernet: vm.id.ethernetAddress,
            entropy: randomBytes(64)
        )
        try await untilSet(preemption) { () async throws(Fault) in
            try await within(
                Self.renewalDeadline,
                on: parts.surroundings.clock,
                onTimeout: Fault(.guestUnreachable, "the copy's agent did not answer in time")
            ) { () async throws(Fault) in
                try await parts.guests.renew(vm.id, identity)
            }
        }
        try await parts.files.markRenewed(vm.id)
    }

    private func template(for vm: VMAssignment) async throws(Fault) -> SavedMachine {
        guard let found = try await templates.find(vm.spec) else {
            throw Fault(.savedStateDamaged, "the template of \(vm.name) is gone", metadata: [:])
        }
        return found
    }

    func randomBytes(_ count: Int) -> [UInt8] {
        (0..<count / 8).flatMap { _ in
            withUnsafeBytes(of: parts.surroundings.entropy.next()) { Array($0) }
        }
    }

    func forking() throws(Fault) -> any Forking {
        if let driver = parts.driver as? any Forking { return driver }
        throw Fault(.unsupported, "the \(parts.driver.name) driver cannot keep a VM's memory")
    }
}

extension Forking {
    /// Whether a machine was saved in `folder`, readable or not: who finds out that it is not can
    /// say so, and remove it.
    func holdsMachine(_ folder: String) async throws(Fault) -> Bool {
        do throws(Fault) {
            return try await savedMachine(in: folder) != nil
        } catch  where error.reason == .savedStateDamaged {
            return true
        }
    }
}

extension VMLaunch {
    /// What a driver needs for a VM of `spec` whose files are at `paths`.
    init(_ id: VMID, name: String, spec: VMSpec, generation: Int, _ paths: VMPaths) {
        self.init(
            id: id,
            name: name,
            cores: spec.cores,
            memoryMiB: spec.memoryMiB,
            directory: paths.directory,
            kernelPath: paths.kernel,
            initramfsPath: paths.initramfs,
            modulesPath: paths.modules,
            rootDiskPath: paths.rootDisk,
            network: spec.network,
            ports: spec.ports,
            memoryDirectory: paths.memoryDirectory,
            generation: generation
        )
    }
}
