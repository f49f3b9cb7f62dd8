package import RoostModel
package import RoostStore

/// One action as the store keeps it: asked by whom, of what, how far it came, how it ended.
package struct OperationRow: Row {
    package static let table = "operations"

    package var id: OperationID
    /// Who asked: `uid:1000`, `token:ci`, `system`.
    package var principal: String
    /// The API method, such as `StartVM`.
    package var method: String
    /// SHA-256 of method and request, so that a reused id is recognised.
    package var digest: String
    package var vm: VMID
    /// The VM's name when it began, for people.
    package var vmName: String
    package var intent: LifecycleIntent
    package var state: OperationState
    package var steps: [StepRecord]
    package var fault: RecordedFault?
    /// The VM as the first answer had it.
    package var result: VM?
    /// Whether the request changed anything; `false` when what it asked for held already.
    package var changed: Bool
    package var startedAt: Timestamp
    package var finishedAt: Timestamp?
    /// W3C trace id, when the caller sent one.
    package var traceParent: String?
    /// The operation that this one is a part of; `nil`: none.
    package var parent: OperationID?

    package var key: String { id.description }
    package var indexes: [IndexEntry] {
        [IndexEntry("vm", vm.description), IndexEntry("live", state.isTerminal ? "no" : "yes")]
    }

    package init(
        id: OperationID,
        principal: String,
        method: String,
        digest: String,
        vm: VMID,
        vmName: String,
        intent: LifecycleIntent,
        startedAt: Timestamp,
        traceParent: String?
    ) {
        self.id = id
        self.principal = principal
        self.method = method
        self.digest = digest
        self.vm = vm
        self.vmName = vmName
        self.intent = intent
        state = .running
        steps = [StepRecord(name: "accept", at: startedAt, detail: "")]
        changed = true
        self.startedAt = startedAt
        self.traceParent = traceParent
    }

    /// Ends it. A second end is ignored: the first answer stands.
    package mutating func finish(
        _ state: OperationState,
        fault: Fault?,
        result: VM?,
        at now: Timestamp
    ) {
        guard !self.state.isTerminal else { return }
        self.state = state
        self.fault = fault.map(RecordedFault.init)
        self.result = result
        finishedAt = now
        steps.append(StepRecord(name: "settle", at: now, detail: fault?.message ?? ""))
    }
}

/// How far an operation came.
package enum OperationState: String, CaseIterable, Sendable, Codable {
    case running = "RUNNING"
    case done = "DONE"
    case failed = "FAILED"
    case cancelled = "CANCELLED"

    /// Nothing changes it any more.
    package var isTerminal: Bool { self != .running }
}

/// What an operation does, complete enough to go on after a crash.
package struct LifecycleIntent: Hashable, Sendable, Codable {
    package var action: NodeAction
    /// The desired power before, which a failed start restores.
    package var formerDesired: DesiredPower?
    /// Remove the row when it succeeds (purge) or, for a disposable create, when it fails.
    package var removesRow: Bool
    /// A create: nothing existed before.
    package var isCreate: Bool
    /// Node step kept for a create with `start_on_create`: provision first, then start.
    package var failurePrefix: String
    /// The VMs that a fork makes; each has an operation of its own, which this one carries out.
    package var copies: [VMID]?
    /// What to say about the checkpoint that it makes.
    package var message: String?
    /// What the VM was asked to be before, where that changes with the action: a failure restores it.
    package var formerSpec: VMSpec?

    package init(
        action: NodeAction,
        formerDesired: DesiredPower?,
        removesRow: Bool = false,
        isCreate: Bool = false,
        failurePrefix: String,
        copies: [VMID]? = nil,
        message: String? = nil,
        formerSpec: VMSpec? = nil
    ) {
        self.action = action
        self.formerDesired = formerDesired
        self.removesRow = removesRow
        self.isCreate = isCreate
        self.failurePrefix = failurePrefix
        self.copies = copies
        self.message = message
        self.formerSpec = formerSpec
    }
}

/// A fault as a row keeps it: without its cause.
package struct RecordedFault: Hashable, Sendable, Codable {
    package var reason: Reason
    package var message: String
    package var violations: [FieldViolation]
    package var metadata: [String: String]

    package init(_ fault: Fault) {
        reason = fault.reason
        message = fault.message
        violations = fault.violations
        metadata = fault.metadata
    }

    /// The fault again.
    package var fault: Fault {
        Fault(reason, message, violations: violations, metadata: metadata)
    }
}
