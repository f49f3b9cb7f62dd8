/// A branch of the product that is rarely taken. A long simulation counts each, and none may stay
/// at zero: a branch that no seed reaches is not tested, or not needed.
package enum Marker: String, CaseIterable, Sendable {
    // The node.

    /// A repeated op id was answered from the journal.
    case replayed = "node.replayed"
    /// A delta of an older generation was refused.
    case olderGeneration = "node.older-generation"
    /// A delta of an older control plane was refused.
    case olderEpoch = "node.older-epoch"
    /// A pre-emption came before the operation that it is about.
    case preemptedEarly = "node.preempted-early"
    /// A turn goes on with what an earlier process had begun.
    case turnResumed = "node.turn-resumed"
    /// Nothing was begun, and that was written down.
    case refused = "node.refused"
    /// Nothing was begun, and not even that could be written down.
    case refusalUnwritten = "node.refusal-unwritten"
    /// The node's own store could not be read or written, so that nobody knew what became of an order.
    case ownStore = "node.own-store"
    /// An assignment whose commit had no answer was found written.
    case assignmentFound = "node.assignment-found"
    /// How a turn ended could not be written down at once.
    case recordRetried = "node.record-retried"
    /// A step failed, and what was asked for is so all the same.
    case holdsAnyway = "node.holds-anyway"
    /// A failed turn found something to take back after its undo.
    case backedOut = "node.backed-out"
    /// A step could not be taken back at once.
    case undoFailed = "node.undo-failed"
    /// A guest did not power off within its grace.
    case graceOver = "node.grace-over"
    /// A stop was pre-empted while it waited for the guest.
    case preemptedWaiting = "node.preempted-waiting"
    /// A VMM was found running by a new process.
    case adopted = "node.adopted"
    /// A VMM was found that no assignment names.
    case orphan = "node.orphan"
    /// The end of a VMM was noted: its guest powered off.
    case poweredOff = "node.powered-off"
    /// The end of a VMM was noted: it failed.
    case vmmFailed = "node.vmm-failed"
    /// The end of a VMM could not be noted at once.
    case endRetried = "node.end-retried"

    /// A machine could not be saved, and goes on.
    case saveFailed = "node.save-failed"
    /// Kept memory was not what it was when it was kept, and is not used.
    case memoryRefused = "node.memory-refused"
    /// A VM goes on beside kept memory that is older: a crash fell between its start and the removal.
    case olderMemory = "node.older-memory"
    /// A VM whose start failed after its memory was used up could not be suspended again.
    case stayedUp = "node.stayed-up"
    /// A guest that an earlier process may have held was let go by a turn that failed.
    case letGoLate = "node.let-go-late"
    /// A VM that an earlier process was bringing back to a checkpoint could not be at once.
    case wentOnBack = "node.went-on-back"
    /// A VM was started from a template.
    case copied = "node.copied"
    /// A template was made.
    case templateMade = "node.template-made"
    /// A template could not be made.
    case templateFailed = "node.template-failed"
    /// A template did not serve; the VM boots.
    case templateDropped = "node.template-dropped"
    /// A template was removed: it did not serve, or there were too many.
    case templateRemoved = "node.template-removed"
    /// A template was to be removed, and a disk lay over it.
    case templateKept = "node.template-kept"
    /// A VM was found that an earlier daemon was making a template with.
    case builderFound = "node.builder-found"
    /// A template was found that an earlier daemon had not finished.
    case halfTemplate = "node.half-template"
    /// Something of a template could not be cleared away at once.
    case tidyRetried = "node.tidy-retried"

    // The control plane.

    /// An op id was answered from its record.
    case answeredAgain = "control.answered-again"
    /// The same op id came while it was on its way in.
    case sameIDWaited = "control.same-id-waited"
    /// An op id came with another request.
    case idReused = "control.id-reused"
    /// A commit without an answer was found written.
    case commitFound = "control.commit-found"
    /// A commit without an answer was found not written.
    case commitLost = "control.commit-lost"
    /// Somebody else changed the VM between look and commit.
    case overtaken = "control.overtaken"
    /// Operators said something new of a node between a decision and its commit.
    case placementOvertaken = "control.placement-overtaken"
    /// A node could not take a new VM, and another one was asked.
    case anotherNode = "control.another-node"
    /// A running operation was told to make way.
    case madeWay = "control.made-way"
    /// The node was told again that an operation is pre-empted.
    case preemptedAgain = "control.preempted-again"
    /// A node was out of reach; its operation was sent again.
    case nodeRetried = "control.node-retried"
    /// How an operation ended could not be written down at once.
    case settleRetried = "control.settle-retried"
    /// An operation of a former process goes on.
    case operationResumed = "control.operation-resumed"
    /// What a fork left could not be cleared away at once.
    case clearedUpAgain = "control.cleared-up-again"
    /// A VM's state moved further than one step while nobody looked.
    case movedUnseen = "control.moved-unseen"
    /// A node spoke of a VM that an operation held.
    case noted = "control.noted"
    /// What a node said meanwhile was taken in after the operation.
    case caughtUp = "control.caught-up"
    /// A report was older than the row that it is about.
    case staleReport = "control.stale-report"
    /// A report and a request met in the same row.
    case reportOvertaken = "control.report-overtaken"
    /// A node did not answer while the control plane came up.
    case firstLookLate = "control.first-look-late"
    /// A node said that some of its changes were missed.
    case missedSome = "control.missed-some"
    /// A policy started a VM again.
    case restarted = "control.restarted"
    /// A policy's turn came when somebody else had touched the VM.
    case restartOvertaken = "control.restart-overtaken"
    /// A policy's start was refused or failed.
    case restartFailed = "control.restart-failed"
    /// A watch waited for the next commit.
    case watchWaited = "control.watch-waited"
    /// A watch began from a revision that a client had kept.
    case watchResumed = "control.watch-resumed"
}
