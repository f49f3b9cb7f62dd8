package import RoostModel

/// What brings a VM back to what it was wished to be before `action` failed and left `seen`, whatever
/// an undo did; `nil` when nothing does, or nothing need be done.
///
/// `former` is the wish before the action; `nil`: there was no such VM.
package func retreat(
    _ action: NodeAction,
    to former: DesiredPower?,
    from seen: VMObservation
) -> NodeAction? {
    guard let former else { return .purge }
    // A copy that could not be made a machine of its own does not run as another, also when it was an
    // earlier process that started it, and whatever was wished before: the next start renews it.
    if seen.copy == .unrenewed, seen.isUp, former != .suspended, action.starts {
        return .stop(graceSeconds: 0)
    }
    switch (former, seen.vmm) {
    case (.running, .paused): return .resume
    case (.paused, .running): return .pause
    case (.stopped, .running), (.stopped, .paused): return .stop(graceSeconds: 0)
    // Its memory was used up by a start that went wrong afterwards.
    case (.suspended, .running), (.suspended, .paused): return .suspend
    case (_, .absent), (_, .saved):
        if action == .restore { return .discard }
        return action == .discard && seen.disks == .trashed ? .restore : nil
    case (.running, .running), (.paused, .paused): return nil
    }
}

/// What a VM is wished to be once `action` has ended, whose own wish was `asked` and the one before it
/// `former`, when `seen` is what is so.
///
/// What could not be taken back stays true: a wish for what was lost is over.
package func wish(
    after action: NodeAction,
    failed: Bool,
    asked: DesiredPower,
    former: DesiredPower?,
    seen: VMObservation
) -> DesiredPower? {
    guard failed else {
        // One that was suspended comes back from the trash as it went there.
        return action == .restore && seen.vmm == .saved ? .suspended : asked
    }
    guard let former else { return nil }
    switch seen.vmm {
    case .absent where action.stops: return .stopped
    case .running where former == .suspended: return .running
    case .paused where former == .suspended: return .paused
    case .absent, .saved, .running, .paused: return former
    }
}

/// What a VM is, and is wished to be, after an operation on it failed: `desired` was the wish before,
/// and its node says that it is `seen`.
package func aftermath(
    desired: DesiredPower,
    seen: VMState,
    isInTrash: Bool
) -> (state: VMState, desired: DesiredPower) {
    switch seen {
    // Failed is what ended unasked; a start that was undone is merely stopped.
    case .failed where desired == .stopped: (.stopped, .stopped)
    // As on the node: a former wish to run is over once it was killed, and one to stay suspended
    // once its memory was used up.
    case .stopped: (.stopped, .stopped)
    case .running where desired == .suspended: (.running, .running)
    case .paused where desired == .suspended: (.paused, .paused)
    // Nobody deleted it: its disks are gone.
    case .deleted where !isInTrash: (.failed, desired)
    default: (seen, desired)
    }
}

extension VMObservation {
    fileprivate var isUp: Bool { vmm == .running || vmm == .paused }
}

extension NodeAction {
    /// Whether its aim is that it runs anew.
    fileprivate var starts: Bool { kind == .start || kind == .restart }

    /// Whether its aim is that nothing runs.
    fileprivate var stops: Bool {
        switch self {
        case .stop, .discard, .purge, .restart: true
        case .revert(let order): !order.hasMemory
        case .provision, .start, .reboot, .pause, .resume, .suspend, .fork, .become, .release,
            .checkpoint, .forget, .branch, .freeze, .derive, .restore:
            false
        }
    }
}
