import RoostModel
import RoostScheduler
import Testing

/// A node with an easy number for its id.
func node(_ number: Int, cores: Int = 5, memoryMiB: Int = 5120) -> NodeFacts {
    NodeFacts(
        id: NodeID(bits: UInt128(number)),
        name: "n\(number)",
        cores: cores,
        memoryMiB: memoryMiB
    )
}

func vm(_ number: Int) -> VMID { VMID(bits: UInt128(number)) }

let small = PlacementRequest(cores: 1, memoryMiB: 512)

@Suite("Placement")
struct PlacementTests {
    /// The node's number, or `nil` for a refusal; a VM put there takes its room.
    private func put(
        _ number: Int,
        _ request: PlacementRequest,
        in fleet: inout Fleet
    ) throws -> UInt128? {
        guard let id = try fleet.place(request, for: vm(number)).node else { return nil }
        try fleet.add(vm(number), request, on: id)
        return id.bits
    }

    @Test func aNodeFitsUpToItsOvercommitAndNotBeyond() throws {
        // (5 − 1) × 2.0 = 8 cores and (3072 − 1024) × 1.5 = 3072 MiB, of which 2 and 1024 are used.
        var fleet = Fleet(nodes: [node(1, memoryMiB: 3072)])
        try fleet.add(vm(1), PlacementRequest(cores: 2, memoryMiB: 1024), on: node(1).id)
        let most = PlacementRequest(cores: 6, memoryMiB: 2048)
        #expect(try fleet.place(most).node == node(1).id)
        for (request, constraint) in [
            (PlacementRequest(cores: 7, memoryMiB: 2048), Constraint.cores),
            (PlacementRequest(cores: 6, memoryMiB: 2049), .memory),
        ] {
            let placement = try fleet.place(request)
            #expect(placement.node == nil)
            #expect(placement.explanation.removed == [.init(constraint: constraint, nodes: 1)])
        }
    }

    @Test func twoEqualNodesTakeOneEachWhenSpreadAndBothGoToOneWhenPacked() throws {
        for (strategy, second) in [(PlacementStrategy.spread, 2 as UInt128), (.pack, 1)] {
            var fleet = Fleet(strategy: strategy, nodes: [node(1), node(2)])
            #expect(try put(1, small, in: &fleet) == 1)
            #expect(try put(2, small, in: &fleet) == second)
        }
    }

    @Test func anExplicitNodeIsHonouredOrRefusedAndNeverMoved() throws {
        var fleet = Fleet(nodes: [node(1, cores: 2, memoryMiB: 1100), node(2, cores: 64)])
        var request = PlacementRequest(cores: 1, memoryMiB: 64, node: node(1).id)
        #expect(try fleet.place(request).node == node(1).id)
        request.memoryMiB = 4096
        let placement = try fleet.place(request)
        #expect(placement.node == nil)
        #expect(
            placement.explanation.removed == [
                .init(constraint: .explicitNode, nodes: 1), .init(constraint: .memory, nodes: 1),
            ]
        )
        request.node = NodeID(bits: 9)
        #expect {
            try fleet.place(request)
        } throws: { ($0 as? Fault)?.reason == .nodeNotFound }
    }

    @Test func vmsThatAreApartGoToOneNodeEachAndThenNowhere() throws {
        var fleet = Fleet(strategy: .pack, nodes: [node(1), node(2), node(3)])
        let web = Selector(terms: [.equals("app", "web")])
        let request = PlacementRequest(
            cores: 1,
            memoryMiB: 512,
            labels: ["app": "web"],
            rules: PlacementRules(affinities: [AffinityRule(.apart, .labels(web))])
        )
        #expect(try (1...4).map { try put($0, request, in: &fleet) } == [1, 2, 3, nil])
        // Who came before keeps later ones away too, whatever they think of it.
        let careless = PlacementRequest(cores: 1, memoryMiB: 512, labels: ["app": "web"])
        let placement = try fleet.place(careless)
        #expect(placement.explanation.removed == [.init(constraint: .repelled, nodes: 3)])
        fleet.remove(vm(2))
        #expect(try put(5, careless, in: &fleet) == 2)
    }

    @Test func theFirstOfAGroupThatStaysTogetherGoesAnywhereAndTheOthersFollow() throws {
        var fleet = Fleet(nodes: [node(1), node(2)])
        let group = Selector(terms: [.equals("set", "a")])
        let request = PlacementRequest(
            cores: 1,
            memoryMiB: 512,
            labels: ["set": "a"],
            rules: PlacementRules(affinities: [AffinityRule(.together, .labels(group))])
        )
        #expect(try (1...3).map { try put($0, request, in: &fleet) } == [1, 1, 1])
        var stranger = request
        stranger.labels = [:]
        stranger.rules.affinities = [AffinityRule(.together, .vm(vm(99)))]
        #expect(try fleet.place(stranger).node == nil)
    }

    @Test func aSpreadKeepsRacksEvenAlsoWhenOneRackHasMoreRoom() throws {
        var nodes = [node(1, cores: 64, memoryMiB: 65_536), node(2), node(3)]
        for (index, rack) in ["a", "b", "b"].enumerated() { nodes[index].labels = ["rack": rack] }
        var fleet = Fleet(nodes: nodes)
        let request = PlacementRequest(
            cores: 1,
            memoryMiB: 512,
            labels: ["app": "db"],
            rules: PlacementRules(spreads: [
                SpreadRule(over: "rack", among: Selector(terms: [.equals("app", "db")]))
            ])
        )
        var counts: [String: Int] = [:]
        for number in 1...6 {
            let id = try #require(try put(number, request, in: &fleet))
            counts[id == 1 ? "a" : "b", default: 0] += 1
            let difference = abs(counts["a", default: 0] - counts["b", default: 0])
            #expect(difference <= 1)
        }
        // A rack that takes nothing does not hold back the others.
        nodes[0].state = .cordoned
        fleet.join([nodes[0]])
        #expect(try put(7, request, in: &fleet) != nil)
        #expect(try put(8, request, in: &fleet) != nil)
    }

    @Test func stoppedVMsHoldDiskAndTheirPlaceInGroupsButNoCoresAndMemory() throws {
        var facts = node(1)
        facts.diskGiB = 10
        var fleet = Fleet(nodes: [facts])
        let large = PlacementRequest(cores: 8, memoryMiB: 6144, diskGiB: 6)
        try fleet.add(vm(1), large, on: facts.id, isRunning: false)
        var request = large
        request.diskGiB = 4
        #expect(try fleet.place(request).node == facts.id)
        request.diskGiB = 5
        let removed = try fleet.place(request).explanation.removed
        #expect(removed == [.init(constraint: .disk, nodes: 1)])
    }

    @Test func aReservationOnANodeChecksItsRoomAndNotItsState() throws {
        var facts = node(1)
        facts.state = .cordoned
        var fleet = Fleet(nodes: [facts])
        let whole = PlacementRequest(cores: 8, memoryMiB: 6144)
        try fleet.reserve(vm(1), whole, on: facts.id)
        // What it holds itself is not in its way.
        try fleet.reserve(vm(1), whole, on: facts.id)
        #expect(fleet.free(facts.id)?.cores == 0)
        for held in [
            PlacementRequest(cores: 8, memoryMiB: 512), PlacementRequest(cores: 1, memoryMiB: 6144),
        ] {
            try fleet.reserve(vm(1), held, on: facts.id)
            #expect {
                try fleet.reserve(vm(2), small, on: facts.id)
            } throws: { ($0 as? Fault)?.reason == .noCapacity }
        }
    }

    @Test func aVMThatComesBackMeetsOnlyTheRulesAboutOthers() throws {
        var facts = node(1)
        facts.state = .cordoned
        var fleet = Fleet(nodes: [facts, node(2)])
        var web = small
        web.labels = ["app": "web"]
        var loner = web
        let apart = VMGroup.labels(try Selector("app=web"))
        loner.rules.affinities = [AffinityRule(.apart, apart)]
        let large = PlacementRequest(cores: 200, memoryMiB: 512)
        // Neither its state nor its room is in the way.
        #expect(try fleet.conflict(large, on: facts.id, for: vm(1)) == nil)
        try fleet.add(vm(1), web, on: facts.id, isRunning: false)
        #expect(try fleet.conflict(loner, on: facts.id, for: vm(2)) == .affinity(0))
        #expect(try fleet.conflict(loner, on: node(2).id, for: vm(2)) == nil)
        try fleet.add(vm(1), loner, on: facts.id, isRunning: false)
        #expect(try fleet.conflict(web, on: facts.id, for: vm(2)) == .repelled)
        #expect(fleet.residentCounts == [facts.id: 1])
        fleet.count(vm(1), web, on: facts.id, isRunning: false)
        #expect(try fleet.conflict(web, on: facts.id, for: vm(2)) == nil)
        fleet.count(vm(1), web, on: node(2).id, isRunning: true)
        #expect(fleet.free(facts.id)?.cores == 8 && fleet.free(node(2).id)?.cores == 7)
        var one = small
        one.rules.affinities = [AffinityRule(.apart, .vm(vm(7)))]
        try fleet.add(vm(3), one, on: facts.id)
        #expect(try fleet.conflict(small, on: facts.id, for: vm(7)) == .repelled)
        #expect(try fleet.conflict(small, on: facts.id, for: vm(8)) == nil)
    }
}
