import Logging
import RoostDriver
import RoostHost
import RoostLink
import RoostModel
import RoostOperations
import Synchronization

/// The steps that keep a moment of a VM, or bring one back; README.md has the picture.
extension NodeVMs {
    /// Keeps the VM as the checkpoint `id`: memory and disk of one that runs or is paused, else the disk
    /// alone.
    ///
    /// The guest is frozen around it, so that whatever begins from it begins frozen. After a throw the
    /// VM goes on as before.
    func keepCheckpoint(
        _ vm: VMAssignment,
        _ id: CheckpointID,
        preemption: Signal
    ) async throws(Fault) {
        let driver = try forking()
        let folder = checkpointFolder(id, of: vm.id, .live)
        if let found = try await driver.inspect(vm.id) {
            // A daemon that died while it kept this one left it standing.
            if found.phase == .paused, vm.desired != .paused { try await driver.resume(vm.id) }
            let order = SaveOrder(folder: folder, memory: .onDisk, afterwards: .goesOn)
            return vm.desired == .paused
                ? try await saveStanding(vm, order, preemption: preemption)
                : try await saveGoingOn(vm, order, preemption: preemption)
        }
        // One that ran may have died after it was kept.
        if try await driver.savedMachine(in: folder) != nil { return }
        let order = SaveOrder(folder: folder, memory: .absent, afterwards: .goesOn)
        _ = try await driver.save(try await launch(vm), order)
    }

    /// Saves a VM that stands still, and does so afterwards.
    ///
    /// Nobody in it can be made to stand still by a guest that does: its processors go on for as long
    /// as its agent takes to freeze its programs and, once it is saved, to thaw them. Programs get some
    /// milliseconds further.
    private func saveStanding(
        _ vm: VMAssignment,
        _ order: SaveOrder,
        preemption: Signal
    ) async throws(Fault) {
        guard parts.driver.capabilities.contains(.guestAgent) else {
            return try await saveGoingOn(vm, order, preemption: preemption)
        }
        let driver = try forking()
        try await driver.resume(vm.id)
        do throws(Fault) {
            // Held at once, not when the successor is ready: every moment is one that it should not have.
            if !parts.failpoints.skips(.hold) {
                try await HeldGuest(vm.id, parts.guests, preemption).hold()
            }
            _ = try await driver.save(try await launch(vm), order)
            try await parts.guests.letGo(vm.id)
        } catch {
            await letGo(vm, preemption: preemption)
            // The fault matters more; whoever backs out sees that it runs, and pauses it again.
            try? await driver.pause(vm.id)
            throw error
        }
        try await driver.pause(vm.id)
    }

    /// Removes a checkpoint. Others, and the VM, have links of their own to all that they need.
    func dropCheckpoint(_ vm: VMAssignment, _ id: CheckpointID) async throws(Fault) {
        let place = try await parts.files.place(vm.id)
        try await forking().discard(savedIn: checkpointFolder(id, of: vm.id, place))
    }

    /// Makes a checkpoint the fork `name`, which copies begin from as from any other.
    func lendCheckpoint(
        _ vm: VMAssignment,
        _ name: OperationID,
        _ id: CheckpointID
    ) async throws(Fault) {
        let saved = try await checkpoint(id, of: vm)
        try await forking().share(saved, in: parts.files.forkFolder(name))
    }

    /// Brings the VM back to a checkpoint. After a throw it goes on as before, unless it is the guest
    /// that does not answer any more: that one is back already.
    func goBack(_ vm: VMAssignment, _ order: RevertOrder) async throws(Fault) {
        let driver = try forking()
        let before = try await driver.inspect(vm.id)
        do throws(Fault) {
            let saved = try await checkpoint(order.checkpoint, of: vm)
            try await unlessRead(vm, order)
            try await driver.verify(saved)
            await parts.guests.drop(vm.id)
            try await driver.revert(try await launch(vm), to: saved)
        } catch {
            // Another machine goes on for it: it is back, and stands still.
            let after = try? await driver.inspect(vm.id)
            if let after, after.pid != before?.pid { await freshenAnyway(vm) }
            guard error.reason == .savedStateDamaged else { throw error }
            throw Fault(
                .checkpointDamaged,
                error.message,
                metadata: error.metadata.merging(["vm": vm.name]) { _, new in new },
                cause: error.cause
            )
        }
        if order.hasMemory {
            if before == nil { follow(vm.id) }
            try await freshenBack(vm)
        }
        busy.withLock { $0[vm.id]?.isBack = true }
    }

    /// Goes on with going back where an earlier process ended, which may have been there already: it
    /// is not pre-empted, and tried again for as long as it may still succeed, with pauses of three quarters
    /// of a minute in all: a disk may be full for a while. Whoever is told that it failed believes that the
    /// VM is as it was; where it is back since the earlier process, it goes on.
    func goOnBack(_ delta: AssignmentDelta, _ done: inout [StepRecord]) async throws(Fault) {
        var pause = Duration.milliseconds(100)
        for attempt in 1... {
            do throws(Fault) {
                try await parts.failpoints.pass(.afterAssign)
                return try await work(delta, preemption: Signal(), done: &done)
            } catch {
                let isFinal: Set<Reason> = [.checkpointDamaged, .shapeDiffers, .wrongState]
                guard attempt < 15, !isFinal.contains(error.reason) else {
                    let found = try? await parts.driver.inspect(delta.vm.id)
                    if found?.phase == .running { await freshenAnyway(delta.vm) }
                    throw error
                }
                parts.failpoints.mark(.wentOnBack)
                try? await parts.surroundings.clock.sleep(for: pause)
                pause = min(pause * 2, .seconds(5))
            }
        }
    }

    /// Whether a request about a checkpoint that met a fault has done all the same what was asked.
    func holdsMoment(_ delta: AssignmentDelta) async throws(Fault) -> Bool {
        switch delta.action {
        case .revert:
            return busy.withLock { $0[delta.vm.id]?.isBack == true }
        case .forget(let id):
            guard let driver = parts.driver as? any Forking else { return false }
            // Once its manifest is gone it is none; what may be left of its files goes now.
            let place = try await parts.files.place(delta.vm.id)
            let folder = checkpointFolder(id, of: delta.vm.id, place)
            guard try await !driver.holdsMachine(folder) else { return false }
            try await driver.discard(savedIn: folder)
            return true
        default: return false
        }
    }

    /// What the checkpoint `id` is, for whoever keeps the list.
    func kept(_ id: CheckpointID, of vm: VMAssignment) async throws(Fault) -> KeptMoment {
        let saved = try await checkpoint(id, of: vm)
        let taken = { (role: SavedMachine.Part.Role) in saved.part(role)?.taken ?? 0 }
        return KeptMoment(
            hasMemory: saved.hasMemory,
            memory: ByteCount(bytes: taken(.memory) + taken(.devices)),
            disk: ByteCount(bytes: taken(.rootDisk)),
            files: saved.parts.map { part in
                KeptMoment.File(
                    role: part.role.rawValue,
                    length: ByteCount(bytes: part.bytes),
                    digest: part.digest
                )
            }
        )
    }

    /// Throws ``Reason/needsForce`` while somebody reads a command in the VM, unless he is to be cut
    /// off.
    private func unlessRead(_ vm: VMAssignment, _ order: RevertOrder) async throws(Fault) {
        guard !order.force else { return }
        let count = await parts.guests.readers(of: vm.id)
        guard count > 0 else { return }
        throw Fault(
            .needsForce,
            "\(count) command\(count == 1 ? "" : "s") in \(vm.name) would be cut off",
            metadata: ["vm": vm.name]
        )
    }

    /// Freshens the guest of a VM that is back: what it was is gone, so that a connection that breaks
    /// is no reason to give up at once.
    private func freshenBack(_ vm: VMAssignment) async throws(Fault) {
        do throws(Fault) {
            try await insisting { () async throws(Fault) in try await freshen(vm) }
        } catch {
            throw Fault(
                error.reason,
                "\(vm.name) is back, and its guest stands still: \(error.message)",
                metadata: error.metadata.merging(["vm": vm.name]) { _, new in new },
                cause: error
            )
        }
    }

    /// Lets a guest go on that may be back already. Letting it go would not do: it would draw the random
    /// numbers that it drew. What is wrong with the way back matters more than what is wrong with this.
    private func freshenAnyway(_ vm: VMAssignment) async {
        await anyway(vm) { () async throws(Fault) in try await freshen(vm) }
    }

    /// The guest believes that no time has passed, and would draw the random numbers that it drew.
    func freshen(_ vm: VMAssignment) async throws(Fault) {
        guard parts.driver.capabilities.contains(.guestAgent), !parts.failpoints.skips(.freshening)
        else { return }
        let (parts, entropy) = (parts, randomBytes(64))
        try await within(
            Self.renewalDeadline,
            on: parts.surroundings.clock,
            onTimeout: Fault(
                .guestUnreachable,
                "the agent of \(vm.name) did not answer in time",
                metadata: ["vm": vm.name]
            )
        ) { () async throws(Fault) in
            try await parts.guests.freshen(vm.id, entropy: entropy)
        }
    }

    private func checkpoint(
        _ id: CheckpointID,
        of vm: VMAssignment
    ) async throws(Fault) -> SavedMachine {
        let folder = checkpointFolder(id, of: vm.id, .live)
        if let found = try await forking().savedMachine(in: folder) { return found }
        throw Fault(
            .savedStateDamaged,
            "the checkpoint \(id.short) of \(vm.name) has no manifest",
            metadata: ["path": folder, "vm": vm.name, "part": "manifest"]
        )
    }

    func checkpointFolder(
        _ id: CheckpointID,
        of vm: VMID,
        _ place: DisksPlace
    ) -> String { "\(parts.files.checkpointsFolder(vm, place))/\(id)" }
}
