import RoostModel
import RoostScheduler
import RoostTestKit
import Testing

@Suite("Rebalancing")
struct RebalanceTests {
    @Test func aFullNodeGivesToAnEmptyOneUntilTheGainIsSmall() throws {
        var fleet = Fleet(nodes: [node(1), node(2)])
        for number in 1...6 { try fleet.add(vm(number), small, on: node(1).id) }
        let moves = try fleet.rebalance()
        #expect(moves.map(\.to) == [node(2).id, node(2).id, node(2).id])
        #expect(moves.map(\.vm) == [vm(1), vm(2), vm(3)])
    }

    @Test func packingEmptiesTheEmptierNode() throws {
        var fleet = Fleet(strategy: .pack, nodes: [node(1), node(2)])
        for number in 1...4 { try fleet.add(vm(number), small, on: node(1).id) }
        try fleet.add(vm(5), small, on: node(2).id)
        let moves = try fleet.rebalance()
        #expect(moves.map(\.vm) == [vm(5)])
        #expect(moves.first?.to == node(1).id)
    }

    @Test func whatDoesNotRunStaysUnlessARuleIsBroken() throws {
        var fleet = Fleet(nodes: [node(1), node(2)])
        var bound = small
        bound.rules.requiredNodes = [node(1).id]
        for number in 1...6 { try fleet.add(vm(number), bound, on: node(1).id) }
        try fleet.add(vm(8), small, on: node(1).id, isRunning: false)
        #expect(try fleet.rebalance() == [])
        var request = small
        request.rules.excludedNodes = [node(1).id]
        try fleet.add(vm(7), request, on: node(1).id, isRunning: false)
        #expect(try fleet.rebalance().map(\.reason) == [.broken(.excludedNodes)])
    }

    @Test func aRuleThatIsBrokenIsMendedFirst() throws {
        var fleet = Fleet(nodes: [node(1), node(2)])
        var request = small
        request.labels = ["app": "web"]
        request.rules.affinities = [
            AffinityRule(.apart, .labels(Selector(terms: [.equals("app", "web")])))
        ]
        try fleet.add(vm(1), request, on: node(1).id)
        try fleet.add(vm(2), request, on: node(1).id)
        let moves = try fleet.rebalance()
        #expect(moves.map(\.reason) == [.broken(.repelled)])
        #expect(moves.map(\.to) == [node(2).id])
    }

    /// On the plain fleet: each move in turn goes where a new VM of its kind would.
    @Test(arguments: 0..<20 as Range<UInt64>)
    func everyMoveIsPossibleAndNoVMMovesTwice(block: UInt64) throws {
        var moved = 0
        for seed in (block * 10)..<(block * 10 + 10) {
            var twin = Twin(seed: seed &+ 3_000_000)
            for _ in 0..<30 {
                if twin.draw.oneIn(2) { try twin.disturb() }
                let request = twin.shape()
                guard let node = try twin.fleet.place(request).node else { continue }
                try twin.put(twin.newVM(), request, node)
            }
            let moves = try twin.fleet.rebalance(minimumGain: 50_000, limit: 10)
            #expect(Set(moves.map(\.vm)).count == moves.count)
            for move in moves {
                let index = try #require(twin.naive.guests.firstIndex { $0.vm == move.vm })
                var guest = twin.naive.guests.remove(at: index)
                guest.request.node = nil
                #expect(guest.node == move.from)
                let node = twin.naive.place(guest.request, for: guest.vm).node
                try #require(node == move.to, "seed \(seed): \(move)")
                guest.node = move.to
                twin.naive.guests.append(guest)
            }
            moved += moves.count
        }
        #expect(moved > 0)
    }
}
