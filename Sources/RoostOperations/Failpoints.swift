package import RoostModel

/// Named places where a test may make the world worse. Always compiled in; armed from outside.
///
/// The names are the list in ``Failpoint``; a place passes its name, and what happens there (kill
/// this process, throw, wait) is decided by whoever was passed in.
package protocol Failpoints: Sendable {
    func pass(_ point: Failpoint) async throws(Fault)

    /// Whether the protection at `point` is left out, so as to see that a test misses it.
    func skips(_ point: Failpoint) -> Bool

    /// Says that a rare branch was taken, for whoever counts whether tests ever get there.
    func mark(_ marker: Marker)
}

/// Where a failpoint is.
package struct Failpoint: Hashable, Sendable, CustomStringConvertible {
    package let name: String

    package init(_ name: String) { self.name = name }

    package var description: String { name }

    /// Before the commit that accepts an operation.
    package static let beforeAccept = Failpoint("control.accept.before")
    /// After that commit, before the node hears of it.
    package static let afterAccept = Failpoint("control.accept.after")
    /// After the node answered, before the commit that settles the operation.
    package static let beforeSettle = Failpoint("control.settle.before")
    /// After the settling commit, before the caller is answered.
    package static let afterSettle = Failpoint("control.settle.after")
    /// Before the node makes an assignment durable.
    package static let beforeAssign = Failpoint("node.assign.before")
    /// After that, before the first step.
    package static let afterAssign = Failpoint("node.assign.after")
    /// After the last step, before the node records the result.
    package static let beforeRecord = Failpoint("node.record.before")
    /// After the node recorded it, before it answers.
    package static let afterRecord = Failpoint("node.record.after")

    // Protections, by what is left out.

    /// Steps are not taken back when a later one fails.
    package static let undo = Failpoint("skip.undo")
    /// A failed turn does not look for what its undo left.
    package static let backOut = Failpoint("skip.back-out")
    /// The node does not write an assignment before it begins.
    package static let journal = Failpoint("skip.journal")
    /// The node does not remember how an operation ended.
    package static let result = Failpoint("skip.result")
    /// The node takes an older generation.
    package static let generation = Failpoint("skip.generation")
    /// The node does not follow the VMMs that it finds when it comes up.
    package static let follow = Failpoint("skip.follow")
    /// A VM that is busy is taken by a second operation.
    package static let runningOp = Failpoint("skip.running-op")
    /// An operation is driven, and answered, without having been made durable.
    package static let accept = Failpoint("skip.accept")
    /// A VM that goes away keeps its name and ports.
    package static let freeName = Failpoint("skip.free-name")
    /// A commit without an answer is taken for one that failed.
    package static let unknown = Failpoint("skip.unknown")
    /// A report is taken as it is, however old.
    package static let freshLook = Failpoint("skip.fresh-look")
    /// Room is not given back.
    package static let release = Failpoint("skip.release")
    /// A repeated op id is not looked up.
    package static let once = Failpoint("skip.once")
    /// A control plane that comes up leaves what was running.
    package static let resume = Failpoint("skip.resume")
    /// An operation is accepted over a VM that has changed since it was looked at.
    package static let fence = Failpoint("skip.fence")
    /// A create takes a name that somebody has.
    package static let takenName = Failpoint("skip.taken-name")
    /// A VM publishes a port that another one publishes.
    package static let takenPort = Failpoint("skip.taken-port")
    /// The caller is answered before the operation's end is durable.
    package static let settle = Failpoint("skip.settle")
    /// The node does not remember what it refused, and carries out a late repeat.
    package static let refusal = Failpoint("skip.refusal")
    /// A node answers a fault of its own store as it is, which is taken for the order's end.
    package static let ownStore = Failpoint("skip.own-store")
    /// The node is not told that an operation is pre-empted.
    package static let preempt = Failpoint("skip.preempt")
    /// A node that came up anew is not told again of a pre-emption.
    package static let preemptAgain = Failpoint("skip.preempt-again")
    /// Room is promised whether there is any or not.
    package static let capacity = Failpoint("skip.capacity")
    /// VMs are placed whatever their rules and those of others say.
    package static let rules = Failpoint("skip.rules")
    /// A VM is placed by what operators said of its node before.
    package static let nodeRow = Failpoint("skip.node-row")
    /// Promises are not counted anew when a control plane comes up.
    package static let recount = Failpoint("skip.recount")
    /// The node lets a VMM run that no assignment names.
    package static let orphan = Failpoint("skip.orphan")
    /// After a crash, what a failure brings back is the work's own wish, not the one before.
    package static let former = Failpoint("skip.former")
    /// A watch goes on from the latest revision and not from the last one that it read.
    package static let watchCursor = Failpoint("skip.watch-cursor")
    /// A watch reads first and then begins to wait for what comes.
    package static let watchBell = Failpoint("skip.watch-bell")
    /// What a node says of a VM that is held by an operation is not looked at afterwards.
    package static let noted = Failpoint("skip.noted")
    /// An op id is answered whoever sends it, with whatever request.
    package static let owner = Failpoint("skip.owner")
    /// A guest that powers off is still wished to run.
    package static let powerOff = Failpoint("skip.power-off")
    /// A restart policy's bound does not count.
    package static let restartBound = Failpoint("skip.restart-bound")

    /// The directory of a VM that is suspended is not synced.
    package static let lasting = Failpoint("skip.lasting")
    /// Memory that is older than its VM stays beside its disks.
    package static let olderMemory = Failpoint("skip.older-memory")
    /// A checkpoint that failed is not removed when its undo, or an earlier process, left it.
    package static let dropKept = Failpoint("skip.drop-kept")
    /// What failed after it was done counts as not done.
    package static let moment = Failpoint("skip.moment")
    /// Going back is pre-empted and fails as anything else, also when a crash fell into it.
    package static let goOnBack = Failpoint("skip.go-on-back")
    /// A VM is purged, and its checkpoints stay listed.
    package static let purgedRows = Failpoint("skip.purged-rows")
    /// A checkpoint is removed, and its children still come from it.
    package static let grandparent = Failpoint("skip.grandparent")
    /// A fork fails, and the copies that were begun stay.
    package static let purgedCopies = Failpoint("skip.purged-copies")
    /// A fork is over, and its node keeps it.
    package static let releasedFork = Failpoint("skip.released-fork")
    /// A fork whose node refuses to clear up after it is left.
    package static let clearedUp = Failpoint("skip.cleared-up")
    /// A template that does not serve makes the VM fail.
    package static let bootAnyway = Failpoint("skip.boot-anyway")
    /// A template is removed whether or not a disk lies over it.
    package static let templateInUse = Failpoint("skip.template-in-use")
    /// A template is removed while a disk is being laid over it.
    package static let lending = Failpoint("skip.lending")
    /// Nobody writes down with which VM a template is being made.
    package static let builder = Failpoint("skip.builder")
    /// What an earlier daemon left of a template stays.
    package static let halfTemplate = Failpoint("skip.half-template")
    /// A guest that goes on from kept memory is not told, and draws the random numbers that it drew.
    package static let freshening = Failpoint("skip.freshening")
    /// A machine is kept while its programs run, so that copies go on before they were renewed.
    package static let hold = Failpoint("skip.hold")
    /// What was being kept when the daemon died, and could not be afterwards, stands still for ever.
    package static let letGo = Failpoint("skip.let-go")
    /// A copy of a machine goes on believing that it is the original.
    package static let renewal = Failpoint("skip.renewal")

    /// All protections that are missed when left out. `undo` is none of them: ``backOut`` does the
    /// same by looking, only later.
    package static let protections = [
        backOut, journal, result, generation, follow, runningOp, accept, freeName, unknown,
        freshLook, release, once, resume, fence, takenName, takenPort, settle, refusal, preempt,
        capacity, rules, nodeRow, recount, orphan, former, watchCursor,
        noted, owner, powerOff, restartBound, lasting, dropKept, moment, goOnBack, purgedRows,
        grandparent, purgedCopies, releasedFork, clearedUp, bootAnyway, templateInUse,
        lending, builder, renewal, freshening, hold, letGo, ownStore, watchBell, preemptAgain,
        olderMemory, halfTemplate,
        oneAtATime, olderState, drainFence, eventCommit, eventCursor,
    ]

    /// A fleet's keeper takes down any number of a group at once.
    package static let oneAtATime = Failpoint("skip.one-at-a-time")
    /// A fleet takes a state whose number is older than its own.
    package static let olderState = Failpoint("skip.older-state")

    /// A start that was decided before its node was drained is accepted after that.
    package static let drainFence = Failpoint("skip.drain-fence")

    /// What happens is told after its commit, and not by it.
    package static let eventCommit = Failpoint("skip.event-commit")
    /// Whoever follows events goes on from the latest revision and not from the last one that it read.
    package static let eventCursor = Failpoint("skip.event-cursor")

    /// Before and after each kind of step on a node.
    package static func beforeStep(_ name: String) -> Failpoint { Failpoint("node.\(name).before") }
    package static func afterStep(_ name: String) -> Failpoint { Failpoint("node.\(name).after") }
}

/// Nothing is armed.
package struct NoFailpoints: Failpoints {
    package init() {}
    package func pass(_ point: Failpoint) async throws(Fault) {}
    package func skips(_ point: Failpoint) -> Bool { false }
    package func mark(_ marker: Marker) {}
}
