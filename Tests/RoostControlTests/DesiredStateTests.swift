import RoostControl
import RoostModel
import RoostOperations
import RoostReconciler
import RoostStore
import Testing

/// A fleet with one group, called `shop`.
private func shop(
    _ name: String = "web",
    _ replicas: Int? = 2,
    _ change: (inout FleetGroup) -> Void = { _ in }
) -> FleetState {
    var draft = VMDraft(name: "", cores: 1, memoryMiB: 512)
    draft.labels = ["app": name]
    var group = FleetGroup(name: name, replicas: replicas, draft: draft)
    change(&group)
    return FleetState(name: "shop", groups: [group])
}

/// The keeping of fleets, step by step.
private struct Keeping {
    let desk: Desk
    let service: DesiredStateService

    init(_ desk: Desk) {
        self.desk = desk
        service = DesiredStateService(desk.fleet)
    }

    @discardableResult
    func publish(
        _ state: FleetState,
        hash: String,
        generation: Int64 = 0,
        token: String = ""
    ) async throws(Fault) -> (row: FleetStateRow, changed: Bool) {
        let context = desk.request("PublishState", hash)
        return try await service.publish(
            .init(
                state,
                document: "{}",
                hash: hash,
                generation: generation,
                token: token,
                context
            )
        )
    }

    /// Why publishing is refused; `nil` when it is not.
    func refusal(of state: FleetState, hash: String, _ generation: Int64) async -> Reason? {
        do throws(Fault) {
            try await publish(state, hash: hash, generation: generation)
            return nil
        } catch { return error.reason }
    }

    /// Passes until nothing is left to do; `false` when that does not come.
    func settles(_ passes: Int = 60) async throws -> Bool {
        for _ in 0..<passes {
            let bell = desk.vms.nextCommit
            if await service.pass() { return true }
            if try await isBusy() { await bell.wait() }
            desk.wall.pass(days: 1)
        }
        return false
    }

    func isBusy() async throws -> Bool {
        try await all().contains { $0.runningOp != nil }
    }

    func all() async throws -> [VM] {
        try await desk.vms.list(VMFilter(), size: 100, token: nil).vms.map(\.row)
    }

    /// Names and states, in the order of the names.
    func states() async throws -> [String] {
        try await all().map { "\($0.name) \($0.status.state.rawValue)" }.sorted()
    }
}

@Suite("Fleets")
struct DesiredStateTests {
    @Test("come to be what was published, and stay so")
    func life() async throws {
        try await withDesk(nodes: 2) { desk in
            let keeping = Keeping(desk)
            #expect(try await keeping.publish(shop(), hash: "a").row.generation == 1)
            #expect(try await keeping.settles())
            #expect(try await keeping.states() == ["web-1 RUNNING", "web-2 RUNNING"])
            // What somebody stops is started again, what somebody deletes is made again.
            try await desk.power(.stop, "web-1")
            try await desk.power(.delete, "web-2", force: true)
            #expect(try await keeping.service.report("shop", project: "default").plan.percent == 0)
            #expect(try await keeping.settles())
            #expect(try await keeping.states() == ["web-1 RUNNING", "web-2 RUNNING"])
            // More, others, and none.
            try await keeping.publish(shop("web", 3), hash: "b")
            #expect(try await keeping.settles())
            #expect(try await keeping.states().count == 3)
            try await keeping.publish(shop("api", nil) { $0.runs = false }, hash: "c")
            #expect(try await keeping.settles())
            #expect(try await keeping.states() == ["api STOPPED"])
            try await keeping.publish(FleetState(name: "shop"), hash: "d")
            #expect(try await keeping.settles())
            #expect(try await keeping.states().isEmpty)
            let report = try await keeping.service.report("shop", project: "default")
            #expect(report.row.generation == 4 && report.plan.percent == 100)
        }
    }

    @Test("have their VMs changed in place, after a stop, or by new ones, one of a group at a time")
    func changes() async throws {
        try await withDesk { desk in
            let keeping = Keeping(desk)
            try await keeping.publish(shop(), hash: "a")
            #expect(try await keeping.settles())
            let before = try await keeping.all()
            try await keeping.publish(shop { $0.draft.labels["tier"] = "front" }, hash: "b")
            #expect(try await keeping.settles())
            var after = try await keeping.all()
            #expect(after.map(\.id) == before.map(\.id))
            #expect(after.allSatisfy { $0.labels["tier"] == "front" })
            // Both need a restart; the second is left running until the first runs again.
            let larger = shop {
                $0.draft.labels["tier"] = "front"
                $0.draft.memoryMiB = 1024
            }
            try await keeping.publish(larger, hash: "c")
            _ = await keeping.service.pass()
            #expect(try await keeping.all().count { $0.desired == .stopped } == 1)
            #expect(try await keeping.settles())
            after = try await keeping.all()
            #expect(after.map(\.id) == before.map(\.id))
            #expect(after.allSatisfy { $0.spec.memoryMiB == 1024 && $0.status.state == .running })
            // Another network is another VM; the old ones are in the trash.
            var offline = larger
            offline.groups[0].draft.network = .none
            try await keeping.publish(offline, hash: "d")
            #expect(try await keeping.settles())
            after = try await keeping.all()
            #expect(Set(after.map(\.id)).isDisjoint(with: before.map(\.id)))
            #expect(after.allSatisfy { $0.spec.network == .none && $0.status.state == .running })
        }
    }

    @Test("take down the next of a group only when the one before runs again")
    func oneAtATime() async throws {
        try await withDesk { desk in
            let keeping = Keeping(desk)
            // Guests that do not power off: each stop lasts as long as its grace.
            try await keeping.publish(shop("deaf"), hash: "a")
            #expect(try await keeping.settles())
            try await keeping.publish(shop("deaf") { $0.draft.memoryMiB = 1024 }, hash: "b")
            for _ in 0..<3 {
                _ = await keeping.service.pass()
                #expect(try await keeping.all().count { $0.desired == .stopped } == 1)
                desk.wall.pass(days: 1)
            }
        }
    }

    @Test("miss one whose labels are still to be changed before it starts again")
    func missed() async throws {
        try await withDesk { desk in
            let keeping = Keeping(desk)
            try await keeping.publish(shop(), hash: "a")
            #expect(try await keeping.settles())
            let both = shop {
                $0.draft.memoryMiB = 1024
                $0.draft.labels["tier"] = "front"
            }
            try await keeping.publish(both, hash: "b")
            var isSettled = false
            for _ in 0..<60 where !isSettled {
                let bell = desk.vms.nextCommit
                isSettled = await keeping.service.pass()
                #expect(try await keeping.all().count { $0.desired == .stopped } <= 1)
                if try await keeping.isBusy() { await bell.wait() }
                desk.wall.pass(days: 1)
            }
            #expect(isSettled)
            let after = try await keeping.all()
            #expect(after.allSatisfy { $0.spec.memoryMiB == 1024 && $0.labels["tier"] == "front" })
        }
    }

    @Test("change nothing that was taken from them after they looked")
    func taken() async throws {
        try await withDesk { desk in
            let keeping = Keeping(desk)
            try await keeping.publish(shop("web", 1), hash: "a")
            #expect(try await keeping.settles())
            try await desk.power(.stop, "web-1")
            desk.meanwhile.happens {
                try await desk.power(.delete, "web-1")
                try await desk.undelete("web-1", as: "mine")
            }
            _ = await keeping.service.pass()
            #expect(try await keeping.settles())
            #expect(try await keeping.states() == ["mine STOPPED", "web-1 RUNNING"])
        }
    }

    @Test("do not wait for a clock that was set back")
    func setBack() async throws {
        try await withDesk { desk in
            let keeping = Keeping(desk)
            try await desk.place("filler") { $0.memoryMiB = 9_000 }
            try await keeping.publish(shop("big", 1) { $0.draft.memoryMiB = 4_096 }, hash: "a")
            _ = await keeping.service.pass()
            try await desk.power(.delete, "filler", force: true)
            desk.wall.pass(days: -1)
            #expect(await !keeping.service.pass())
            #expect(try await keeping.all().map(\.name) == ["big-1"])
        }
    }

    @Test("leave alone what is not theirs, and what was brought back from the trash")
    func others() async throws {
        try await withDesk { desk in
            let keeping = Keeping(desk)
            try await desk.create("web-1", running: true)
            let own = try await desk.vms.get("web-1", project: "default").row.id
            try await keeping.publish(shop(), hash: "a")
            #expect(try await !keeping.settles(10))
            #expect(try await keeping.states() == ["web-1 RUNNING", "web-2 RUNNING"])
            #expect(try await desk.vms.get("web-1", project: "default").row.id == own)
            try await keeping.publish(FleetState(name: "shop"), hash: "b")
            #expect(try await keeping.settles())
            #expect(try await keeping.states() == ["web-1 RUNNING"])
            try await desk.undelete("web-2")
            #expect(try await keeping.settles())
            #expect(try await keeping.states() == ["web-1 RUNNING", "web-2 STOPPED"])
        }
    }

    @Test("tell what went wrong, try it again more slowly, and go on with the others")
    func troubles() async throws {
        try await withDesk { desk in
            let keeping = Keeping(desk)
            try await desk.place("filler") { $0.memoryMiB = 9_000 }
            var state = shop()
            state.groups.append(state.groups[0])
            state.groups[1].name = "big"
            state.groups[1].replicas = nil
            state.groups[1].draft.memoryMiB = 4096
            try await keeping.publish(state, hash: "a")
            #expect(try await !keeping.settles(12))
            let running = ["filler RUNNING", "web-1 RUNNING", "web-2 RUNNING"]
            #expect(try await keeping.states() == running)
            var report = try await keeping.service.report("shop", project: "default")
            #expect(report.troubles["big"]?.reason == .noCapacity)
            #expect(report.plan.percent == 66)
            // There is room, and no time passes: it is not tried again.
            _ = await keeping.service.pass()
            try await desk.power(.delete, "filler", force: true)
            _ = await keeping.service.pass()
            #expect(try await keeping.states() == ["web-1 RUNNING", "web-2 RUNNING"])
            desk.wall.pass(days: 1)
            #expect(try await keeping.settles())
            report = try await keeping.service.report("shop", project: "default")
            #expect(report.troubles.isEmpty && report.plan.percent == 100)
        }
    }

    @Test("are published in order: older numbers, and other content under the same, are refused")
    func generations() async throws {
        try await withDesk { desk async throws in
            let keeping = Keeping(desk)
            let state = shop("web", 0)
            #expect(try await keeping.publish(state, hash: "a", generation: 7).row.generation == 7)
            #expect(try await !keeping.publish(state, hash: "a", generation: 7).changed)
            #expect(try await !keeping.publish(state, hash: "a").changed)
            #expect(await keeping.refusal(of: state, hash: "a", 6) == .staleGeneration)
            #expect(await keeping.refusal(of: state, hash: "b", 7) == .generationReused)
            #expect(await keeping.refusal(of: state, hash: "b", -1) == .invalidFields)
            #expect(try await keeping.publish(state, hash: "b").row.generation == 8)
            #expect(try await keeping.publish(state, hash: "b", generation: 9).changed)
            let missing = await fault { () async throws(Fault) in
                _ = try await keeping.service.report("none", project: "default")
            }
            #expect(missing?.reason == .fleetNotFound)
        }
    }

    @Test("are planned with places, and a plan that no longer holds is refused with the difference")
    func plans() async throws {
        try await withDesk(nodes: 2) { desk in
            let keeping = Keeping(desk)
            let state = shop { $0.draft.node = "node2" }
            let plan = try await keeping.service.plan(state, hash: "a")
            #expect(plan.plan.steps.map(\.change) == [.create, .create])
            #expect(plan.places == ["web-1": .node("node2"), "web-2": .node("node2")])
            #expect(plan.generation == 1)
            try await desk.create("web-2")
            let refusal = await fault { () async throws(Fault) in
                try await keeping.publish(state, hash: "a", token: plan.token)
            }
            #expect(refusal?.reason == .stalePlan)
            #expect(refusal?.message.contains("web-2: create before, blocked") ?? false)
            #expect(try await keeping.service.reports(project: "").isEmpty)
            let next = try await keeping.service.plan(state, hash: "a")
            #expect(try await keeping.publish(state, hash: "a", token: next.token).changed)
            // It holds already: the same plan again is no harm.
            #expect(try await !keeping.publish(state, hash: "a", token: next.token).changed)
        }
    }
}
