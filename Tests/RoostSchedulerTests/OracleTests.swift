import RoostModel
import RoostScheduler
import RoostTestKit
import Testing

@Suite("The scheduler and a plain one")
struct OracleTests {
    /// 40 × 50 fleets, each with forty questions between changes of every kind.
    @Test(arguments: 0..<40 as Range<UInt64>)
    func everyAnswerIsThePlainOnes(block: UInt64) throws {
        for seed in (block * 50)..<(block * 50 + 50) {
            var twin = Twin(seed: seed)
            for step in 0..<40 {
                if twin.draw.oneIn(3) { try twin.disturb() }
                let request = twin.shape()
                let vm = twin.draw.oneIn(3) ? twin.vms.randomElement(using: &twin.draw.chance) : nil
                let wanted = twin.naive.place(request, for: vm)
                let got = try twin.fleet.place(request, for: vm)
                try require(got, is: wanted, "seed \(seed), step \(step)")
                if vm == nil, let node = got.node { try twin.put(twin.newVM(), request, node) }
            }
        }
    }

    private func require(
        _ got: Placement,
        is wanted: NaiveFleet.Answer,
        _ place: String
    ) throws {
        try #require(got.node == wanted.node, "\(place)")
        let explanation = got.explanation
        let removed = Dictionary(
            uniqueKeysWithValues: explanation.removed.map { ($0.constraint, $0.nodes) }
        )
        try #require(removed == wanted.removed, "\(place)")
        let all = explanation.removed.reduce(explanation.fitting) { $0 + $1.nodes }
        try #require(all == explanation.nodes, "\(place)")
        if wanted.node != nil {
            try #require(explanation.best.first?.score == wanted.score, "\(place)")
        }
        for scored in explanation.best {
            try #require(scored.parts.sum == scored.score, "\(place)")
        }
    }
}
