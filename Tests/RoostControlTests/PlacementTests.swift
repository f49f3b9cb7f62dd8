import RoostControl
import RoostModel
import RoostOperations
import RoostScheduler
import RoostStore
import Testing

@Suite("Placement through the API")
struct PlacementTests {
    @Test("count what a VM holds by the latest of its rows, whichever is heard of last")
    func lateRow() async throws {
        try await withDesk { desk in
            let directory = NodeDirectory()
            desk.join(directory)
            let older = try await desk.place("box", running: false)
            var newer = older
            newer.generation += 1
            newer.desired = .running
            _ = newer.become(.starting, reason: "start accepted", at: older.createdAt)
            directory.count(older)
            let all = try #require(directory.fleet.free(desk.node)?.cores)
            directory.confirm(newer)
            #expect(directory.fleet.free(desk.node)?.cores == all - 1)
            // It was read before, and answered late.
            directory.confirm(older)
            #expect(directory.fleet.free(desk.node)?.cores == all - 1)
        }
    }

    /// Of one generation too: it ran, and its VMM ended. Its room was lost until a restart.
    @Test("give back what ended, when a read of before is answered after that")
    func lateRunning() async throws {
        try await withDesk { desk in
            let directory = NodeDirectory()
            desk.join(directory)
            let ran = try await desk.place("box", running: true)
            directory.count(ran)
            let all = try #require(directory.fleet.free(desk.node)?.cores) + ran.spec.cores
            var ended = ran
            _ = ended.become(.failed, reason: "the VMM ended", at: ran.createdAt)
            directory.confirm(ended, at: Revision(8))
            #expect(directory.fleet.free(desk.node)?.cores == all)
            directory.confirm(ran, at: Revision(7))
            #expect(directory.fleet.free(desk.node)?.cores == all)
        }
    }

    @Test("two creates on two equal nodes: spread 1 + 1, pack 2 + 0", arguments: [true, false])
    func strategies(isSpread: Bool) async throws {
        try await withDesk(nodes: 2, strategy: isSpread ? .spread : .pack) { desk in
            try await desk.place("a")
            try await desk.place("b")
            let nodes = [try await desk.place(of: "a"), try await desk.place(of: "b")]
            #expect(Set(nodes).count == (isSpread ? 2 : 1))
        }
    }

    @Test("an explicit node is honoured by name, id and prefix, or refused and never moved")
    func explicit() async throws {
        try await withDesk(nodes: 3) { desk in
            for (index, text) in ["node2", desk.id(3).description, "00000"].enumerated() {
                let failure = await fault { () async throws(Fault) in
                    try await desk.place("vm\(index)") { $0.node = text }
                }
                if index == 2 {
                    #expect(failure?.reason == .ambiguousName)
                } else {
                    #expect(failure == nil)
                    let there = try await desk.place(of: "vm\(index)")
                    #expect(there == "node\(index + 2)")
                }
            }
            let large = await fault { () async throws(Fault) in
                try await desk.place("large") {
                    $0.cores = 14
                    $0.node = "node2"
                }
            }
            #expect(large?.reason == .noCapacity)
            #expect(large?.metadata["removed.explicitNode"] == "2")
            #expect(large?.metadata["removed.cores"] == "1")
        }
    }

    @Test("anti-affinity, also of VMs that come later, and of stopped ones")
    func apart() async throws {
        try await withDesk(nodes: 3) { desk in
            for index in 1...3 {
                try await desk.place("web-\(index)", running: index > 1) { web in
                    web.labels = ["app": "web"]
                    web.placement.affinities = [.init(.apart, selector: "app=web")]
                }
            }
            var nodes: Set<String> = []
            for index in 1...3 { nodes.insert(try await desk.place(of: "web-\(index)")) }
            #expect(nodes.count == 3)
            // It has no rule of its own, and those that are there keep it away.
            let failure = await fault { () async throws(Fault) in
                try await desk.place("late") { $0.labels = ["app": "web"] }
            }
            #expect(failure?.reason == .noNodeFits)
            #expect(failure?.metadata["removed.repelled"] == "3")
            try await desk.power(.delete, "web-2", force: true)
            try await desk.place("late") { $0.labels = ["app": "web"] }
        }
    }

    @Test("a VM that comes back from the trash finds its place taken")
    func undelete() async throws {
        try await withDesk { desk in
            let web = { (draft: inout VMDraft) in
                draft.labels = ["app": "web"]
                draft.placement.affinities = [.init(.apart, selector: "app=web")]
            }
            try await desk.place("old", web)
            try await desk.power(.delete, "old", force: true)
            try await desk.place("new", web)
            let failure = await fault { () async throws(Fault) in try await desk.undelete("old") }
            #expect(failure?.reason == .noNodeFits)
            try await desk.power(.delete, "new", force: true)
            try await desk.purge("new")
            try await desk.undelete("old")
            let again = await fault { () async throws(Fault) in try await desk.place("new", web) }
            #expect(again?.reason == .noNodeFits)
        }
    }

    @Test("many creates at once never break an anti-affinity, and fill every node")
    func atOnce() async throws {
        try await withDesk(nodes: 5) { desk in
            let outcomes = await withTaskGroup(of: Fault?.self) { group in
                for index in 0..<20 {
                    group.addTask {
                        await fault { () async throws(Fault) in
                            try await desk.place("web-\(index)") { web in
                                web.labels = ["app": "web"]
                                web.placement.affinities = [.init(.apart, selector: "app=web")]
                            }
                        }
                    }
                }
                return await group.reduce(into: [Fault?]()) { $0.append($1) }
            }
            #expect(outcomes.count { $0 == nil } == 5)
            let page = try await desk.vms.list(VMFilter(), size: 100, token: nil)
            #expect(Set(page.vms.map(\.row.status.node)).count == page.vms.count)
        }
    }

    @Test("a spread over racks, required labels, tolerations and preferred nodes are followed")
    func others() async throws {
        try await withDesk(nodes: 3) { desk in
            for (node, rack) in [("node1", "r1"), ("node2", "r1"), ("node3", "r2")] {
                _ = try await desk.fleet.change(node, .labels(set: ["rack": rack], remove: []))
            }
            for index in 1...4 {
                try await desk.place("s\(index)") { draft in
                    draft.labels = ["app": "s"]
                    draft.placement.spreads = [.init(over: "rack")]
                }
            }
            var onThree = 0
            for index in 1...4 where try await desk.place(of: "s\(index)") == "node3" {
                onThree += 1
            }
            #expect(onThree == 2)
            let asked = try await desk.place("r2") { $0.placement.requiredLabels = "rack=r2" }
            #expect(asked.status.node == desk.id(3))
            let taint = FleetService.Change.taints(set: [Taint("gpu", "yes")], remove: [])
            _ = try await desk.fleet.change("node1", taint)
            let plain = try await desk.place("plain") { draft in
                draft.placement.preferredNodes = [.init("node1", weight: 100)]
            }
            #expect(plain.status.node != desk.id(1))
            let tolerant = try await desk.place("tolerant") { draft in
                draft.placement.preferredNodes = [.init("node1", weight: 100)]
                draft.placement.tolerations = [Toleration(key: "gpu")]
            }
            #expect(tolerant.status.node == desk.id(1))
            let near = try await desk.place("near") { draft in
                draft.placement.affinities = [.init(.together, vm: "r2")]
            }
            #expect(near.status.node == desk.id(3))
        }
    }

    @Test("a refusal says constraint, count and a change that does help")
    func refusal() async throws {
        try await withDesk(nodes: 2) { desk in
            _ = try await desk.fleet.change("node1", .cordon(reason: "disks"))
            _ = try await desk.fleet.change("node2", .cordon(reason: ""))
            let failure = await fault { () async throws(Fault) in try await desk.place("vm") }
            #expect(failure?.reason == .noNodeFits)
            #expect(failure?.message.contains("2 × CORDONED") == true)
            let change = try #require(failure?.metadata["change"])
            #expect(change == "uncordon node1")
            _ = try await desk.fleet.change("node1", .uncordon)
            try await desk.place("vm")
        }
    }

    @Test("a fork comes to its parent's node, unless its rules or a cordon forbid it")
    func forks() async throws {
        try await withDesk(nodes: 2) { desk in
            try await desk.place("web") { draft in
                draft.labels = ["app": "web"]
                draft.placement.affinities = [.init(.apart, selector: "app=web")]
                draft.coldBoot = true
            }
            let apart = await fault { () async throws(Fault) in
                try await desk.fork("web", ForkOrder())
            }
            #expect(apart?.reason == .noNodeFits)
            try await desk.place("plain") { $0.node = "node1" }
            _ = try await desk.fleet.change("node1", .cordon(reason: ""))
            let cordoned = await fault { () async throws(Fault) in
                try await desk.fork("plain", ForkOrder())
            }
            #expect(cordoned?.reason == .noNodeFits)
            #expect(cordoned?.metadata["removed.state.CORDONED"] == "1")
        }
    }

    // MARK: Bad input

    static let bad: [(field: String, change: @Sendable (inout VMDraft) -> Void)] = [
        (
            "spec.placement.required_nodes",
            { $0.placement.requiredNodes = Array(repeating: "node1", count: 65) }
        ),
        (
            "spec.placement.affinities",
            {
                let rule = PlacementDraft.AffinityWish(.apart, selector: "a=b")
                $0.placement.affinities = Array(repeating: rule, count: 17)
            }
        ),
        ("spec.placement.affinities[0]", { $0.placement.affinities = [.init(.apart)] }),
        (
            "spec.placement.affinities[0]",
            { $0.placement.affinities = [.init(.apart, vm: "a", selector: "b=c")] }
        ),
        (
            "spec.placement.affinities[0].selector",
            { $0.placement.affinities = [.init(.apart, selector: "a=b=c d")] }
        ),
        (
            "spec.placement.affinities[0].weight",
            { $0.placement.affinities = [.init(.apart, selector: "a=b", weight: 101)] }
        ),
        (
            "spec.placement.affinities[0]",
            {
                $0.placement.affinities = [
                    .init(.apart, selector: "a=b"), .init(.together, selector: "a=b"),
                ]
            }
        ),
        ("spec.placement.required_labels", { $0.placement.requiredLabels = "rack=r 1" }),
        ("spec.placement.spreads[0].over", { $0.placement.spreads = [.init(over: "no key")] }),
        (
            "spec.placement.spreads[0].max_skew",
            { $0.placement.spreads = [.init(over: "rack", maxSkew: 1001)] }
        ),
        (
            "spec.placement.tolerations[0][a b]",
            { $0.placement.tolerations = [Toleration(key: "a b")] }
        ),
        ("spec.placement.excluded_nodes[0]", { $0.placement.excludedNodes = [""] }),
        (
            "spec.placement.excluded_nodes[0]",
            {
                $0.placement.requiredNodes = ["node1"]
                $0.placement.excludedNodes = ["node1"]
            }
        ),
        (
            "node",
            {
                $0.node = "node1"
                $0.placement.excludedNodes = ["node1"]
            }
        ),
    ]

    @Test("a bad rule is refused by its field", arguments: bad.indices)
    func badRule(index: Int) async throws {
        try await withDesk { desk in
            let failure = await fault { () async throws(Fault) in
                try await desk.place("vm", Self.bad[index].change)
            }
            #expect(failure?.reason == .invalidFields)
            #expect(failure?.violations.map(\.field) == [Self.bad[index].field])
        }
    }

    @Test("a node or VM that is not there is named with its field")
    func unknown() async throws {
        try await withDesk { desk in
            let node = await fault { () async throws(Fault) in
                try await desk.place("vm") { $0.placement.requiredNodes = ["nobody"] }
            }
            #expect(node?.reason == .nodeNotFound)
            #expect(node?.message.contains("spec.placement.required_nodes[0]") == true)
            let vm = await fault { () async throws(Fault) in
                try await desk.place("vm") { $0.placement.affinities = [.init(.apart, vm: "no")] }
            }
            #expect(vm?.reason == .vmNotFound)
            let made = try await desk.vms.list(VMFilter(), size: 10, token: nil).vms
            #expect(made.isEmpty)
        }
    }
}

extension Desk {
    /// The id of the node of this number.
    func id(_ number: Int) -> NodeID { NodeID(bits: UInt128(number)) }
}
