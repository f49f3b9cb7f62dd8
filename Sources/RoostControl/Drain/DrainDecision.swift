import RoostModel
import RoostOperations

/// What is next for one VM of a drain or of the end of one. Decides; does nothing.
enum DrainMove: Hashable {
    /// Somebody's operation holds it: look again when that has ended.
    case wait(OperationID)
    /// The VM's ordinary operation, under the id that belongs to it here.
    case order(PowerVerb)
    case done(DrainOutcome)
    case failed(RecordedFault)
}

extension DrainRow {
    /// The op id of what this does to `vm`: the same each time it is asked for.
    func child(_ vm: VMID) -> OperationID { id.child(vm.description) }

    /// Whether this has something to do with `vm` as it is, and what its owner wanted of it.
    func isAbout(_ vm: VM) -> DesiredPower? {
        guard vm.status.node == node, vm.deletedAt == nil, vm.seal == nil else { return nil }
        switch kind {
        case .drain:
            // What is on its way is looked at when it has arrived.
            let isUp = vm.status.state.hasProcess || vm.runningOp != nil || vm.status.state == .lost
            return isUp ? vm.desired : nil
        case .restore: return vm.hold?.desired
        }
    }

    /// What is next for `vm`, which this is about; `nil`: it is gone.
    func move(_ vm: VM?) -> DrainMove {
        guard let vm, vm.deletedAt == nil, vm.status.node == node else { return .done(.gone) }
        if let running = vm.runningOp {
            // Its own is joined by asking for it once more.
            return running == child(vm.id) ? .order(verb(vm)) : .wait(running)
        }
        switch kind {
        case .drain: return drainMove(vm)
        case .restore: return restoreMove(vm)
        }
    }

    private func drainMove(_ vm: VM) -> DrainMove {
        if vm.status.state == .lost {
            return .failed(
                RecordedFault(
                    Fault(
                        .nodeUnreachable,
                        "nobody knows whether \(vm.name) runs: \(vm.status.reason)",
                        metadata: ["op": id.description, "vm": vm.name]
                    )
                )
            )
        }
        if vm.status.state.hasProcess { return .order(verb(vm)) }
        guard vm.hold?.drain == id else { return .done(.already) }
        return .done(vm.status.state == .suspended ? .suspended : .stopped)
    }

    private func restoreMove(_ vm: VM) -> DrainMove {
        if vm.hold != nil { return .order(.start) }
        return .done(vm.status.state.hasProcess ? .already : .left)
    }

    private func verb(_ vm: VM) -> PowerVerb {
        switch kind {
        case .drain: suspends ? .suspend : .stop
        case .restore: .start
        }
    }
}
