package import RoostModel
package import RoostOperations
package import RoostStore

/// A node that is being emptied, or is to stay empty: there while the drain lasts, however far it is.
///
/// A row of its own and not a word in ``NodeRow``: a start makes its commit depend on there being
/// none, and so nothing that is decided before a drain runs after it.
package struct DrainMark: Row {
    package static let table = "drain_marks"

    package var node: NodeID
    /// The drain whose VMs are held.
    package var drain: OperationID

    package var key: String { node.description }
    package var indexes: [IndexEntry] { [] }

    package init(node: NodeID, drain: OperationID) {
        self.node = node
        self.drain = drain
    }
}

/// One drain of a node, or the end of one: what it does to which VMs, and what became of each.
///
/// Kept for as long as operations are, by its op id, so that a repeat is answered from it.
package struct DrainRow: Row {
    package static let table = "drains"

    /// What is done to the VMs.
    package enum Kind: String, Sendable, Codable {
        /// They are stopped or suspended.
        case drain
        /// They are started again.
        case restore
    }

    /// How far it is. Each is durable before anything of the next is done.
    package enum Phase: String, Sendable, Codable {
        /// Nothing that was not about to run can begin to any more; or, at the end, nothing is held back.
        case accepted
        /// Which VMs it is about is written down.
        case begun
        /// Each has its outcome.
        case ended
    }

    package var id: OperationID
    package var node: NodeID
    /// At that time.
    package var nodeName: String
    package var kind: Kind
    package var phase: Phase
    package var principal: String
    package var method: String
    /// Of the request, so that a reused id is recognised.
    package var digest: String
    /// Memory is kept on disk instead of being given up.
    package var suspends: Bool
    /// How long a guest may take to shut down.
    package var graceSeconds: Int
    /// By name; empty until ``phase`` is ``Phase/begun``.
    package var targets: [DrainTarget]
    package var startedAt: Timestamp
    package var finishedAt: Timestamp?
    package var traceParent: String?
    /// `false`: the node was drained already, and this says what that drain came to.
    package var changed = true

    package var key: String { id.description }
    package var indexes: [IndexEntry] {
        [
            IndexEntry("node", node.description),
            IndexEntry("live", phase == .ended ? "no" : "yes"),
        ]
    }

    /// The request that asked for it, as far as it tells a repeat from a reuse.
    package var context: RequestContext {
        RequestContext(operation: id, principal: principal, method: method, digest: digest)
    }

    /// Whether a VM could not be seen to.
    package var hasFailures: Bool { targets.contains { $0.outcome == .failed } }
}

/// One VM of a drain.
package struct DrainTarget: Hashable, Sendable, Codable {
    package var vm: VMID
    package var name: String
    package var project: String
    /// The fleet that keeps it; `nil`: none.
    package var fleet: String?
    /// What its owner wanted when the drain came.
    package var desired: DesiredPower
    package var outcome: DrainOutcome
    /// Why it failed, or was left.
    package var fault: RecordedFault?

    package init(_ vm: VM, desired: DesiredPower) {
        self.vm = vm.id
        name = vm.name
        project = vm.project
        fleet = vm.member?.fleet
        self.desired = desired
        outcome = .pending
    }
}

/// What became of one VM.
package enum DrainOutcome: String, CaseIterable, Sendable, Codable {
    /// Its turn has not come, or it is on its way.
    case pending
    /// By the drain.
    case stopped
    /// By the drain: its memory is on disk.
    case suspended
    /// By the end of the drain, as it was before.
    case started
    /// There was nothing to do: somebody else had done it.
    case already
    /// It was deleted.
    case gone
    /// It was left as it is: the drain was over first, or its owner has seen to it since.
    case left
    case failed
}
