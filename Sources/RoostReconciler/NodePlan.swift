package import RoostModel

/// What a VM's VMM does.
package enum VMMPhase: String, CaseIterable, Sendable {
    case absent
    case running
    case paused
}

/// What a node sees of one VM: by looking, never from memory.
package struct VMObservation: Hashable, Sendable {
    package var disks: DisksPlace
    package var vmm: VMMPhase

    package init(disks: DisksPlace, vmm: VMMPhase) {
        self.disks = disks
        self.vmm = vmm
    }

    /// Every observation there is, for tables and tests.
    package static var all: [VMObservation] {
        DisksPlace.allCases.flatMap { disks in
            VMMPhase.allCases.map { VMObservation(disks: disks, vmm: $0) }
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
        case .running: return [.awaitGuest]
        case .paused: return [.resumeVMM]
        case .absent: return disksSteps(seen) + [.growDisk, .startVMM, .awaitGuest]
        }
    case .stop(let grace):
        return stopSteps(seen, grace: grace)
    case .restart(let grace):
        return stopSteps(seen, grace: grace) + disksSteps(seen)
            + [.growDisk, .startVMM, .awaitGuest]
    case .reboot:
        guard seen.vmm == .running else { throw refusal("reboot", seen) }
        return [.resetVMM, .awaitGuest]
    case .pause:
        switch seen.vmm {
        case .running: return [.pauseVMM]
        case .paused: return []
        case .absent: throw refusal("pause", seen)
        }
    case .resume:
        switch seen.vmm {
        case .running: return []
        case .paused: return [.resumeVMM]
        case .absent: throw refusal("resume", seen)
        }
    case .discard:
        return stopSteps(seen, grace: 0) + (seen.disks == .live ? [.trashDisks] : [])
    case .restore:
        switch seen.disks {
        case .trashed: return [.untrashDisks]
        case .live: return []
        case .missing: throw refusal("undelete", seen)
        }
    case .purge:
        return stopSteps(seen, grace: 0) + (seen.disks == .missing ? [] : [.purgeDisks])
    }
}

/// What a VM is in, once nothing is being done to it.
package func settledState(_ seen: VMObservation) -> VMState {
    switch (seen.vmm, seen.disks) {
    case (.running, _): .running
    case (.paused, _): .paused
    case (.absent, .live): .stopped
    case (.absent, .trashed), (.absent, .missing): .deleted
    }
}

private func disksSteps(_ seen: VMObservation) -> [NodeStep] {
    switch seen.disks {
    case .live: []
    case .missing: [.makeDisks]
    case .trashed: [.untrashDisks]
    }
}

private func stopSteps(_ seen: VMObservation, grace: Int) -> [NodeStep] {
    switch seen.vmm {
    case .absent: []
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
