import RoostModel
import RoostScheduler
import RoostTestKit
import Testing

@Suite("Placement")
struct PlacementTests {
    private func nodes(_ seed: UInt64) -> [Candidate] {
        var generator = SplitMix64(seed: seed)
        return (0..<8).map { _ in
            Candidate(
                id: NodeID(using: &generator),
                cores: .random(in: 1...4, using: &generator),
                memoryMiB: .random(in: 1024...4096, using: &generator)
            )
        }
    }

    @Test(arguments: 0..<100 as Range<UInt64>)
    func theOrderOfCandidatesNeverChangesTheAnswer(seed: UInt64) throws {
        var generator = SplitMix64(seed: seed)
        let candidates = nodes(seed)
        let request = PlacementRequest(cores: 2, memoryMiB: 512)
        let first = Result { () throws(Fault) in try placement(request, among: candidates) }
        let shuffled = candidates.shuffled(using: &generator)
        let second = Result { () throws(Fault) in try placement(request, among: shuffled) }
        #expect((try? first.get()) == (try? second.get()))
        guard let id = try? first.get() else { return }
        let chosen = try #require(candidates.first { $0.id == id })
        #expect(chosen.freeCores >= 2 && chosen.freeMemoryMiB >= 512)
    }

    @Test func aNodeFitsUpToItsOvercommitAndNotBeyond() throws {
        // (5 − 1) × 2.0 = 8 cores and (3072 − 1024) × 1.5 = 3072 MiB, of which 2 and 1024 are used.
        let node = Candidate(
            id: NodeID(bits: 1),
            cores: 5,
            memoryMiB: 3072,
            usedCores: 2,
            usedMemoryMiB: 1024
        )
        let fits = PlacementRequest(cores: 6, memoryMiB: 2048)
        #expect(try placement(fits, among: [node]) == node.id)
        for request in [
            PlacementRequest(cores: 7, memoryMiB: 2048),
            PlacementRequest(cores: 6, memoryMiB: 2049),
        ] {
            #expect(throws: Fault.self) { try placement(request, among: [node]) }
        }
    }

    @Test func anExplicitNodeIsHonouredOrRefusedAndNeverMoved() {
        let small = Candidate(id: NodeID(bits: 1), cores: 2, memoryMiB: 1100)
        let large = Candidate(id: NodeID(bits: 2), cores: 64, memoryMiB: 65_536)
        let request = PlacementRequest(cores: 1, memoryMiB: 4096, node: small.id)
        #expect {
            try placement(request, among: [small, large])
        } throws: { ($0 as? Fault)?.reason == .noCapacity }
        let unknown = PlacementRequest(cores: 1, memoryMiB: 1, node: NodeID(bits: 9))
        #expect {
            try placement(unknown, among: [small, large])
        } throws: { ($0 as? Fault)?.reason == .nodeNotFound }
    }
}
