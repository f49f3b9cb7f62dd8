import Logging
import RoostDriver
import RoostHost
import RoostLink
package import RoostModel
import RoostOperations
import RoostReconciler
import RoostStore
import Synchronization

/// The steps of a live fork; README.md has the picture.
extension NodeVMs {
    /// Keeps the VM as the fork `name`, and lets it go on over a successor of its VMM.
    ///
    /// The guest is frozen around it, so that a copy wakes up frozen and nothing in it goes on before
    /// it was renewed. After a throw the VM goes on as before.
    func forkVMM(
        _ vm: VMAssignment,
        _ name: OperationID,
        preemption: Signal
    ) async throws(Fault) {
        let order = SaveOrder(
            folder: parts.files.forkFolder(name),
            memory: .onHost,
            afterwards: .goesOn
        )
        try await saveGoingOn(vm, order, preemption: preemption)
    }

    /// Saves a VM that goes on, with its guest frozen around it; after a throw it goes on as before.
    func saveGoingOn(
        _ vm: VMAssignment,
        _ order: SaveOrder,
        preemption: Signal
    ) async throws(Fault) {
        let driver = try forking()
        guard parts.driver.capabilities.contains(.guestAgent), !parts.failpoints.skips(.hold)
        else {
            _ = try await driver.save(try await launch(vm), order)
            return
        }
        let guest = HeldGuest(vm.id, parts.guests, preemption)
        do throws(Fault) {
            _ = try await driver.save(try await launch(vm), order, holding: guest)
        } catch {
            // An earlier process may have held it.
            if guest.wasHeld || isResumed(vm.id) { await letGo(vm, preemption: preemption) }
            throw error
        }
        // What another daemon had saved already may stand still since.
        if !guest.wentOn { try await parts.guests.letGo(vm.id) }
    }

    /// Makes the VM's directory over the fork's disk. One that is there was never delivered: it may
    /// have run, and is made anew.
    func copyFork(_ vm: VMAssignment, _ name: OperationID) async throws(Fault) {
        let fork = try await fork(name, for: vm)
        try await parts.files.purge(vm.id)
        try await parts.files.prepareFork(vm.id, from: fork.order.folder, spec: vm.spec)
    }

    func startFork(
        _ vm: VMAssignment,
        _ name: OperationID,
        preemption: Signal
    ) async throws(Fault) {
        let fork = try await fork(name, for: vm)
        if fork.hasMemory {
            try await forking().start(try await launch(vm), from: fork)
            follow(vm.id)
        } else {
            // A checkpoint of a VM that did not run: there is nothing to go on from.
            try await parts.files.growRootDisk(vm.id, toGiB: vm.spec.rootDiskGiB)
            try await startVMM(vm)
            try await awaitGuest(vm, preemption: preemption)
        }
    }

    /// Removes the fork's folder. Its copies have links of their own to every byte that they need.
    func dropFork(_ name: OperationID) async throws(Fault) {
        guard let driver = parts.driver as? any Forking else { return }
        try await driver.discard(savedIn: parts.files.forkFolder(name))
    }

    /// Removes the folders of forks that nobody asks for any more: copies that began have links of their
    /// own, and those of a fork that is not in `known` never will. Call once, when what was unfinished
    /// goes on and nothing new is asked for yet; work of this node's own is spared whoever knows of it.
    ///
    /// What cannot be removed is logged; the next daemon tries again.
    package func sweepForks(except known: Set<OperationID>) async {
        await removeForks { !known.contains($0) }
    }

    /// Removes the folders of the forks that `isOver` picks, but for those that work of this node's own
    /// needs. What cannot be removed is logged.
    func removeForks(where isOver: (OperationID) -> Bool) async {
        do throws(Fault) {
            let over = try await parts.files.forks().filter(isOver)
            guard !over.isEmpty else { return }
            let rows = try await parts.store.list(AssignmentRow.self, Query()).rows
            let needed = Set(rows.compactMap { $0.row.unfinished?.action.forkName })
            for name in over where !needed.contains(name) {
                parts.log.notice("removing what a fork left", metadata: ["op_id": "\(name)"])
                try await dropFork(name)
            }
        } catch {
            parts.log.error("cannot remove what forks left", metadata: ["fault": "\(error)"])
        }
    }

    /// How long a guest is asked to go on while somebody waits to take its VM down.
    private static let lastWord = Duration.seconds(2)

    /// Lets a guest go on that could not be saved. One that does not answer is not waited for by
    /// whoever pre-empts this.
    func letGo(_ vm: VMAssignment, preemption: Signal = Signal()) async {
        let guests = parts.guests
        await anyway(vm) { () async throws(Fault) in
            do throws(Fault) {
                try await untilSet(preemption) { () async throws(Fault) in
                    try await guests.letGo(vm.id)
                }
            } catch  where preemption.isSet {
                try await within(
                    Self.lastWord,
                    on: parts.surroundings.clock,
                    onTimeout: Fault(.opCancelled, "the guest's agent did not answer in time")
                ) { () async throws(Fault) in try await guests.letGo(vm.id) }
            }
        }
    }

    /// Does what lets a guest go on after something went wrong. That matters more than what goes wrong
    /// with this, which the log has.
    func anyway(_ vm: VMAssignment, _ work: () async throws(Fault) -> Void) async {
        do throws(Fault) {
            try await insisting(work)
        } catch {
            parts.log.error(
                "a guest may stand still",
                metadata: ["vm": "\(vm.id)", "fault": "\(error)"]
            )
        }
    }

    /// Lets a guest go on that an earlier process held, when the turn that was to do it fails before it
    /// gets there: nobody else would. `seen` is what the VM is.
    func letGoLate(_ delta: AssignmentDelta, _ seen: VMObservation) async throws(Fault) {
        guard isResumed(delta.vm.id), delta.action.holdsGuest, !parts.failpoints.skips(.letGo),
            parts.driver.capabilities.contains(.guestAgent)
        else { return }
        parts.failpoints.mark(.letGoLate)
        switch seen.vmm {
        case .absent, .saved: return
        case .running: await letGo(delta.vm)
        case .paused:
            // Its agent stands still too. As when it was kept, programs get some milliseconds further.
            try await parts.driver.resume(delta.vm.id)
            await letGo(delta.vm)
            try await parts.driver.pause(delta.vm.id)
        }
    }

    /// Whether an earlier process began the turn that the VM is in.
    func isResumed(_ vm: VMID) -> Bool { busy.withLock { $0[vm]?.isResumed ?? false } }

    /// Does what nobody can take back, and what nobody would do again, three times at most: a connection
    /// may break just then, or be out of step.
    func insisting(_ work: () async throws(Fault) -> Void) async throws(Fault) {
        for _ in 1...2 {
            do throws(Fault) { return try await work() } catch {
                guard error.reason != .opCancelled else { throw error }
                try? await parts.surroundings.clock.sleep(for: .milliseconds(50))
            }
        }
        try await work()
    }

    /// What is kept as the fork `name`.
    func fork(
        _ name: OperationID,
        for vm: VMAssignment
    ) async throws(Fault) -> SavedMachine {
        let folder = parts.files.forkFolder(name)
        if let found = try await forking().savedMachine(in: folder) { return found }
        throw Fault(
            .savedStateDamaged,
            "the fork that \(vm.name) is to be a copy of is gone",
            metadata: ["path": folder, "vm": vm.name]
        )
    }
}

/// The processes of one VM's guest, held and let go by its agent.
final class HeldGuest: GuestHold {
    private let vm: VMID
    private let guests: any GuestLinks
    private let preemption: Signal
    private let state = Mutex((wasHeld: false, wentOn: false))

    init(_ vm: VMID, _ guests: any GuestLinks, _ preemption: Signal) {
        self.vm = vm
        self.guests = guests
        self.preemption = preemption
    }

    /// Whether it was to be held, and perhaps is.
    var wasHeld: Bool { state.withLock(\.wasHeld) }
    /// Whether it was let go.
    var wentOn: Bool { state.withLock(\.wentOn) }

    func hold() async throws(Fault) {
        state.withLock { $0.wasHeld = true }
        try await untilSet(preemption) { [vm, guests] () async throws(Fault) in
            try await guests.hold(vm)
        }
    }

    func letGo() async throws(Fault) {
        try await guests.letGo(vm)
        state.withLock { $0.wentOn = true }
    }
}

extension NodeAction {
    /// Whether its guest is held meanwhile, and goes on as itself afterwards.
    fileprivate var holdsGuest: Bool {
        switch kind {
        case .fork, .checkpoint: true
        default: false
        }
    }
}
