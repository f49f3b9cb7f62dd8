import RoostModel
import RoostScheduler
import RoostTestKit
import Testing

@Suite("Remedies")
struct RemedyTests {
    private func changes(_ fleet: Fleet, _ request: PlacementRequest) throws -> [[Change]] {
        try fleet.remedies(for: request).map(\.changes)
    }

    @Test func aCordonThatIsTheOnlyObstacleComesFirst() throws {
        var nodes = [node(1), node(2, cores: 2, memoryMiB: 1536)]
        nodes[0].state = .cordoned
        let fleet = Fleet(nodes: nodes)
        let request = PlacementRequest(cores: 4, memoryMiB: 1024)
        #expect(
            try changes(fleet, request) == [
                [.uncordon(node(1).id)],
                [.addRoom(node(2).id, cores: 2, memoryMiB: 256, diskGiB: 0)],
            ]
        )
    }

    @Test func whatFitsNeedsNoRemedyAndAnEmptyFleetHasNone() throws {
        #expect(try changes(Fleet(nodes: [node(1)]), small).isEmpty)
        #expect(try changes(Fleet(), small).isEmpty)
    }

    @Test func twoObstaclesOnEveryNodeTakeTwoChanges() throws {
        var facts = node(1)
        facts.state = .draining
        facts.taints = [Taint("gpu", "yes")]
        let taint = facts.taints[0]
        let fleet = Fleet(nodes: [facts])
        #expect(try changes(fleet, small) == [[.uncordon(facts.id), .tolerate(taint)]])
    }

    /// Each remedy, carried out on the plain fleet, puts the VM where it says.
    @Test(arguments: 0..<20 as Range<UInt64>)
    func everyRemedyHelpsAsItSays(block: UInt64) throws {
        var tried = 0
        for seed in (block * 10)..<(block * 10 + 10) {
            var twin = Twin(seed: seed &+ 1_000_000)
            for _ in 0..<25 {
                if twin.draw.oneIn(3) { try twin.disturb() }
                let request = twin.shape()
                if let node = try twin.fleet.place(request).node {
                    try twin.put(twin.newVM(), request, node)
                    continue
                }
                for remedy in try twin.fleet.remedies(for: request) {
                    tried += 1
                    let node = carryOut(remedy, request, twin.naive)
                    try #require(node == remedy.node, "seed \(seed): \(remedy)")
                }
            }
        }
        #expect(tried > 0)
    }

    private func carryOut(
        _ remedy: Remedy,
        _ request: PlacementRequest,
        _ before: NaiveFleet
    ) -> NodeID? {
        var fleet = before
        var request = request
        var dropped: Set<Constraint> = []
        for change in remedy.changes {
            switch change {
            case .uncordon(let id), .bringBack(let id):
                for index in fleet.nodes.indices where fleet.nodes[index].id == id {
                    fleet.nodes[index].state = .ready
                }
            case .addRoom(let id, let cores, let memoryMiB, let diskGiB):
                fleet.extra[id] = (cores, memoryMiB, diskGiB)
            case .tolerate(let taint):
                request.rules.tolerations.append(
                    Toleration(key: taint.key, value: taint.value, effect: taint.effect)
                )
            case .raiseSkew(let rule, let skew): request.rules.spreads[rule].maxSkew = skew
            case .drop(let constraint): dropped.insert(constraint)
            }
        }
        if dropped.contains(.explicitNode) { request.node = nil }
        if dropped.contains(.requiredNodes) { request.rules.requiredNodes = [] }
        if dropped.contains(.excludedNodes) { request.rules.excludedNodes = [] }
        if dropped.contains(.requiredLabels) { request.rules.requiredLabels = .all }
        request.rules.affinities = request.rules.affinities.enumerated()
            .filter { !dropped.contains(.affinity($0.offset)) }.map(\.element)
        request.rules.spreads = request.rules.spreads.enumerated()
            .filter { !dropped.contains(.spread($0.offset)) }.map(\.element)
        request.rules.localities = request.rules.localities.enumerated()
            .filter { !dropped.contains(.locality($0.offset)) }.map(\.element)
        return fleet.place(request, for: nil).node
    }
}
