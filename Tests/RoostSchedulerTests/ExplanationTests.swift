import Foundation
import RoostModel
import RoostScheduler
import RoostTestKit
import Testing

@Suite("Explanations")
struct ExplanationTests {
    private static let web = Selector(terms: [.equals("app", "web")])

    /// Eight nodes, each with another reason to refuse or to be good.
    static func fleet() throws -> Fleet {
        var nodes = (1...8).map { node($0, cores: 9, memoryMiB: 9216) }
        for index in nodes.indices { nodes[index].labels = ["rack": index < 4 ? "r1" : "r2"] }
        nodes[0].state = .cordoned
        nodes[1].taints = [Taint("gpu", "yes")]
        nodes[2].cores = 1
        nodes[3].labels = [:]
        nodes[4].artifacts = [Artifact(.image, "debian")]
        nodes[5].taints = [Taint("old", "", .preferNoSchedule)]
        var fleet = Fleet(nodes: nodes)
        try fleet.add(vm(1), PlacementRequest(cores: 2, memoryMiB: 2048), on: nodes[6].id)
        return fleet
    }

    static let request = PlacementRequest(
        cores: 2,
        memoryMiB: 1024,
        labels: ["app": "web"],
        rules: PlacementRules(
            preferredNodes: [NodePreference(node(8).id, weight: 20)],
            affinities: [AffinityRule(.apart, .labels(web))],
            spreads: [SpreadRule(over: "rack", among: web, maxSkew: 2)],
            localities: [LocalityRule(Artifact(.image, "debian"), .preferred(weight: 15))]
        )
    )

    private func name(_ id: NodeID) -> String { "n\(id.bits)" }

    @Test func aDecisionAndARefusalReadAsTheyDoInTheGoldenFile() throws {
        var fleet = try Self.fleet()
        var text = ""
        for number in 2...5 {
            let placement = try fleet.place(Self.request)
            text += placement.explanation.text(Self.request.rules, names: name) + "\n"
            guard let chosen = placement.node else { continue }
            text += "→ \(name(chosen))\n\n"
            try fleet.add(vm(number), Self.request, on: chosen)
        }
        if case .refused(let refusal) = try fleet.place(Self.request) {
            text += refusal.explanation.text(Self.request.rules, names: name) + "\n"
            let remedies = try fleet.remedies(for: Self.request)
            for remedy in remedies {
                let changes = remedy.changes.map { $0.text(Self.request.rules, names: name) }
                text += "  try: \(changes.joined(separator: " and ")) → \(name(remedy.node))\n"
            }
            let fault = refusal.fault(change: "uncordon n1")
            text += "\(fault)\nremedy: \(fault.remedy)\n"
        }
        #expect(try goldenDifference(text, named: "explanation.txt") == nil)
    }

    @Test func aReservationNamesTheNodesVersionAndEveryGroupThatARequiredRuleReads() throws {
        var fleet = Fleet()
        fleet.join([node(1), node(2)], at: 10)
        let db = VMGroup.labels(Selector(terms: [.equals("app", "db")]))
        let cache = VMGroup.labels(Selector(terms: [.equals("app", "cache")]))
        var request = Self.request
        request.rules = PlacementRules(
            affinities: [
                AffinityRule(.apart, db), AffinityRule(.together, .labels(Self.web)),
                AffinityRule(.apart, cache, .preferred(weight: 1)),
            ]
        )
        _ = try fleet.place(request)
        var other = small
        other.labels = ["app": "db"]
        try fleet.add(vm(1), other, on: node(1).id, at: 20)
        guard case .placed(let decision) = try fleet.place(request) else {
            Issue.record("refused")
            return
        }
        #expect(decision.reservation.node == node(2).id)
        #expect(decision.reservation.nodeVersion == 10)
        #expect(
            decision.reservation.groups == [
                GroupCondition(group: db, version: 20, reach: .node),
                // Nobody is in it: that must be so everywhere.
                GroupCondition(group: .labels(Self.web), version: 10, reach: .fleet),
            ]
        )
        #expect(decision.explanation.revision == 20)
    }

    /// It is stored with the VM, so it must come back as it was.
    @Test func anExplanationSurvivesItsStorage() throws {
        var fleet = try Self.fleet()
        for request in [Self.request, PlacementRequest(cores: 256, memoryMiB: 1024)] {
            let explanation = try fleet.place(request).explanation
            let stored = try JSONEncoder().encode(explanation)
            #expect(try JSONDecoder().decode(Explanation.self, from: stored) == explanation)
        }
        let rules = try JSONEncoder().encode(Self.request.rules)
        #expect(try JSONDecoder().decode(PlacementRules.self, from: rules) == Self.request.rules)
    }
}
