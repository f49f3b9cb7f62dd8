import RoostControl
import RoostModel
import RoostStore

/// Somebody who watches all VMs, and goes on from where it was whenever the watch breaks.
///
/// Unchecked, because the scheduler's one thread is all that touches it.
final class Watcher: @unchecked Sendable {
    private let world: World
    private let number: Int
    /// The latest version of each VM that it was shown.
    private var view: [VMID: Revision] = [:]
    /// Where it goes on; `nil`: it begins with everything.
    private var cursor: Revision?
    /// Which of its connections counts.
    private var connection = 0
    /// Whether a control process is serving it.
    private var isServed = false

    init(world: World, number: Int) {
        self.world = world
        self.number = number
    }

    func run() async {
        let network = Network(world: world)
        let gone = Fault(.daemonUnreachable, "the watch broke")
        while true {
            connection += 1
            isServed = false
            let mine = connection
            let from = cursor
            do throws(Fault) {
                let controller: @Sendable () -> Server<Controller>? = { self.world.control }
                _ = try await network.call(controller, mayDouble: false, gone: gone) { control in
                    await self.watch(control.vms, from, mine)
                }
            } catch {
                if error.reason == .revisionCompacted {
                    world.mark("client.watch-compacted")
                    cursor = nil
                }
            }
            try? await world.clock.sleep(for: .milliseconds(300))
        }
    }

    private func watch(
        _ vms: VMService,
        _ from: Revision?,
        _ mine: Int
    ) async -> Result<Bool, Fault> {
        isServed = true
        // What was shown before and is not shown now is gone.
        if from == nil { view = [:] }
        do {
            try await vms.watch(VMFilter(showsTrash: true), only: nil, from: from) { event in
                try self.take(event, mine)
                await Task.yield()
            }
            return .success(true)
        } catch let fault as Fault {
            return .failure(fault)
        } catch {
            return .failure(Fault(.bug, "a watch ended with \(error)"))
        }
    }

    private func take(_ event: VMEvent, _ mine: Int) throws(Fault) {
        guard mine == connection else { throw Fault(.daemonUnreachable, "nobody listens") }
        if world.fault(.lost, world.profile.lostMessages / 4) {
            world.mark("world.watch-broken")
            throw Fault(.daemonUnreachable, "the watch broke")
        }
        let invariants = world.invariants
        if let cursor {
            invariants.require(
                event.revision >= cursor,
                "a watch went back from \(cursor.number) to \(event.revision.number)"
            )
        }
        switch event.kind {
        case .added, .modified:
            guard let vm = event.vm else { return invariants.violated("an event without its VM") }
            view[vm.row.id] = vm.version
        case .deleted:
            guard let id = event.id else { return invariants.violated("an event without its id") }
            view[id] = nil
        case .bookmark:
            cursor = event.revision
            if let missed = missed(upTo: event.revision) { invariants.violated(missed) }
        }
    }

    /// A change that it was not shown, though it was told that it has seen everything up to `limit`.
    private func missed(upTo limit: Revision) -> String? {
        var isGone: Set<String> = []
        for change in world.invariants.history.reversed() where !isGone.contains(change.key) {
            guard let id = VMID(change.key) else { continue }
            if change.isDeletion || change.revision <= limit { isGone.insert(change.key) }
            // What came later may have been shown or not.
            guard change.revision <= limit else { continue }
            let seen = view[id]
            let isRight =
                change.isDeletion ? seen == nil : seen.map { $0 >= change.revision } == true
            if !isRight {
                return "a watch is at \(limit.number) and missed the change of \(id.short) at "
                    + "\(change.revision.number)"
            }
        }
        return nil
    }

    /// What it is connected to, and since when it has been at the same place behind the rest.
    private var behind: (connection: Int, cursor: Revision?, since: Int64)?

    /// A connected watch that is told nothing of a change for so long is never told.
    var lag: String? {
        let now = world.scheduler.now
        guard let last = world.invariants.history.last?.revision, isServed,
            cursor.map({ $0 < last }) != false
        else {
            behind = nil
            return nil
        }
        guard let known = behind, known.connection == connection, known.cursor == cursor else {
            behind = (connection, cursor, now)
            return nil
        }
        guard now - known.since > 20_000_000_000 else { return nil }
        return "watcher\(number) hears, and is at \(cursor?.number ?? 0), not at \(last.number)"
    }

    /// What it has yet to be shown.
    var unfinished: [String] {
        guard let last = world.invariants.history.last?.revision else { return [] }
        if let cursor, cursor >= last { return [] }
        return ["watcher\(number) is at \(cursor?.number ?? 0) and not at \(last.number)"]
    }
}
