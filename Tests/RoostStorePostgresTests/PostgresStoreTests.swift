import Foundation
import RoostModel
import RoostStore
import RoostStorePostgres
import RoostTestKit
import Testing

@Suite("A PostgreSQL store", .cluster)
struct PostgresStoreTests {
    static let ways = [false, true]

    @Test(
        "keeps the contract, directly and through a pooler",
        arguments: StoreConformance.all,
        ways
    )
    func conforms(_ check: StoreConformance, isPooled: Bool) async throws {
        let address = try await sharedCluster().database(pooled: isPooled)
        try await withStore(address) { (store) async throws in
            #expect(store.isPooled == isPooled)
            try await check.run(on: store)
        }
    }

    @Test(
        "answers random programs as the memory store does",
        arguments: 1...12 as ClosedRange<UInt64>
    )
    func agreesWithMemory(seed: UInt64) async throws {
        let address = try await sharedCluster().database(pooled: seed % 3 == 0)
        try await withStore(address) { (store) async throws in
            var onServer = StoreProgram(seed: seed)
            var inMemory = StoreProgram(seed: seed)
            let found = await onServer.run(steps: 300, on: store)
            let wanted = await inMemory.run(steps: 300, on: MemoryStore())
            for (one, other) in zip(found, wanted) where one != other {
                Issue.record("seed \(seed): PostgreSQL \(one), memory \(other)")
                break
            }
            #expect(found.count == wanted.count)
        }
    }

    @Test("has everything again after it was closed and opened")
    func reopens() async throws {
        let address = try await sharedCluster().database()
        let row = SampleVM("a", labels: ["x"], note: "n")
        try await withStore(address) { (store) async throws in
            try await store.commit(.putting([row]))
            try await store.commit(.putting([SampleVM("b")]))
            try await store.compact(upTo: Revision(1))
        }
        try await withStore(address) { (store) async throws in
            #expect(try await store.get(SampleVM.self, "a")?.row == row)
            let labelled = Query(matching: [IndexEntry("label", "x")])
            #expect(try await store.list(SampleVM.self, labelled).rows.count == 1)
            #expect(try await store.commit(.putting([row])) == Revision(3))
            await #expect(throws: Fault.self) {
                try await store.changes(after: Revision(0), limit: 1)
            }
        }
    }

    @Test("answers shuttingDown once it is closed")
    func closed() async throws {
        let store = try await PostgresStore.open(try await sharedCluster().database())
        await store.close()
        let read = await #expect(throws: Fault.self) { try await store.revision() }
        #expect(read?.reason == .shuttingDown)
        let write = await #expect(throws: Fault.self) {
            try await store.commit(.putting([SampleVM("a")]))
        }
        #expect(write?.reason == .shuttingDown)
        let wait = await #expect(throws: Fault.self) {
            try await store.revision(after: Revision(0), within: .seconds(1))
        }
        #expect(wait?.reason == .shuttingDown)
    }

    @Test("is made once when many open it at the same moment")
    func racingMigrations() async throws {
        let address = try await sharedCluster().database()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<6 {
                group.addTask {
                    try await withStore(address) { (store) async throws in
                        _ = try await store.commit(.putting([SampleVM("\(number)")]))
                    }
                }
            }
            try await group.waitForAll()
        }
        try await withStore(address) { (store) async throws in
            #expect(try await store.revision() == Revision(6))
        }
    }

    @Test("with one row that does not decode refuses the list and names the row")
    func undecodableRow() async throws {
        let cluster = try sharedCluster()
        let address = try await cluster.database()
        try await withStore(address) { (store) async throws in
            try await store.commit(.putting([SampleVM("a"), SampleVM("b")]))
            try await cluster.sql(
                "UPDATE roost.row SET body = '{\"id\":1}' WHERE key = 'b'",
                in: database(address)
            )
            let fault = await #expect(throws: Fault.self) {
                try await store.list(SampleVM.self, Query())
            }
            #expect(fault?.reason == .stateUnreadable)
            #expect(fault?.metadata["key"] == "b")
            #expect(try await store.get(SampleVM.self, "a") != nil)
        }
    }

    @Test("compacts more than one slice of changes, and leaves none of them behind")
    func compaction() async throws {
        let cluster = try sharedCluster()
        let address = try await cluster.database()
        try await withStore(address) { (store) async throws in
            try await together(64) { task in
                for round in 0..<40 {
                    try await store.commit(.putting([SampleVM("\(task)", count: round)]))
                }
            }
            try await store.compact(upTo: Revision(2_500))
            let left = try await cluster.sql(
                "SELECT count(*) FROM roost.change",
                in: database(address)
            )
            #expect(left == "60")
            #expect(try await store.changes(after: Revision(2_500), limit: 100).changes.count == 60)
        }
    }
}

@Suite("Two PostgreSQL stores on one database", .cluster)
struct TwoStoresTests {
    @Test(
        "sell nothing twice, give no name twice, number all commits in one row",
        arguments: [false, true]
    )
    func race(isPooled: Bool) async throws {
        let address = try await sharedCluster().database(pooled: isPooled)
        try await withStore(address) { one in
            try await withStore(address) { two in
                try await one.commit(.putting([SampleVM("room", count: 100)]))
                let stores = [one, two]
                let won = try await together(16) { task in
                    let store = stores[task % 2]
                    var taken: [Revision] = []
                    for name in 0..<15 {
                        guard let old = try await store.get(SampleVM.self, "room") else { continue }
                        guard old.row.count > 0 else { break }
                        var batch = Batch()
                        batch.replace(old, with: SampleVM("room", count: old.row.count - 1))
                        batch.insert(SampleName("name-\(name)-\(task / 4)", "\(task)"))
                        do {
                            taken.append(try await store.commit(batch))
                        } catch let fault as Fault where fault.reason == .storeConflict {
                            continue
                        }
                    }
                    return taken
                }.flatMap { $0 }
                let names = try await two.list(SampleName.self, Query()).rows
                let room = try await one.get(SampleVM.self, "room")?.row.count
                #expect(room == 100 - won.count)
                #expect(names.count == won.count)
                #expect(Set(won).count == won.count)
                let page = try await two.changes(after: Revision(0), limit: 10_000)
                let seen = Set(page.changes.map(\.revision.number)).sorted()
                #expect(seen == (1...Int64(won.count + 1)).map { $0 })
            }
        }
    }

    @Test("who reads on in one of them sees every commit of both, once and in order")
    func watch() async throws {
        let address = try await sharedCluster().database()
        try await withStore(address) { one in
            try await withStore(address) { two in
                let seen = try await together(9) { task -> [Int64] in
                    guard task == 0 else {
                        for round in 0..<25 {
                            let row = SampleVM("\(task)-\(round)")
                            try await (task % 2 == 0 ? one : two).commit(.putting([row]))
                        }
                        return []
                    }
                    var revisions: [Int64] = []
                    var cursor = Revision(0)
                    while cursor < Revision(200) {
                        _ = try await two.revision(after: cursor, within: .seconds(20))
                        let page = try await two.changes(after: cursor, limit: 7)
                        revisions += page.changes.map(\.revision.number)
                        cursor = page.revision
                    }
                    return revisions
                }
                #expect(seen[0] == (1...200).map { $0 })
            }
        }
    }

    // Looking comes only after a minute here: what wakes the directly connected one is the
    // notification. Through the pooler none can come, and looking alone has to do.
    @Test("a wait ends with the other's commit", arguments: [false, true])
    func bell(isPooled: Bool) async throws {
        let address = try await sharedCluster().database(pooled: isPooled)
        var options = PostgresOptions(readers: 1)
        if !isPooled { options.pollInterval = .seconds(60) }
        try await withStore(address) { one in
            try await withStore(address, options) { two in
                let none = try await two.revision(after: Revision(0), within: .milliseconds(1))
                #expect(none == Revision(0))
                let clock = ContinuousClock()
                let start = clock.now
                async let woken = two.revision(after: Revision(0), within: .seconds(50))
                try await one.commit(.putting([SampleVM("a")]))
                #expect(try await woken == Revision(1))
                #expect(clock.now - start < .seconds(30))
            }
        }
    }
}

/// The database's name in `address`.
func database(_ address: PostgresAddress) -> String {
    let place = address.name.split(separator: "?").first ?? ""
    return String(place.split(separator: "/").last ?? "")
}

/// Runs `body` in `count` tasks at once and answers what they answered, by their number.
@discardableResult
func together<T: Sendable>(
    _ count: Int,
    _ body: @escaping @Sendable (Int) async throws -> T
) async throws -> [T] {
    try await withThrowingTaskGroup(of: (Int, T).self) { group in
        for number in 0..<count {
            group.addTask { (number, try await body(number)) }
        }
        var answers: [(Int, T)] = []
        for try await answer in group { answers.append(answer) }
        return answers.sorted { $0.0 < $1.0 }.map(\.1)
    }
}
