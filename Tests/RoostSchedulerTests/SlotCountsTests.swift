import RoostTestKit
import Testing

@testable import RoostScheduler

@Suite("Counts by slot")
struct SlotCountsTests {
    /// Against a dictionary, with few slots, so that homes collide and holes are closed.
    @Test(arguments: 0..<40 as Range<UInt64>)
    func theyCountAsADictionaryDoes(seed: UInt64) {
        var chance = SplitMix64(seed: seed)
        var counts = SlotCounts()
        var wanted: [Int: Int] = [:]
        for _ in 0..<400 {
            let slot = Int.random(in: 0..<24, using: &chance) * 1009
            let delta = Int.random(in: -1...2, using: &chance)
            counts.add(delta, at: slot)
            wanted[slot, default: 0] += delta
            if wanted[slot] == 0 { wanted[slot] = nil }
        }
        for slot in 0..<24 { #expect(counts[slot * 1009] == wanted[slot * 1009] ?? 0) }
        #expect(counts.rising == wanted.keys.sorted())
        #expect(counts[5] == 0)
    }
}
