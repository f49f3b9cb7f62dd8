package import RoostModel

/// Named places where a test may make the world worse. Always compiled in; armed from outside.
///
/// The names are the list in ``Failpoint``; a place passes its name, and what happens there (kill
/// this process, throw, wait) is decided by whoever was passed in.
package protocol Failpoints: Sendable {
    func pass(_ point: Failpoint) async throws(Fault)

    /// Whether the protection at `point` is left out, so as to see that a test misses it.
    func skips(_ point: Failpoint) -> Bool
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

    /// All protections that are missed when left out. `undo` is none of them: ``backOut`` does the
    /// same by looking, only later.
    package static let protections = [
        backOut, journal, result, generation, follow, runningOp, accept, freeName, unknown,
        freshLook, release, once, resume,
    ]

    /// Before and after each kind of step on a node.
    package static func beforeStep(_ name: String) -> Failpoint { Failpoint("node.\(name).before") }
    package static func afterStep(_ name: String) -> Failpoint { Failpoint("node.\(name).after") }
}

/// Nothing is armed.
package struct NoFailpoints: Failpoints {
    package init() {}
    package func pass(_ point: Failpoint) async throws(Fault) {}
    package func skips(_ point: Failpoint) -> Bool { false }
}
