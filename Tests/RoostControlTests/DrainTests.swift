import RoostModel
import RoostOperations
import RoostReconciler
import RoostScheduler
import RoostStore
import Testing

@testable import RoostControl

@Suite("Drains", .timeLimit(.minutes(1)))
struct DrainTests {
    @Test("a drain stops what runs, each by an operation of its own, and nothing starts there")
    func stops() async throws {
        try await withDesk(nodes: 2) { desk in
            for name in ["a", "b"] { try await desk.place(name) { $0.node = "node2" } }
            try await desk.place("off", running: false) { $0.node = "node2" }
            try await desk.place("else") { $0.node = "node1" }
            let report = try await desk.drain("node2", reason: "disks")
            #expect(report.changed)
            #expect(report.outcomes == ["a": .stopped, "b": .stopped])
            #expect(report.node.isDrained && report.node.facts.state == .draining)
            #expect(report.node.row.cordonReason == "disks")
            #expect(try await desk.state("a") == .stopped)
            #expect(try await desk.state("else") == .running)
            let vm = try await desk.vms.get("a", project: "default").row
            #expect(vm.status.reason.contains("its node is drained"))
            let row = try #require(report.row)
            let own = try await desk.vms.operation(row.child(vm.id))
            #expect(own.parent == row.id && own.state == .done && vm.lastOp == own.id)
            // Neither what was there, nor what was off, nor anything new.
            for name in ["a", "off"] {
                let refused = await fault { () async throws(Fault) in
                    try await desk.power(.start, name)
                }
                #expect(refused?.reason == .nodeDraining)
                #expect(refused?.remedy.contains("roost node uncordon node2") == true)
            }
            for index in 1...3 {
                try await desk.place("new\(index)")
                #expect(try await desk.place(of: "new\(index)") == "node1")
            }
        }
    }

    @Test("uncordon starts again what the drain stopped, and nothing else")
    func uncordon() async throws {
        try await withDesk(nodes: 2) { desk in
            for name in ["kept", "stopped", "deleted", "paused", "set"] {
                try await desk.place(name) { $0.node = "node2" }
            }
            try await desk.place("off", running: false) { $0.node = "node2" }
            try await desk.power(.pause, "paused")
            try await desk.drain("node2")
            // Its owner stops one that is down: it is not to be started again.
            #expect(try await desk.power(.stop, "stopped").changed)
            #expect(try await !desk.power(.stop, "stopped").changed)
            try await desk.power(.delete, "deleted")
            try await desk.setMemory("set", 1024)
            let report = try await desk.uncordon("node2")
            #expect(report.outcomes == ["kept": .started, "paused": .started, "set": .started])
            #expect(report.node.facts.state == .ready)
            #expect(try await desk.state("kept") == .running)
            #expect(try await desk.state("set") == .running)
            #expect(try await desk.state("paused") == .paused)
            #expect(try await desk.state("stopped") == .stopped)
            #expect(try await desk.state("off") == .stopped)
            let nothing = try await desk.uncordon("node2")
            #expect(!nothing.changed && nothing.outcomes.isEmpty)
        }
    }

    @Test("a drain that suspends keeps memory, and uncordon goes on with it")
    func suspends() async throws {
        try await withDesk(nodes: 2) { desk in
            try await desk.place("vm") { $0.node = "node2" }
            let report = try await desk.drain("node2", suspends: true)
            #expect(report.outcomes == ["vm": .suspended])
            #expect(try await desk.state("vm") == .suspended)
            #expect(try await desk.uncordon("node2").outcomes == ["vm": .started])
            #expect(try await desk.state("vm") == .running)
        }
    }

    @Test("the same op id does nothing twice, also after the drain is over")
    func once() async throws {
        try await withDesk(nodes: 2) { desk in
            try await desk.place("vm") { $0.node = "node2" }
            let first = try await desk.drain("node2", operation: 900)
            let again = try await desk.drain("node2", operation: 900)
            #expect(again.row == first.row && again.changed)
            let more = try await desk.drain("node2", operation: 902)
            #expect(!more.changed && more.outcomes == ["vm": .stopped])
            try await desk.uncordon("node2", operation: 901)
            #expect(try await desk.drain("node2", operation: 900).row == first.row)
            #expect(try await desk.drain("node2", operation: 902).row == more.row)
            #expect(try await desk.state("vm") == .running)
            try await desk.power(.kill, "vm")
            #expect(try await desk.uncordon("node2", operation: 901).outcomes == ["vm": .started])
            #expect(try await desk.state("vm") == .stopped)
            let reused = await fault { () async throws(Fault) in
                try await desk.drain("node1", operation: 900)
            }
            #expect(reused?.reason == .opIDReused)
        }
    }

    @Test(
        "a VM that could not be stopped is itemised, the others go on, and another drain sees to it"
    )
    func failure() async throws {
        try await withDesk(nodes: 2) { desk in
            for name in ["a", "deaf", "z"] { try await desk.place(name) { $0.node = "node1" } }
            let deaf = try await desk.vms.get("deaf", project: "default").row.id
            let first = OperationID(bits: 900)
            let child = first.child(deaf.description)
            async let drained = desk.drain("node1", operation: 900)
            _ = try await desk.vms.wait(deaf, until: { $0.runningOp == child }, limit: .seconds(20))
            let busy = await desk.refusal { try await desk.drain("node1") }
            #expect(busy?.reason == .opInProgress && busy?.metadata["op"] == first.description)
            // Somebody has it end before its guest's time is up: the VM runs on.
            #expect(try await desk.vms.cancelOperation(child).state == .cancelled)
            let report = try await drained
            #expect(report.outcomes == ["a": .stopped, "deaf": .failed, "z": .stopped])
            let target = try #require(report.row?.targets.first { $0.vm == deaf })
            #expect(target.fault?.reason == .opCancelled)
            #expect(!report.node.isDrained && report.node.facts.state == .draining)
            #expect(try await desk.state("deaf") == .running)
            let second = try await desk.drain("node1", grace: 0)
            #expect(second.outcomes == ["deaf": .stopped] && second.node.isDrained)
            // What either of them took down comes back.
            let back = try await desk.uncordon("node1")
            #expect(back.outcomes == ["a": .started, "deaf": .started, "z": .started])
        }
    }

    @Test("what its policy or its fleet wishes waits until the drain is over")
    func wishes() async throws {
        try await withDesk(nodes: 2) { desk in
            let service = DesiredStateService(desk.fleet)
            var draft = VMDraft(name: "", cores: 1, memoryMiB: 512)
            draft.node = "node2"
            let state = FleetState(
                name: "shop",
                groups: [FleetGroup(name: "web", replicas: 2, draft: draft)]
            )
            _ = try await service.publish(
                .init(state, document: "{}", hash: "a", desk.request("PublishState", "a"))
            )
            while await !service.pass() { await Task.yield() }
            let drained = try await desk.drain("node2")
            #expect(drained.outcomes == ["web-1": .stopped, "web-2": .stopped])
            #expect(drained.row?.targets.first?.fleet == "shop")
            for _ in 0..<5 { _ = await service.pass() }
            let report = try await service.report("shop", project: "default")
            #expect(report.plan.steps.map(\.change.verb) == ["blocked", "blocked"])
            #expect(report.plan.steps[0].change.words.contains("roost node uncordon node2"))
            #expect(try await desk.state("web-1") == .stopped)
            try await desk.uncordon("node2")
            #expect(try await desk.state("web-1") == .running)
            #expect(await service.pass())
        }
    }

    @Test("bad drains are refused, and change nothing")
    func bad() async throws {
        try await withDesk(nodes: 2) { desk in
            try await desk.place("vm") { $0.node = "node2" }
            let nobody = await desk.refusal { try await desk.drain("nobody") }
            #expect(nobody?.reason == .nodeNotFound)
            let long = await desk.refusal {
                try await desk.drain(
                    "node2",
                    reason: String(repeating: "x", count: 1025),
                    grace: 86_401
                )
            }
            #expect(long?.violations.map(\.field) == ["reason", "timeout_seconds"])
            let stale = await desk.refusal { try await desk.drain("node2", etag: Revision(77)) }
            #expect(stale?.reason == .staleEtag)
            let nodes = desk.vms.parts.nodes
            for silence in [NodeState.notReady, .lost] {
                nodes.note(desk.id(2), silence: silence)
                let silent = await desk.refusal { try await desk.drain("node2") }
                #expect(silent?.reason == .nodeUnreachable)
                #expect(silent?.message.contains("roost node cordon node2") == true)
                // Nor is it the only one left that takes VMs.
                let last = await desk.refusal { try await desk.drain("node1") }
                #expect(last?.reason == .noNodeFits && last?.remedy.contains("--force") == true)
            }
            nodes.note(desk.id(2), silence: nil)
            #expect(try desk.fleet.get("node2").etag == Revision(0))
            #expect(try await desk.state("vm") == .running)
            _ = try await desk.drain("node2")
            #expect(try await desk.drain("node1", force: true).outcomes.isEmpty)
        }
    }

    @Test("what is only asked about is what whatif says and what then happens")
    func proposal() async throws {
        try await withDesk(nodes: 2) { desk in
            for name in ["a", "b"] { try await desk.place(name) { $0.node = "node2" } }
            try await desk.place("big") {
                $0.node = "node2"
                $0.memoryMiB = 4096
            }
            try await desk.place("filler") {
                $0.node = "node1"
                $0.memoryMiB = 6144
            }
            let asked = try await desk.drain("node2", isOnlyAsked: true)
            #expect(try desk.fleet.get("node2").facts.state == .ready)
            let forecast = try await desk.fleet.whatIf(.drain("node2"))
            #expect(asked.rooms.count == forecast.forecast.steps.count)
            for step in forecast.forecast.steps {
                switch (step.outcome, asked.rooms[step.vm]) {
                case (.goes(let decision), .on(let node, _)): #expect(decision.node == node)
                case (.refused, .nowhere(let why)): #expect(!why.isEmpty)
                default: Issue.record("\(step) against \(String(describing: asked.rooms))")
                }
            }
            let done = try await desk.drain("node2")
            #expect(done.row?.targets.map(\.vm) == asked.row?.targets.map(\.vm))
            let back = try await desk.uncordon("node2", isOnlyAsked: true)
            #expect(back.row?.targets.map(\.vm) == asked.row?.targets.map(\.vm))
            #expect(try desk.fleet.get("node2").isDrained)
        }
    }

    @Test("a control plane that comes up goes on with the drain that it finds, and the end of one")
    func recovers() async throws {
        try await withDesk(nodes: 2) { desk in
            try await desk.place("a") { $0.node = "node2" }
            try await desk.place("b") { $0.node = "node2" }
            // As a crash leaves it: accepted, and nothing done.
            let row = try await desk.acceptOnly("node2")
            let successor = FleetService(try await desk.successor())
            #expect(try successor.get("node2").facts.state == .draining)
            try await successor.recover()
            #expect(try await successor.ending(row).targets.map(\.outcome) == [.stopped, .stopped])
            let refused = await fault { () async throws(Fault) in
                _ = try await successor.vms.power(
                    .start,
                    "a",
                    project: "default",
                    options: PowerOptions(),
                    desk.request("StartVM", "a")
                )
            }
            #expect(refused?.reason == .nodeDraining)
            // Everything was done, and nobody had written down how it ended.
            let begun = try await desk.takeBack(row)
            try await successor.recover()
            #expect(
                try await successor.ending(begun).targets.map(\.outcome) == [.stopped, .stopped]
            )
            let restored = try await successor.uncordon("node2", desk.request("UncordonNode", "x"))
            #expect(restored.outcomes == ["a": .started, "b": .started])
            let ended = try await desk.takeBack(try #require(restored.row))
            try await successor.recover()
            #expect(
                try await successor.ending(ended).targets.map(\.outcome) == [.started, .started]
            )
        }
    }

    @Test("a VM that could not be paused again is no reason to ask for ever")
    func cannotPause() async throws {
        try await withDesk(nodes: 2) { desk in
            try await desk.place("vm") { $0.node = "node2" }
            try await desk.power(.pause, "vm")
            try await desk.drain("node2")
            let restored = try #require(try await desk.uncordon("node2").row)
            // As a node's full disk ends it, and a crash leaves the rest.
            let vm = try #require(restored.targets.first).vm
            let key = restored.id.child("\(vm)/pause").description
            let store = desk.vms.parts.store
            let found = try #require(try await store.get(OperationRow.self, key))
            var failed = found.row
            failed.state = .failed
            failed.fault = RecordedFault(Fault(.ioFailed, "the disk could not be written"))
            failed.result = nil
            var batch = Batch()
            batch.replace(found, with: failed)
            try await store.commit(batch)
            let begun = try await desk.takeBack(restored)
            let successor = FleetService(try await desk.successor())
            try await successor.recover()
            #expect(try await successor.ending(begun).targets.map(\.outcome) == [.started])
        }
    }

    @Test("a start that was decided before a drain of another control plane is refused")
    func overtaken() async throws {
        try await withDesk(nodes: 2) { desk in
            try await desk.place("vm", running: false) { $0.node = "node2" }
            let other = FleetService(try await desk.successor())
            _ = try await other.drain("node2", DrainOrder(), desk.request("DrainNode"))
            // This one does not know of it until it commits.
            #expect(try desk.fleet.get("node2").facts.state == .ready)
            let refused = await desk.refusal { try await desk.power(.start, "vm") }
            #expect(refused?.reason == .nodeDraining)
            #expect(try await desk.state("vm") == .stopped)
            #expect(try desk.fleet.get("node2").facts.state == .draining)
        }
    }

    @Test("a decision about each VM as it is", arguments: Case.all.indices)
    func decision(index: Int) {
        let each = Case.all[index]
        #expect(each.row.move(each.vm) == each.move, "\(each)")
    }
}

/// One VM, one drain, and what is next.
private struct Case: CustomStringConvertible {
    var kind: DrainRow.Kind = .drain
    var suspends = false
    var state = VMState.running
    var runningOp: OperationID?
    var hold: OperationID?
    var isThere = true
    var move: DrainMove

    static let drain = OperationID(bits: 7)
    static let node = NodeID(bits: 1)
    static let id = VMID(bits: 5)
    static let other = OperationID(bits: 9)

    static let all: [Case] = [
        Case(move: .order(.stop)),
        Case(suspends: true, move: .order(.suspend)),
        Case(state: .paused, move: .order(.stop)),
        Case(state: .starting, runningOp: other, move: .wait(other)),
        Case(state: .stopping, runningOp: drain.child(id.description), move: .order(.stop)),
        Case(state: .stopped, hold: drain, move: .done(.stopped)),
        Case(state: .suspended, hold: drain, move: .done(.suspended)),
        Case(state: .stopped, hold: other, move: .done(.already)),
        Case(state: .stopped, move: .done(.already)),
        Case(state: .failed, move: .done(.already)),
        Case(isThere: false, move: .done(.gone)),
        Case(kind: .restore, state: .stopped, hold: drain, move: .order(.start)),
        Case(kind: .restore, state: .suspended, hold: other, move: .order(.start)),
        Case(kind: .restore, state: .running, move: .done(.already)),
        Case(kind: .restore, state: .stopped, move: .done(.left)),
        Case(kind: .restore, state: .stopping, runningOp: other, hold: drain, move: .wait(other)),
        Case(kind: .restore, isThere: false, move: .done(.gone)),
    ]

    var description: String { "\(kind) of one that is \(state)" }

    var row: DrainRow {
        DrainRow(
            id: Self.drain,
            node: Self.node,
            nodeName: "node1",
            kind: kind,
            phase: .begun,
            principal: "uid:0",
            method: "DrainNode",
            digest: "",
            suspends: suspends,
            graceSeconds: 1,
            targets: [],
            startedAt: Timestamp(milliseconds: 0)
        )
    }

    var vm: VM? {
        guard isThere else { return nil }
        let at = Timestamp(milliseconds: 0)
        var vm = VM(
            id: Self.id,
            name: "vm",
            project: "default",
            labels: [:],
            annotations: [:],
            spec: VMSpec(cores: 1, memoryMiB: 128, image: "i", kernel: "k"),
            desired: .running,
            status: VMStatus(state: state, reason: "so", since: at, node: Self.node),
            createdAt: at,
            operation: OperationID(bits: 1)
        )
        vm.runningOp = runningOp
        vm.hold = hold.map { DrainHold(drain: $0, desired: .running) }
        return vm
    }
}

extension FleetService.DrainReport {
    /// By name.
    fileprivate var outcomes: [String: DrainOutcome] {
        Dictionary(row?.targets.map { ($0.name, $0.outcome) } ?? []) { first, _ in first }
    }
}

extension Desk {
    @discardableResult
    fileprivate func drain(
        _ node: String,
        reason: String = "",
        suspends: Bool = false,
        grace: Int = 30,
        force: Bool = false,
        etag: Revision? = nil,
        operation: UInt64? = nil,
        isOnlyAsked: Bool = false
    ) async throws(Fault) -> FleetService.DrainReport {
        var context = request("DrainNode", "\(node) \(suspends)", operation: operation)
        context.validateOnly = isOnlyAsked
        let order = DrainOrder(
            reason: reason,
            suspends: suspends,
            graceSeconds: grace,
            force: force
        )
        return try await fleet.drain(node, order, etag: etag, context)
    }

    @discardableResult
    fileprivate func uncordon(
        _ node: String,
        operation: UInt64? = nil,
        isOnlyAsked: Bool = false
    ) async throws(Fault) -> FleetService.DrainReport {
        var context = request("UncordonNode", node, operation: operation)
        context.validateOnly = isOnlyAsked
        return try await fleet.uncordon(node, context)
    }

    /// Why `body` is refused; `nil` when it is not.
    fileprivate func refusal<T>(_ body: () async throws -> T) async -> Fault? {
        do {
            _ = try await body()
            return nil
        } catch { return error as? Fault }
    }

    /// Puts the store to how a crash leaves it: a drain of `node` is accepted, and nothing is done.
    fileprivate func acceptOnly(_ node: String) async throws -> DrainRow {
        let id = try vms.parts.nodes.find(node)
        let operation = OperationID(bits: 950)
        let row = DrainRow(
            id: operation,
            node: id,
            nodeName: node,
            kind: .drain,
            phase: .accepted,
            principal: "uid:0",
            method: "DrainNode",
            digest: "",
            suspends: false,
            graceSeconds: 1,
            targets: [],
            startedAt: Timestamp(milliseconds: 0)
        )
        var batch = Batch()
        batch.insert(row)
        batch.insert(DrainMark(node: id, drain: operation))
        try await vms.parts.store.commit(batch)
        return row
    }

    /// Puts the store back to how a crash leaves it: nobody has written down how `row` ended.
    fileprivate func takeBack(_ row: DrainRow) async throws -> DrainRow {
        let found = try #require(try await vms.parts.store.get(DrainRow.self, row.key))
        var begun = found.row
        begun.phase = .begun
        begun.finishedAt = nil
        for index in begun.targets.indices { begun.targets[index].outcome = .pending }
        var batch = Batch()
        batch.replace(found, with: begun)
        try await vms.parts.store.commit(batch)
        return begun
    }
}
