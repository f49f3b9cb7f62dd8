import RoostControl
import RoostModel
import RoostOperations
import RoostScheduler
import RoostStore
import Testing

@Suite("The fleet")
struct FleetTests {
    @Test("a cordon survives heartbeats and a new control plane, and keeps new VMs away only")
    func cordon() async throws {
        try await withDesk(nodes: 2) { desk in
            try await desk.place("there") { $0.node = "node2" }
            let first = try await desk.fleet.change("node2", .cordon(reason: "disks"))
            #expect(first.changed)
            #expect(first.node.facts.state == .cordoned)
            #expect(first.node.vmCount == 1)
            let again = try await desk.fleet.change("node2", .cordon(reason: "disks"))
            #expect(!again.changed && again.node.etag == first.node.etag)
            desk.heartbeat()
            #expect(try desk.fleet.get("node2").facts.state == .cordoned)
            let successor = try await desk.successor()
            let fleet = FleetService(successor)
            #expect(try fleet.get("node2").facts.state == .cordoned)
            #expect(try fleet.get("node2").row.cordonReason == "disks")
            #expect(try fleet.get("node2").promisedCores == 1)
            for index in 1...3 {
                try await desk.place("vm\(index)")
                #expect(try await desk.place(of: "vm\(index)") == "node1")
            }
            // What is there may be stopped, and started there.
            try await desk.power(.kill, "there")
            try await desk.power(.start, "there")
            #expect(try await desk.state("there") == .running)
        }
    }

    @Test("a create that was decided before a cordon of another control plane goes elsewhere")
    func overtaken() async throws {
        try await withDesk(nodes: 2) { desk in
            let other = FleetService(try await desk.successor())
            _ = try await other.change("node1", .cordon(reason: ""))
            // This one does not know of it until it commits.
            #expect(try desk.fleet.get("node1").facts.state == .ready)
            let vm = try await desk.place("vm") {
                $0.placement.preferredNodes = [.init("node1", weight: 100)]
            }
            #expect(vm.status.node == desk.id(2))
            #expect(try desk.fleet.get("node1").facts.state == .cordoned)
            #expect(try desk.fleet.get("node1").vmCount == 0)
        }
    }

    @Test("labels and taints are set and taken away, and the rest stays")
    func labels() async throws {
        try await withDesk { desk in
            let set = FleetService.Change.labels(set: ["rack": "r1", "old": ""], remove: [])
            _ = try await desk.fleet.change("node1", set)
            let next = FleetService.Change.labels(set: ["rack": "r2"], remove: ["old", "none"])
            let outcome = try await desk.fleet.change("node1", next)
            #expect(outcome.node.facts.labels == ["rack": "r2"])
            let taints = [Taint("gpu"), Taint("slow", "", .preferNoSchedule)]
            _ = try await desk.fleet.change("node1", .taints(set: taints, remove: []))
            let less = try await desk.fleet.change("node1", .taints(set: [], remove: ["gpu"]))
            #expect(less.node.facts.taints == [Taint("slow", "", .preferNoSchedule)])
            #expect(desk.fleet.list(try Selector("rack=r2")).count == 1)
            #expect(desk.fleet.list(try Selector("rack=r1")).isEmpty)
        }
    }

    static let bad: [(field: String, change: FleetService.Change)] = [
        ("reason", .cordon(reason: String(repeating: "x", count: 1025))),
        ("set", .labels(set: [:], remove: [])),
        ("set[a b]", .labels(set: ["a b": ""], remove: [])),
        ("remove[0]", .labels(set: [:], remove: ["a b"])),
        ("remove[0]", .labels(set: ["a": "b"], remove: ["a"])),
        ("remove", .labels(set: [:], remove: Array(repeating: "a", count: 65))),
        ("set[1]", .taints(set: [Taint("a"), Taint("a", "b")], remove: [])),
        ("set[0][a b]", .taints(set: [Taint("a b")], remove: [])),
        ("set", .taints(set: (0..<33).map { Taint("t\($0)") }, remove: [])),
    ]

    @Test("a bad change is refused by its field, and changes nothing", arguments: bad.indices)
    func badChange(index: Int) async throws {
        try await withDesk { desk in
            let failure = await fault { () async throws(Fault) in
                _ = try await desk.fleet.change("node1", Self.bad[index].change)
            }
            #expect(failure?.reason == .invalidFields)
            #expect(failure?.violations.first?.field == Self.bad[index].field)
            let etag = try desk.fleet.get("node1").etag
            #expect(etag == Revision(0))
        }
    }

    @Test("an old etag is refused, and an unknown node is named")
    func etags() async throws {
        try await withDesk { desk in
            let first = try await desk.fleet.change("node1", .cordon(reason: ""))
            let stale = await fault { () async throws(Fault) in
                _ = try await desk.fleet.change("node1", .uncordon, etag: Revision(0))
            }
            #expect(stale?.reason == .staleEtag)
            #expect(stale?.remedy.contains("roost node inspect node1") == true)
            _ = try await desk.fleet.change("node1", .uncordon, etag: first.node.etag)
            let nobody = await fault { () async throws(Fault) in
                _ = try await desk.fleet.change("nobody", .uncordon)
            }
            #expect(nobody?.reason == .nodeNotFound)
        }
    }

    // MARK: Explanations

    @Test("the decision is kept with the VM, and goes with it")
    func decision() async throws {
        try await withDesk(nodes: 3) { desk in
            _ = try await desk.fleet.change("node1", .cordon(reason: ""))
            let vm = try await desk.place("vm") { $0.placement.excludedNodes = ["node2"] }
            let account = try await desk.fleet.explain("vm", project: "default")
            let decision = try #require(account.decision)
            #expect(decision.node == vm.status.node)
            #expect(!decision.isExplicit)
            #expect(decision.explanation.nodes == 3 && decision.explanation.fitting == 1)
            #expect(
                decision.explanation.removed == [
                    .init(constraint: .state(.cordoned), nodes: 1),
                    .init(constraint: .excludedNodes, nodes: 1),
                ]
            )
            #expect(decision.explanation.revision > 0)
            #expect(decision.explanation.best.map(\.node) == [desk.id(3)])
            let successor = FleetService(try await desk.successor())
            #expect(
                try await successor.explain("vm", project: "default").decision == account.decision
            )
            try await desk.power(.delete, "vm", force: true)
            try await desk.purge("vm")
            let gone = await fault { () async throws(Fault) in
                _ = try await desk.fleet.explain("vm", project: "default")
            }
            #expect(gone?.reason == .vmNotFound)
        }
    }

    @Test("why not there: the first constraint, and a change that makes it so")
    func notThere() async throws {
        try await withDesk(nodes: 2) { desk in
            try await desk.place("vm") { $0.node = "node2" }
            _ = try await desk.fleet.change("node1", .cordon(reason: ""))
            func ask(_ node: String) async throws -> FleetService.NodeAccount {
                let account = try await desk.fleet.explain("vm", project: "default", notOn: node)
                return try #require(account.notOn)
            }
            let first = try await ask("node1")
            #expect(first.verdict == .removed(.state(.cordoned)))
            #expect(first.change == "uncordon node1")
            _ = try await desk.fleet.change("node1", .uncordon)
            let second = try await ask("node1")
            #expect(second.change == nil)
            guard case .fits = second.verdict else {
                Issue.record("\(second)")
                return
            }
            #expect(try await ask("node2").isThere)
        }
    }

    @Test("why failed: the last operation's remedy")
    func failed() async throws {
        try await withDesk { desk in
            let failure = await fault { () async throws(Fault) in try await desk.place("broken") }
            let account = try await desk.fleet.explain("broken", project: "default")
            #expect(account.vm.status.state == .failed)
            #expect(account.remedy == failure?.remedy)
        }
    }

    // MARK: What if

    /// The same question in another order of draws gives other fleets; each forecast comes true.
    @Test("what an addition would come to is what then happens", arguments: 1...12)
    func forecast(seed: UInt64) async throws {
        var draws = Draws(state: seed)
        let strategy: PlacementStrategy = seed.isMultiple(of: 2) ? .pack : .spread
        let prior = (0..<6).map { _ in draws.vm() }
        let wish = draws.vm()
        let cordoned = draws.below(4)
        try await withDesk(nodes: 4, strategy: strategy) { desk in
            for node in 1...4 {
                let labels = ["rack": "r\(node % 2)"]
                _ = try await desk.fleet.change("node\(node)", .labels(set: labels, remove: []))
            }
            if cordoned > 0 {
                _ = try await desk.fleet.change("node\(cordoned)", .cordon(reason: ""))
            }
            for (index, change) in prior.enumerated() {
                // Refused ones are part of the draw.
                _ = await fault { () async throws(Fault) in
                    try await desk.place("prior-\(index)", change)
                }
            }
            var draft = VMDraft(name: "what-if", cores: 1, memoryMiB: 512)
            wish(&draft)
            let prospect = try await desk.fleet.whatIf(.add(count: 12, draft))
            for (index, step) in prospect.forecast.steps.enumerated() {
                var node: NodeID?
                let refused = await fault { () async throws(Fault) in
                    node = try await desk.place("new-\(index)", wish).status.node
                }
                switch step.outcome {
                case .goes(let decision): #expect(node == decision.node)
                case .refused(let refusal):
                    #expect(refused?.reason == refusal.fault().reason)
                    #expect(
                        refused?.metadata["change"] == prospect.change
                            ?? refused?.metadata["change"]
                    )
                case .stays: Issue.record("a new VM cannot stay")
                }
            }
            #expect(!prospect.forecast.steps.isEmpty)
        }
    }

    @Test("a node that is lost: its VMs go where they have room, and nothing happens")
    func lose() async throws {
        try await withDesk(nodes: 2) { desk in
            try await desk.place("small") { $0.node = "node1" }
            try await desk.place("large") { draft in
                draft.node = "node1"
                draft.cores = 12
            }
            try await desk.place("other") { draft in
                draft.node = "node2"
                draft.cores = 6
            }
            let prospect = try await desk.fleet.whatIf(.lose("node1"))
            #expect(prospect.forecast.placed == 1 && prospect.forecast.refusals.count == 1)
            #expect(Set(prospect.names.values) == ["small", "large"])
            #expect(prospect.change != nil)
            #expect(try desk.fleet.get("node1").facts.state == .ready)
            #expect(try await desk.place(of: "small") == "node1")
        }
    }

    @Test("a question without sense is refused by its field", arguments: [0, 100_001])
    func badCount(count: Int) async throws {
        try await withDesk { desk in
            let draft = VMDraft(name: "what-if", cores: 1, memoryMiB: 512)
            let failure = await fault { () async throws(Fault) in
                _ = try await desk.fleet.whatIf(.add(count: count, draft))
            }
            #expect(failure?.violations.map(\.field) == ["add.count"])
            let nobody = await fault { () async throws(Fault) in
                _ = try await desk.fleet.whatIf(.drain("nobody"))
            }
            #expect(nobody?.reason == .nodeNotFound)
        }
    }
}

/// Drawn VMs: SplitMix64.
private struct Draws {
    var state: UInt64

    mutating func below(_ bound: Int) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return Int((mixed ^ (mixed >> 31)) % UInt64(bound))
    }

    mutating func vm() -> @Sendable (inout VMDraft) -> Void {
        let (cores, memory) = (1 + below(4), 512 << below(3))
        let label = below(3)
        let rule = below(5)
        return { draft in
            draft.cores = cores
            draft.memoryMiB = memory
            if label > 0 { draft.labels = ["app": label == 1 ? "web" : "db"] }
            switch rule {
            case 0: draft.placement.affinities = [.init(.apart, selector: "app=web")]
            case 1: draft.placement.affinities = [.init(.together, selector: "app=db", weight: 30)]
            case 2: draft.placement.spreads = [.init(over: "rack")]
            case 3: draft.placement.preferredNodes = [.init("node2", weight: 40)]
            default: break
            }
        }
    }
}
