import RoostModel
import RoostOperations
import RoostStore
import Synchronization
import Testing

@testable import RoostControl

@Suite("Events", .timeLimit(.minutes(1)))
struct EventTests {
    @Test("each thing that happens is an event of its own commit, in order")
    func order() async throws {
        try await withDesk { desk in
            try await desk.place("vm")
            try await desk.power(.stop, "vm")
            try await desk.power(.delete, "vm")
            try await desk.purge("vm")
            let pages = try await desk.follow(since: Revision(0))
            let events = pages.flatMap(\.events).map(\.event)
            let states = events.filter { $0.kind == .vmState }
            #expect(
                states.map(\.to) == [
                    "STARTING", "RUNNING", "STOPPING", "STOPPED", "DELETING", "DELETED",
                ]
            )
            #expect(states.dropFirst().map(\.from) == states.dropLast().map(\.to))
            #expect(states.allSatisfy { $0.subject.name == "vm" && $0.operation != nil })
            let asked = events.filter { $0.kind == .operationState }
            let calls = ["CreateVM", "stop", "delete", "PurgeVM"]
            #expect(asked.compactMap(\.method) == calls.flatMap { [$0, $0] })
            #expect(asked.map(\.to) == calls.flatMap { _ in ["RUNNING", "SUCCEEDED"] })
            #expect(asked.allSatisfy { $0.principal == "uid:0" && $0.subject.project == "default" })
            #expect(events.last { $0.kind == .vmGone }?.from == "DELETED")
            let placed = pages.flatMap(\.events)
            let places = placed.map { [$0.revision.number, Int64($0.ordinal)] }
            #expect(zip(places, places.dropFirst()).allSatisfy { $0.lexicographicallyPrecedes($1) })
            #expect(Set(placed.map(\.id)).count == events.count)
            #expect(
                pages.allSatisfy { page in page.events.allSatisfy { $0.revision == page.revision } }
            )
            // What is asked and what it does at once are one commit, and so are what it led to and its end.
            #expect(pages.first?.events.map(\.event.to) == ["RUNNING", "STARTING"])
            #expect(pages.dropFirst().first?.events.map(\.event.to) == ["RUNNING", "SUCCEEDED"])
            // What is listed is the same, from the end and from the beginning.
            #expect(try await desk.vms.events(EventFilter(), limit: 1000).events == placed)
            var listed = EventPage(events: [], revision: Revision(0))
            while true {
                let next = try await desk.vms.events(
                    EventFilter(),
                    after: listed.revision,
                    limit: 2
                )
                if next.events.isEmpty { break }
                listed = EventPage(events: listed.events + next.events, revision: next.revision)
            }
            #expect(listed.events == placed)
        }
    }

    @Test("whoever goes on after any page misses none and sees none twice")
    func resume() async throws {
        try await withDesk { desk in
            for name in ["a", "b"] { try await desk.place(name) }
            try await desk.power(.kill, "a")
            let pages = try await desk.follow(since: Revision(0))
            let all = pages.flatMap(\.events)
            #expect(all.count >= 8)
            for (index, page) in pages.enumerated() {
                let before = pages[...index].flatMap(\.events)
                let after = try await desk.follow(since: page.revision).flatMap(\.events)
                #expect(before + after == all)
            }
        }
    }

    @Test("a follower is told as it happens, and of nothing that it did not ask for")
    func follows() async throws {
        try await withDesk { desk in
            try await desk.place("other")
            let filter = EventFilter(kinds: [.vmState], vm: "vm")
            let from = try await desk.vms.parts.store.revision()
            async let seen = desk.follow(filter, since: from) { $0.to == "STOPPED" }
            try await desk.place("vm")
            try await desk.power(.kill, "other")
            try await desk.power(.kill, "vm")
            let events = try await seen.flatMap(\.events).map(\.event)
            #expect(events.map(\.to) == ["STARTING", "RUNNING", "STOPPING", "STOPPED"])
            #expect(events.allSatisfy { $0.subject.name == "vm" })
            let operation = try #require(events.last?.operation)
            let ending = String(operation.description.suffix(6))
            let its = try await desk.vms.events(EventFilter(operation: ending), limit: 10).events
            #expect(its.map(\.event.to) == ["RUNNING", "STOPPING", "STOPPED", "SUCCEEDED"])
            #expect(
                try await desk.vms.events(filter, limit: 2).events.map(\.event.to) == [
                    "STOPPING", "STOPPED",
                ]
            )
        }
    }

    @Test("a revision that is gone, or never was, is refused")
    func compacted() async throws {
        try await withDesk { desk in
            try await desk.place("vm")
            let store = desk.vms.parts.store
            let latest = try await store.revision()
            try await store.compact(upTo: Revision(2))
            for gone in [Revision(1), Revision(latest.number + 1)] {
                await #expect(throws: Fault.self) { _ = try await desk.follow(since: gone) }
                let listed = await fault { () async throws(Fault) in
                    _ = try await desk.vms.events(EventFilter(), after: gone, limit: 5)
                }
                #expect(listed?.reason == .revisionCompacted)
            }
            _ = try await desk.follow(since: Revision(2))
        }
    }

    @Test("events are kept for seven days, and whoever asks for older ones is told")
    func retention() async throws {
        try await withDesk { desk in
            try await desk.place("vm")
            desk.wall.pass(days: 6)
            try await desk.power(.kill, "vm")
            await desk.vms.keepHouse()
            let before = try await desk.vms.events(EventFilter(), limit: 1000).events.count
            #expect(before >= 6)
            desk.wall.pass(days: 2)
            await desk.vms.keepHouse()
            let left = try await desk.vms.events(EventFilter(), limit: 1000).events
            #expect(left.map(\.event.to) == ["RUNNING", "STOPPING", "STOPPED", "SUCCEEDED"])
            let gone = await fault { () async throws(Fault) in
                do { _ = try await desk.follow(since: Revision(0)) } catch {
                    throw (error as? Fault) ?? Fault(.bug, "\(error)")
                }
            }
            #expect(gone?.reason == .revisionCompacted)
            let on = try #require(left.first).revision
            #expect(
                try await desk.follow(since: Revision(on.number - 1)).flatMap(\.events).count == 4
            )
            // By commits, too: the last one's stay.
            let last = try #require(left.last).revision
            await desk.vms.keepHouse(
                keeping: try await desk.vms.parts.store.revision().number - last.number + 1
            )
            #expect(
                try await desk.vms.events(EventFilter(), limit: 1000).events.map(\.event.to) == [
                    "STOPPED", "SUCCEEDED",
                ]
            )
        }
    }

    @Test("nodes and fleets: cordons, drains, silence, publications")
    func others() async throws {
        try await withDesk(nodes: 2) { desk in
            try await desk.place("vm") { $0.node = "node2" }
            _ = try await desk.fleet.change("node1", .cordon(reason: "disks"))
            _ = try await desk.fleet.change("node1", .cordon(reason: "disks, two"))
            _ = try await desk.fleet.change("node1", .uncordon)
            _ = try await desk.fleet.drain("node2", DrainOrder(), desk.request("DrainNode"))
            _ = try await desk.fleet.uncordon("node2", desk.request("UncordonNode"))
            desk.vms.tell(desk.id(2), is: "NOT_READY", reason: "silent")
            desk.vms.tell(desk.id(2), is: "LOST", reason: "silent for long")
            let service = DesiredStateService(desk.fleet)
            let state = FleetState(name: "shop", groups: [])
            let context = desk.request("PublishState", "a")
            let told = try await desk.follow(EventFilter(kinds: [.nodeState]), since: Revision(0)) {
                $0.to == "LOST"
            }
            #expect(
                told.flatMap(\.events).map { "\($0.event.subject.name) \($0.event.to)" } == [
                    "node1 CORDONED", "node1 READY", "node2 DRAINING", "node2 DRAINED",
                    "node2 READY", "node2 NOT_READY", "node2 LOST",
                ]
            )
            let drains = EventFilter(kinds: [.operationState], node: "node2")
            #expect(
                try await desk.vms.events(drains, limit: 9).events.map(\.event.to) == [
                    "RUNNING", "SUCCEEDED", "RUNNING", "SUCCEEDED",
                ]
            )
            _ = try await service.publish(.init(state, document: "{}", hash: "a", context))
            let fleets = EventFilter(kinds: [.fleetPublished])
            let events = try await desk.vms.events(fleets, limit: 5).events
            #expect(events.map(\.event.to) == ["GENERATION 1"])
            #expect(events.first?.event.operation == context.operation)
        }
    }

    @Test("a node that is not heard of stays so, whatever its operators say")
    func silent() async throws {
        try await withDesk { desk in
            desk.vms.parts.nodes.note(desk.node, silence: .lost)
            _ = try await desk.fleet.change("node1", .cordon(reason: "disks"))
            _ = try await desk.fleet.change("node1", .uncordon)
            let events = try await desk.vms.events(EventFilter(), limit: 9).events.map(\.event)
            #expect(events.map(\.to) == ["LOST", "LOST"])
            #expect(events.map(\.reason) == ["it was cordoned: disks", "the cordon is over"])
        }
    }

    @Test("who is confined to a project is told of nothing else, and of no node")
    func confined() async throws {
        try await withDesk { desk in
            try await desk.place("mine") { $0.project = "red" }
            try await desk.place("theirs") { $0.project = "blue" }
            _ = try await desk.fleet.change("node1", .cordon(reason: ""))
            let all = try await desk.vms.events(EventFilter(), limit: 99).events.map(\.event)
            #expect(Set(all.map(\.subject.project)) == ["red", "blue", nil])
            for filter in [EventFilter(confinedTo: "red"), EventFilter(project: "red")] {
                let red = try await desk.vms.events(filter, limit: 99).events
                #expect(red.map(\.event) == all.filter { $0.subject.name == "mine" })
                #expect(try await desk.follow(filter, since: Revision(0)).flatMap(\.events) == red)
            }
            let both = EventFilter(project: "blue", confinedTo: "red")
            #expect(try await desk.vms.events(both, limit: 99).events.isEmpty)
        }
    }

    @Test("what is nobody's commit is written in order and once, whatever the store answers")
    func later() async throws {
        try await withDesk { desk in
            let answers = Mutex<[MemoryCommitFailure]>([
                .ioFailed, .unknownApplied, .unknownNotApplied,
            ])
            var parts = desk.vms.parts
            parts.store = MemoryStore { _ in
                answers.withLock { $0.isEmpty ? nil : $0.removeFirst() }
            }
            let vms = VMService(parts)
            vms.tell(desk.node, is: "NOT_READY", reason: "one")
            vms.tell(desk.node, is: "READY", reason: "two")
            while !vms.untold.withLock({ $0.count == 0 }) { await Task.yield() }
            let told = try await vms.events(EventFilter(), limit: 9).events
            #expect(told.map(\.event.reason) == ["one", "two"])
            #expect(told.map(\.id) == ["1.1", "2.1"])
        }
    }

    @Test("who does not read is told so and dropped")
    func slow() async throws {
        try await withDesk { desk in
            try await desk.place("vm")
            let never = Signal()
            let met = await fault { () async throws(Fault) in
                do {
                    try await desk.vms.followEvents(
                        EventFilter(),
                        since: Revision(0),
                        patience: .milliseconds(20)
                    ) { page in
                        // Reads one page, and then no more.
                        if page.revision > Revision(0) { await never.wait() }
                    }
                } catch { throw (error as? Fault) ?? Fault(.bug, "\(error)") }
            }
            #expect(met?.reason == .watchTooSlow)
        }
    }

    @Test("who is cancelled just ends, and what goes wrong in a watch is said")
    func ends() async throws {
        try await withDesk { desk in
            let vms = desk.vms
            let following = Task {
                try await vms.followEvents(EventFilter(), since: nil) { _ in }
            }
            following.cancel()
            try await following.value
            await #expect(throws: Enough.self) {
                try await vms.followEvents(EventFilter(), since: nil) { _ in throw Enough() }
            }
        }
    }

    @Test("a control plane that comes up knows what was, and makes no id again")
    func successor() async throws {
        try await withDesk { desk in
            try await desk.place("vm")
            let before = try await desk.vms.events(EventFilter(), limit: 100).events
            let successor = try await desk.successor()
            _ = try await successor.power(
                .kill,
                "vm",
                project: "default",
                options: PowerOptions(),
                desk.request("KillVM", "vm")
            )
            let after = try await successor.events(EventFilter(), limit: 100).events
            #expect(Array(after.prefix(before.count)) == before)
            let stopping = after[before.count + 1].event
            #expect(stopping.from == "RUNNING" && stopping.to == "STOPPING")
            let rows = try await desk.vms.parts.store.list(EventRow.self, Query()).rows
            #expect(rows.map(\.row.events.count).reduce(0, +) == after.count)
        }
    }
}

extension Desk {
    /// The pages with events after `since`, up to the latest revision, or to the event that is `last`.
    fileprivate func follow(
        _ filter: EventFilter = EventFilter(),
        since: Revision,
        until last: (@Sendable (Event) -> Bool)? = nil
    ) async throws -> [EventPage] {
        let latest = try await vms.parts.store.revision()
        let read = Mutex<[EventPage]>([])
        do {
            try await vms.followEvents(filter, since: since) { page in
                if !page.events.isEmpty { read.withLock { $0.append(page) } }
                let isOver =
                    last.map { last in page.events.contains { last($0.event) } }
                    ?? (page.revision >= latest)
                // The events of the last revision come before the word that it is read.
                if isOver, last != nil || page.events.isEmpty { throw Enough() }
            }
        } catch is Enough {}
        return read.withLock { $0 }
    }
}

private struct Enough: Error {}
