package import RoostModel

/// What a VM's VMM does.
package enum VMMPhase: String, CaseIterable, Sendable {
    case absent
    /// There is none, and the memory of the last one is kept with the VM's disks.
    case saved
    case running
    case paused
}

/// What a VM has to do with a template, which it may be a copy of.
package enum CopyPhase: String, CaseIterable, Sendable {
    /// It is none.
    case none
    /// It has no disks, and could be made by copying a template.
    case possible
    /// It has no disks, and they are to be those of a template whose memory is not used.
    case derived
    /// It was copied, and still believes to be what it was copied from.
    case unrenewed
}

/// What a node sees of one VM: by looking, never from memory.
package struct VMObservation: Hashable, Sendable {
    package var disks: DisksPlace
    package var vmm: VMMPhase
    package var copy: CopyPhase

    package init(disks: DisksPlace, vmm: VMMPhase, copy: CopyPhase = .none) {
        self.disks = disks
        self.vmm = vmm
        self.copy = copy
    }

    /// Every observation there is, for tables and tests: a copy has disks, and what could become one
    /// has none.
    package static var all: [VMObservation] {
        DisksPlace.allCases.flatMap { disks in
            VMMPhase.allCases.flatMap { vmm in
                ([CopyPhase.none] + (disks == .missing ? [.possible, .derived] : [.unrenewed])).map
                {
                    VMObservation(disks: disks, vmm: vmm, copy: $0)
                }
            }
        }
    }
}

/// What to do so that `action` holds, given what is seen. Empty when it holds already.
///
/// Pure, and total: every action has an answer for every observation, since a crash may leave any.
/// Doing the plan and planning again gives an empty plan, but for the one-shot actions.
/// - Throws: ``Reason/wrongState`` when the action makes no sense for what is seen.
package func plan(_ action: NodeAction, for seen: VMObservation) throws(Fault) -> [NodeStep] {
    switch action {
    case .provision:
        return disksSteps(seen)
    case .start:
        switch seen.vmm {
        case .running: return [.awaitGuest] + renewal(seen)
        case .paused: return [.resumeVMM] + renewal(seen)
        case .saved:
            let renewal = renewal(seen)
            return disksSteps(seen) + [.restoreVMM, .awaitGuest]
                + (renewal.isEmpty ? [.freshenGuest] : renewal)
        case .absent where seen.disks == .missing && seen.copy == .possible:
            return [.copyTemplate, .startCopy, .renewGuest]
        case .absent: return disksSteps(seen) + coldStart + renewal(seen)
        }
    case .stop(let grace):
        return stopSteps(seen, grace: grace)
    case .restart(let grace):
        return stopSteps(seen, grace: grace) + disksSteps(seen) + coldStart + renewal(seen)
    case .reboot:
        guard seen.vmm == .running else { throw refusal("reboot", seen) }
        return [.resetVMM, .awaitGuest]
    case .pause:
        switch seen.vmm {
        case .running: return [.pauseVMM]
        case .paused: return []
        case .absent, .saved: throw refusal("pause", seen)
        }
    case .resume:
        switch seen.vmm {
        case .running: return []
        case .paused: return [.resumeVMM]
        case .absent, .saved: throw refusal("resume", seen)
        }
    case .suspend:
        switch seen.vmm {
        case .running, .paused: return [.saveVMM]
        case .saved: return []
        case .absent: throw refusal("suspend", seen)
        }
    case .fork(let name):
        guard seen.vmm == .running else { throw refusal("fork", seen) }
        return [.forkVMM(name)]
    case .become(let name):
        return try becomingSteps(name, seen)
    case .release(let name):
        return [.dropFork(name)]
    case .checkpoint(let id):
        switch (seen.vmm, seen.disks) {
        case (.running, _), (.paused, _), (.absent, .live): return [.keepCheckpoint(id)]
        case (.absent, _), (.saved, _): throw refusal("checkpoint", seen)
        }
    case .revert(let order):
        switch (seen.vmm, seen.disks) {
        case (.running, _), (.paused, _), (.absent, .live):
            return [.goBack(order)]
        case (.absent, _), (.saved, _): throw refusal("bring back", seen)
        }
    case .forget(let id):
        return seen.disks == .missing ? [] : [.dropCheckpoint(id)]
    case .branch(let name, let id):
        guard seen.disks == .live else { throw refusal("fork", seen) }
        return [.lendCheckpoint(name, id)]
    case .freeze(let name):
        guard seen.vmm == .absent, seen.disks == .live else { throw refusal("clone", seen) }
        return [.freezeDisk(name)]
    case .derive(let order):
        return try derivingSteps(order, seen)
    case .discard:
        // A suspended VM keeps its memory in the trash.
        return (seen.vmm == .saved ? [] : stopSteps(seen, grace: 0))
            + (seen.disks == .live ? [.trashDisks] : [])
    case .restore:
        switch seen.disks {
        case .trashed: return [.untrashDisks]
        case .live: return []
        case .missing: throw refusal("undelete", seen)
        }
    case .purge:
        return (seen.vmm == .saved ? [] : stopSteps(seen, grace: 0))
            + (seen.disks == .missing ? [] : [.purgeDisks])
    }
}

/// What a VM is in, once nothing is being done to it.
package func settledState(_ seen: VMObservation) -> VMState {
    switch (seen.vmm, seen.disks) {
    case (.running, _): .running
    case (.paused, _): .paused
    case (.saved, .live): .suspended
    case (.absent, .live): .stopped
    case (.absent, .trashed), (.absent, .missing), (.saved, .trashed), (.saved, .missing): .deleted
    }
}

private func disksSteps(_ seen: VMObservation) -> [NodeStep] {
    switch seen.disks {
    case .live: []
    case .missing: [.makeDisks]
    case .trashed: [.untrashDisks]
    }
}

private let coldStart: [NodeStep] = [.growDisk, .startVMM, .awaitGuest]

/// A copy that was cut off before it became a machine of its own becomes one now.
private func renewal(_ seen: VMObservation) -> [NodeStep] {
    seen.copy == .unrenewed || seen.copy == .derived ? [.renewGuest] : []
}

private func derivingSteps(
    _ order: DeriveOrder,
    _ seen: VMObservation
) throws(Fault) -> [NodeStep] {
    let sealing = order.seal.map { [NodeStep.sealCopy(order.fork, $0)] } ?? []
    switch (seen.vmm, seen.disks) {
    case (.absent, .missing):
        return [order.isWhole ? .copyWhole(order.fork) : .copyFork(order.fork)] + sealing
    // A directory is there as a whole or not at all.
    case (.absent, .live): return sealing
    case (.absent, .trashed), (.running, _), (.paused, _), (.saved, _):
        throw refusal("derive", seen)
    }
}

private func becomingSteps(
    _ fork: OperationID,
    _ seen: VMObservation
) throws(Fault) -> [NodeStep] {
    switch (seen.vmm, seen.disks) {
    case (.running, _): return renewal(seen)
    // It may have run for a moment before its process died: its disk is made anew, or it would be
    // newer than the memory.
    case (.absent, .missing),
        (.absent, .live) where seen.copy == .unrenewed:
        return [.copyFork(fork), .startFork(fork), .renewGuest]
    case (.absent, _), (.paused, _), (.saved, _): throw refusal("become", seen)
    }
}

private func stopSteps(_ seen: VMObservation, grace: Int) -> [NodeStep] {
    switch seen.vmm {
    case .absent: []
    case .saved: [.dropSaved]
    // A guest whose CPUs stand still cannot shut itself down.
    case .paused: [.killVMM]
    case .running: grace > 0 ? [.shutDown(graceSeconds: grace)] : [.killVMM]
    }
}

private func refusal(_ verb: String, _ seen: VMObservation) -> Fault {
    Fault(
        .wrongState,
        "cannot \(verb) a VM whose VMM is \(seen.vmm.rawValue) and whose disks are "
            + seen.disks.rawValue
    )
}
