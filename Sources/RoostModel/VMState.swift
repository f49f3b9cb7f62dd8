/// What a VM is seen to be. Observed, never asked for; see ``DesiredPower`` for the asking.
///
/// ```text
///  PENDING ─▶ PROVISIONING ─▶ STOPPED ◀─▶ STARTING ─▶ RUNNING ◀─▶ PAUSED
///                                ▲           │           │  ▲        │
///                                │           ▼           ▼  └ SUSPENDED
///                                └─ FAILED ◀─┴─────── STOPPING
///  any but DELETED ─▶ LOST (its node is silent) ─▶ what the node says
///  any but DELETED ─▶ DELETING ─▶ DELETED (terminal; undelete makes it STOPPED again)
/// ```
///
/// ``canBecome(_:)`` is the one copy of these arrows; a golden file prints it.
package enum VMState: String, CaseIterable, Sendable, Codable {
    /// Accepted, and on no node yet.
    case pending = "PENDING"
    /// A node is making its disks.
    case provisioning = "PROVISIONING"
    /// On a node, with disks and without a process.
    case stopped = "STOPPED"
    /// Its process is starting or its guest is booting.
    case starting = "STARTING"
    /// The guest answers, or its CPUs run where there is no agent.
    case running = "RUNNING"
    /// Asked to stop, and not yet seen to be down.
    case stopping = "STOPPING"
    /// Its CPUs stand still; memory is kept.
    case paused = "PAUSED"
    /// Memory is on disk; no process.
    case suspended = "SUSPENDED"
    /// On its way to another node.
    case migrating = "MIGRATING"
    /// It ended unasked, or could not be provisioned. Holds no process.
    case failed = "FAILED"
    /// Its node has not been heard of for too long.
    case lost = "LOST"
    /// Being taken away.
    case deleting = "DELETING"
    /// In the trash or gone.
    case deleted = "DELETED"

    /// Whether a VM seen in this state may next be seen in `next`.
    package func canBecome(_ next: VMState) -> Bool {
        if self == next { return false }
        switch (self, next) {
        case (.deleted, .stopped), (.deleted, .suspended): return true
        case (.deleted, _): return false
        case (_, .lost), (_, .deleting), (_, .failed): return true
        case (.lost, _): return next != .deleted && next != .pending
        case (.pending, .provisioning), (.pending, .stopped): return true
        case (.provisioning, .stopped), (.provisioning, .starting), (.provisioning, .pending):
            return true
        case (.stopped, .starting), (.stopped, .migrating), (.stopped, .provisioning): return true
        case (.starting, .running), (.starting, .stopped), (.starting, .stopping),
            (.starting, .paused), (.starting, .suspended):
            return true
        case (.running, .stopping), (.running, .stopped), (.running, .paused),
            (.running, .suspended), (.running, .migrating), (.running, .starting):
            return true
        case (.stopping, .stopped), (.stopping, .running), (.stopping, .paused),
            (.stopping, .starting):
            return true
        case (.paused, .running), (.paused, .stopped), (.paused, .stopping),
            (.paused, .suspended), (.paused, .migrating):
            return true
        case (.suspended, .starting), (.suspended, .stopped), (.suspended, .running): return true
        case (.migrating, .running), (.migrating, .paused), (.migrating, .stopped): return true
        case (.failed, .starting), (.failed, .stopped), (.failed, .provisioning),
            (.failed, .pending):
            return true
        case (.deleting, .deleted), (.deleting, .stopped), (.deleting, .suspended): return true
        default: return false
        }
    }

    /// Whether a process is expected to exist for a VM in this state.
    package var hasProcess: Bool {
        switch self {
        case .starting, .running, .stopping, .paused, .migrating: true
        case .pending, .provisioning, .stopped, .suspended, .failed, .lost, .deleting, .deleted:
            false
        }
    }
}

/// What the user asked of a VM's power. Changed by requests only, never by what is seen,
/// but for a guest's own power-off, which sets `stopped` unless the restart policy is `always`.
package enum DesiredPower: String, CaseIterable, Sendable, Codable {
    case running = "RUNNING"
    case stopped = "STOPPED"
    case paused = "PAUSED"
    case suspended = "SUSPENDED"
}

/// A request to change a VM's power, as the user says it.
package enum PowerVerb: String, CaseIterable, Sendable, Codable {
    case start
    case stop
    case kill
    case restart
    case reboot
    case pause
    case resume
    case suspend
    case delete

    /// What asking for this verb in `state` means. The one table of rule V8, tested exhaustively.
    package func verdict(in state: VMState) -> PowerVerdict {
        switch (self, state) {
        case (_, .deleted), (_, .deleting): .refused
        case (.delete, _): .allowed
        case (.kill, .stopped), (.stop, .stopped), (.kill, .failed), (.stop, .failed),
            (.kill, .pending), (.stop, .pending):
            .alreadyHolds
        // Its processes are kept, and nothing can ask them to end: only a kill drops them.
        case (.stop, .suspended): .refused
        case (.stop, _), (.kill, _): .allowed
        case (.start, .running): .alreadyHolds
        case (.start, .stopped), (.start, .paused), (.start, .suspended), (.start, .failed),
            (.start, .pending):
            .allowed
        case (.start, _): .refused
        case (.restart, .running), (.restart, .paused): .allowed
        case (.restart, _): .refused
        case (.reboot, .running): .allowed
        case (.reboot, _): .refused
        case (.pause, .running): .allowed
        case (.pause, .paused): .alreadyHolds
        case (.pause, _): .refused
        case (.resume, .paused): .allowed
        case (.resume, .running): .alreadyHolds
        case (.resume, _): .refused
        case (.suspend, .running), (.suspend, .paused): .allowed
        case (.suspend, .suspended): .alreadyHolds
        case (.suspend, _): .refused
        }
    }
}

/// The answer of ``PowerVerb/verdict(in:)``.
package enum PowerVerdict: String, Sendable {
    /// Go on.
    case allowed
    /// What is asked holds: succeed with `changed = false`.
    case alreadyHolds
    /// `failed_precondition`, naming the state and the verb.
    case refused
}
