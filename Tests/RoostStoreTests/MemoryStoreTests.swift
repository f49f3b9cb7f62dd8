import RoostModel
import RoostStore
import RoostTestKit
import Testing

@Suite("The memory store")
struct MemoryStoreTests {
    @Test("keeps the contract", arguments: StoreConformance.all)
    func conforms(_ check: StoreConformance) async throws {
        try await check.run(on: MemoryStore())
    }

    @Test("outlives its process: another store on the disk goes on where the first was")
    func survivesACrash() async throws {
        let disk = MemoryDisk()
        let before = try MemoryStore(disk: disk).commit(.putting([SampleVM("a")]))
        let after = MemoryStore(disk: disk)
        #expect(try after.get(SampleVM.self, "a")?.version == before)
        #expect(try after.commit(.putting([SampleVM("b")])) == Revision(2))
        let backup = disk.copy()
        try after.commit(.putting([SampleVM("c")]))
        #expect(MemoryStore(disk: backup).revision() == Revision(2))
    }

    @Test(
        "fails as it is told, and says the truth about what was written",
        arguments: [
            (MemoryCommitFailure.diskFull, Reason.diskFull, false, false),
            (.ioFailed, .ioFailed, false, false),
            (.unknownNotApplied, .ioFailed, true, false),
            (.unknownApplied, .ioFailed, true, true),
        ]
    )
    func fails(
        _ failure: MemoryCommitFailure,
        reason: Reason,
        isUnknown: Bool,
        isApplied: Bool
    ) async throws {
        let disk = MemoryDisk()
        let store = MemoryStore(disk: disk, failing: { _ in failure })
        let fault = #expect(throws: Fault.self) {
            try store.commit(.putting([SampleVM("a")]))
        }
        #expect(fault?.reason == reason)
        #expect(fault?.outcomeIsUnknown == isUnknown)
        #expect((try store.get(SampleVM.self, "a") != nil) == isApplied)
        #expect(store.revision() == Revision(isApplied ? 1 : 0))
    }

    @Test("answers a conflict as a conflict, also when the answer was to get lost")
    func conflictBeforeUnknown() throws {
        let disk = MemoryDisk()
        try MemoryStore(disk: disk).commit(.putting([SampleVM("a")]))
        let store = MemoryStore(disk: disk, failing: { _ in .unknownApplied })
        let fault = #expect(throws: Fault.self) {
            try store.commit(.of { $0.insert(SampleVM("a")) })
        }
        #expect(fault?.reason == .storeConflict)
    }

    @Test("keeps 20,000 rows in order through inserts and deletions at random")
    func manyRows() throws {
        let store = MemoryStore()
        var random = SplitMix64(seed: 1)
        var wanted: Set<String> = []
        for _ in 0..<200 {
            var batch = Batch()
            for _ in 0..<150 {
                let key = String(UInt16(truncatingIfNeeded: random.next()), radix: 36)
                if random.next() % 4 == 0 {
                    batch.delete(SampleVM.self, key)
                    wanted.remove(key)
                } else {
                    batch.put(SampleVM(key))
                    wanted.insert(key)
                }
            }
            try store.commit(batch)
        }
        var found: [String] = []
        var query = Query(limit: 999)
        while true {
            let page = try store.list(SampleVM.self, query).rows.map(\.row.id)
            guard let last = page.last else { break }
            found += page
            query.after = last
        }
        #expect(found == wanted.sorted())
    }
}
