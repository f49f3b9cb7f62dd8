import RoostModel
import RoostScheduler
import Testing

@Suite("Rules from outside")
struct RulesTests {
    private static let apart = AffinityRule(.apart, .labels(.all))

    /// Each bad value with the field that the refusal must name.
    private static let bad: [(field: String, change: @Sendable (inout PlacementRequest) -> Void)] =
        [
            ("spec.cpu.cores", { $0.cores = 0 }),
            ("spec.memory.size_mib", { $0.memoryMiB = 2_000_000 }),
            ("spec.disk.size_gib", { $0.diskGiB = -1 }),
            ("labels[a b]", { $0.labels = ["a b": "c"] }),
            (
                "spec.placement.excluded_nodes[0]",
                {
                    $0.rules.requiredNodes = [node(1).id]
                    $0.rules.excludedNodes = [node(1).id]
                }
            ),
            (
                "node",
                {
                    $0.node = node(1).id
                    $0.rules.excludedNodes = [node(1).id]
                }
            ),
            (
                "node",
                {
                    $0.node = node(1).id
                    $0.rules.requiredNodes = [node(2).id]
                }
            ),
            (
                "spec.placement.preferred_nodes[0].weight",
                { $0.rules.preferredNodes = [NodePreference(node(1).id, weight: 101)] }
            ),
            (
                "spec.placement.affinities",
                { $0.rules.affinities = Array(repeating: apart, count: 17) }
            ),
            (
                "spec.placement.affinities[0].weight",
                {
                    $0.rules.affinities = [
                        AffinityRule(.apart, .labels(.all), .preferred(weight: 0))
                    ]
                }
            ),
            (
                "spec.placement.affinities[0]",
                { $0.rules.affinities = [apart, AffinityRule(.together, .labels(.all))] }
            ),
            (
                "spec.placement.spreads[0].max_skew",
                { $0.rules.spreads = [SpreadRule(over: "rack", among: .all, maxSkew: 0)] }
            ),
            (
                "spec.placement.spreads[0].over",
                { $0.rules.spreads = [SpreadRule(over: "no key", among: .all)] }
            ),
            (
                "spec.placement.spreads[1]",
                {
                    let rule = SpreadRule(over: "rack", among: .all)
                    $0.rules.spreads = [rule, rule]
                }
            ),
            (
                "spec.placement.localities[0].name",
                { $0.rules.localities = [LocalityRule(Artifact(.pool, ""), .required)] }
            ),
        ]

    @Test(arguments: bad.indices)
    func aBadValueIsRefusedByItsField(index: Int) throws {
        var request = small
        Self.bad[index].change(&request)
        var fleet = Fleet(nodes: [node(1), node(2)])
        do {
            _ = try fleet.place(request)
            Issue.record("\(Self.bad[index].field) was accepted")
        } catch {
            #expect(error.reason == .invalidFields)
            #expect(error.violations.map(\.field) == [Self.bad[index].field])
        }
    }

    @Test func whatANodeSaysOfItselfIsCheckedByField() {
        #expect(node(1).violations.isEmpty)
        var facts = node(1, cores: 0, memoryMiB: -1)
        facts.policy.cpuRatio = .infinity
        facts.policy.memoryRatio = .nan
        facts.labels = ["x y": ""]
        facts.taints = Array(repeating: Taint("gpu"), count: 33)
        #expect(
            facts.violations.map(\.field) == [
                "node.cores", "node.memory_mib", "node.cpu_ratio", "node.memory_ratio",
                "node.labels[x y]", "node.taints",
            ]
        )
    }

    @Test func figuresThatMakeNoSensePromiseNothingAndDoNotTrap() throws {
        var nodes = (1...4).map { node($0) }
        nodes[0].policy = OvercommitPolicy(cpuRatio: .infinity, memoryRatio: .nan)
        nodes[1].cores = .min
        nodes[2].memoryMiB = .max
        nodes[2].policy.memoryRatio = 1e300
        nodes[3].policy.cpuRatio = -1
        var fleet = Fleet(nodes: nodes + nodes)
        #expect(fleet.nodes.count == 4)
        #expect(nodes[0].promisableMemoryMiB == 0 && nodes[1].promisableCores == 0)
        // Far too much is still a number, and it fits.
        #expect(try fleet.place(small).node == nodes[2].id)
    }

    @Test func theLargestSumsFitTheirNumbers() throws {
        // Everything that can add points at once, sixteen times over.
        let all = VMGroup.labels(.all)
        var request = small
        request.rules.preferredNodes = [NodePreference(node(1).id, weight: 100)]
        request.rules.affinities = (0..<16).map {
            let group = Selector(terms: [.absent("k\($0)")])
            return AffinityRule(.apart, .labels(group), .preferred(weight: 100))
        }
        request.rules.spreads = ["a", "b", "c", "d"].map {
            SpreadRule(over: $0, among: .all, .preferred(weight: 100))
        }
        request.rules.localities = (0..<8).map {
            LocalityRule(Artifact(.image, "i\($0)"), .preferred(weight: 100))
        }
        var facts = node(1, cores: 65_536, memoryMiB: 1_073_741_824)
        facts.taints = (0..<32).map { Taint("t\($0)", "", .preferNoSchedule) }
        facts.policy = OvercommitPolicy(cpuRatio: 1000, memoryRatio: 1000)
        var fleet = Fleet(nodes: [facts])
        for number in 1...40 { try fleet.add(vm(number), small, on: facts.id) }
        let best = try #require(try fleet.place(request).explanation.best.first)
        #expect(best.score == best.parts.sum)
        // 16 rules, each 100 units for 16 VMs, are 256 million points less.
        #expect(best.parts.affinity == -256_000_000)
        #expect(best.parts.spread == -64_000_000)
        #expect(all.contains(nil, [:]))
    }
}
