import RoostDriver
import RoostModel
import RoostOperations
import RoostStore

/// What must hold about guests: who they believe to be, and whether their programs run.
extension Invariants {
    /// The most refusals of its agent in a row after which a guest may stand still.
    private static let patience = 3

    /// Before the guest of `machine` counts on: what was kept is kept with its programs standing still,
    /// and they go on when it was told.
    func goesOn(_ machine: SimulatedHypervisor.Machine, on node: NodeHost) {
        guard !machine.isPaused, !machine.goesOnInPlace,
            let guest = node.hypervisor.guest(machine.pid), guest.isStale
        else { return }
        require(
            guest.isHeld,
            "programs of \(machine.launch.name) go on from kept memory, and nobody told it"
        )
    }

    /// After each commit: VMs that run since the requests that have ended in it. A copy knows who it is,
    /// one that is back or goes on knows that its memory was kept, and none stands still.
    func lookAtGuests(after batch: Batch) {
        for write in batch.writes {
            guard case .put(let row as OperationRow) = write, row.state == .done,
                let vm = vms[row.vm], vm.runningOp == nil, vm.status.state == .running,
                let guest = guest(of: vm)
            else { continue }
            let what = "\(vm.name) \(vm.id.short) had its \(row.intent.action.name)"
            require(guest.identity == vm.id, "\(what), and believes to be \(guest.identity.short)")
            require(!guest.isStale, "\(what), and was not told that its memory was kept")
            require(!guest.isHeld, "\(what), and its programs stand still")
            if row.intent.action.keepsGuest { world?.mark("vm.guest-looked-at") }
        }
    }

    /// Once the world has converged: what is wrong with the guest of a VM that runs.
    func guestProblems(_ vm: VM) -> [String] {
        guard vm.status.state == .running, let guest = guest(of: vm) else { return [] }
        var found: [String] = []
        if guest.identity != vm.id {
            found.append("\(vm.name) \(vm.id.short) believes to be \(guest.identity.short)")
        }
        if guest.isHeld, guest.refusals < Self.patience {
            found.append("the programs of \(vm.name) \(vm.id.short) stand still")
        }
        return found
    }

    private func guest(of vm: VM) -> SimulatedGuest? {
        world?.nodes.first { $0.id == vm.status.node }?.hypervisor.runningGuest(of: vm.id)
    }
}

extension NodeAction {
    /// Whether a guest goes on from memory that was kept, or has its own kept, by it.
    fileprivate var keepsGuest: Bool {
        switch kind {
        case .fork, .become, .checkpoint, .revert, .start: true
        default: false
        }
    }
}
