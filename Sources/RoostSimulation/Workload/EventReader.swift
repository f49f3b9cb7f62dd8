import RoostControl
import RoostModel
import RoostStore

/// Somebody who follows all events, and goes on after the last page that it read whenever the watch
/// breaks.
///
/// Unchecked, because the scheduler's one thread is all that touches it.
final class EventReader: @unchecked Sendable {
    private let world: World
    /// Where it goes on; `nil`: it begins with what comes.
    private var cursor: Revision?
    /// How many of all events came before that.
    private var read = 0
    /// Which of its connections counts.
    private var connection = 0

    init(world: World) { self.world = world }

    func run() async {
        let network = Network(world: world)
        let gone = Fault(.daemonUnreachable, "the watch broke")
        while true {
            connection += 1
            let mine = connection
            let from = cursor
            do throws(Fault) {
                let controller: @Sendable () -> Server<Controller>? = { self.world.control }
                _ = try await network.call(controller, mayDouble: false, gone: gone) { control in
                    await self.follow(control.vms, from, mine)
                }
            } catch {
                if error.reason == .revisionCompacted {
                    world.mark("client.events-compacted")
                    cursor = nil
                }
            }
            try? await world.clock.sleep(for: .milliseconds(300))
        }
    }

    private func follow(
        _ vms: VMService,
        _ from: Revision?,
        _ mine: Int
    ) async -> Result<Bool, Fault> {
        do {
            try await vms.followEvents(EventFilter(), since: from) { page in
                try self.take(page, mine)
                await Task.yield()
            }
            return .success(true)
        } catch let fault as Fault {
            return .failure(fault)
        } catch {
            return .failure(Fault(.bug, "following events ended with \(error)"))
        }
    }

    /// Each page must have every event after the page before it, up to its own revision, and no other.
    private func take(_ page: EventPage, _ mine: Int) throws(Fault) {
        guard mine == connection else { throw Fault(.daemonUnreachable, "nobody listens") }
        if world.fault(.lost, world.profile.lostMessages / 4) {
            world.mark("world.events-broken")
            throw Fault(.daemonUnreachable, "the watch broke")
        }
        let invariants = world.invariants
        let told = invariants.told
        guard let cursor else {
            invariants.require(
                page.events.isEmpty,
                "a reader that asked for no past was told of it"
            )
            self.cursor = page.revision
            read = told.count { $0.revision <= page.revision }
            return
        }
        invariants.require(
            page.revision >= cursor,
            "events went back from \(cursor.number) to \(page.revision.number)"
        )
        let next = told[read...].prefix { $0.revision <= page.revision }
        invariants.require(
            Array(next) == page.events,
            "after \(cursor.number) a reader was told of \(page.events.map(\.id)), and up to "
                + "\(page.revision.number) there were \(next.map(\.id))"
        )
        self.cursor = page.revision
        read += next.count
    }

    /// What it has yet to be told.
    var unfinished: [String] {
        guard let last = world.invariants.told.last?.revision else { return [] }
        if let cursor, cursor >= last { return [] }
        return ["a reader of events is at \(cursor?.number ?? 0) and not at \(last.number)"]
    }
}
