package import RoostLink
package import RoostModel
package import RoostOperations
package import RoostStore

/// What the control side last told this node about one VM. The node's own durable truth.
package struct AssignmentRow: Row {
    package static let table = "assignments"

    package var assignment: VMAssignment
    package var epoch: Int64
    /// The work that was begun and not recorded as ended: after a crash it goes on.
    package var unfinished: AssignmentDelta?
    /// The assignment before `unfinished`, which a failure brings back. `nil`: there was none.
    package var former: VMAssignment?

    package var key: String { assignment.id.description }
    package var indexes: [IndexEntry] { [] }

    package init(
        assignment: VMAssignment,
        epoch: Int64,
        unfinished: AssignmentDelta?,
        former: VMAssignment?
    ) {
        self.assignment = assignment
        self.epoch = epoch
        self.unfinished = unfinished
        self.former = former
    }
}

/// How one delta ended, so that a repeat is answered and not done again.
package struct ResultRow: Row {
    package static let table = "results"

    package var operation: OperationID
    package var vm: VMID
    /// The VM's generation that it was about. `nil` in rows of before it was kept.
    package var generation: Int?
    package var report: VMReport?
    package var fault: RecordedFault?

    package var key: String { operation.description }
    package var indexes: [IndexEntry] { [IndexEntry("vm", vm.description)] }

    package init(
        operation: OperationID,
        vm: VMID,
        generation: Int,
        report: VMReport?,
        fault: RecordedFault?
    ) {
        self.operation = operation
        self.vm = vm
        self.generation = generation
        self.report = report
        self.fault = fault
    }

    /// The answer again.
    package func replay() throws(Fault) -> VMReport {
        if let fault { throw fault.fault }
        guard let report else {
            throw Fault(.stateUnreadable, "result \(operation) has neither report nor fault")
        }
        return report
    }
}
