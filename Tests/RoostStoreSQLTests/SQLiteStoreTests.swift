import Foundation
import GRDB
import RoostModel
import RoostStore
import RoostStoreSQL
import RoostTestKit
import Testing

@Suite("The SQLite store")
struct SQLiteStoreTests {
    @Test("keeps the contract", arguments: StoreConformance.all)
    func conforms(_ check: StoreConformance) async throws {
        try await withScratch { scratch in
            let store = try await SQLiteStore.open(path: scratch.file("roost.db"))
            try await check.run(on: store)
            try await store.close()
        }
    }

    @Test(
        "answers random programs as the memory store does",
        arguments: 1...30 as ClosedRange<UInt64>
    )
    func agreesWithMemory(seed: UInt64) async throws {
        try await withScratch { scratch in
            let store = try await SQLiteStore.open(path: scratch.file("roost.db"))
            var onDisk = StoreProgram(seed: seed)
            var inMemory = StoreProgram(seed: seed)
            let found = await onDisk.run(steps: 300, on: store)
            let wanted = await inMemory.run(steps: 300, on: MemoryStore())
            for (one, other) in zip(found, wanted) where one != other {
                Issue.record("seed \(seed): SQLite \(one), memory \(other)")
                break
            }
            #expect(found.count == wanted.count)
            try await store.close()
        }
    }
}

@Suite("An SQLite file")
struct SQLiteFileTests {
    @Test("has everything again after it was closed and opened")
    func reopens() async throws {
        try await withScratch { scratch in
            let path = scratch.file("roost.db")
            let row = SampleVM("a", labels: ["x"], note: "n")
            let before = try await SQLiteStore.open(path: path)
            try await before.commit(.putting([row]))
            try await before.commit(.putting([SampleVM("b")]))
            try await before.compact(upTo: Revision(1))
            try await before.close()
            #expect(FileManager.default.fileExists(atPath: path + "-wal") == false)
            let after = try await SQLiteStore.open(path: path)
            #expect(try await after.get(SampleVM.self, "a")?.row == row)
            let labelled = Query(matching: [IndexEntry("label", "x")])
            #expect(try await after.list(SampleVM.self, labelled).rows.count == 1)
            #expect(try await after.commit(.putting([row])) == Revision(3))
            await #expect(throws: Fault.self) {
                try await after.changes(after: Revision(0), limit: 1)
            }
            try await after.close()
        }
    }

    @Test("answers shuttingDown once it is closed")
    func closed() async throws {
        try await withScratch { scratch in
            let store = try await SQLiteStore.open(path: scratch.file("roost.db"))
            try await store.close()
            let read = await #expect(throws: Fault.self) { try await store.revision() }
            #expect(read?.reason == .shuttingDown)
            let write = await #expect(throws: Fault.self) {
                try await store.commit(.putting([SampleVM("a")]))
            }
            #expect(write?.reason == .shuttingDown)
        }
    }

    @Test("is copied whole while commits go on, and the copy opens")
    func backup() async throws {
        try await withScratch { scratch in
            let store = try await SQLiteStore.open(path: scratch.file("roost.db"))
            let copy = scratch.file("copy.db")
            try await store.commit(.putting([SampleVM("0")]))
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for number in 1...100 {
                        let rows = [SampleVM("\(number)"), SampleVM("\(number)x")]
                        try await store.commit(.putting(rows))
                    }
                }
                group.addTask { try await store.backup(to: copy) }
                try await group.waitForAll()
            }
            let restored = try await SQLiteStore.open(path: copy)
            let listing = try await restored.list(SampleVM.self, Query())
            #expect(Int64(listing.rows.count) == listing.revision.number * 2 - 1)
            try await restored.close()
            // Over a copy that is there, and then not into a directory that is not.
            try await store.backup(to: copy)
            let fault = await #expect(throws: Fault.self) {
                try await store.backup(to: scratch.file("nowhere/copy.db"))
            }
            #expect(fault?.reason == .ioFailed)
            try await store.close()
            let left = try FileManager.default.contentsOfDirectory(atPath: scratch.directory.path())
            #expect(left.sorted() == ["copy.db", "roost.db"])
        }
    }

    @Test("that is no store, newer or damaged is refused and left as it is")
    func unreadable() async throws {
        try await withScratch { scratch in
            let good = scratch.file("good.db")
            let store = try await SQLiteStore.open(path: good)
            let rows = (0..<300).map { SampleVM("\($0)", note: String(repeating: "n", count: 300)) }
            try await store.commit(.putting(rows))
            try await store.close()
            try Data(
                "this is a text of more than one hundred bytes, and not a database at all".utf8
            )
            .write(to: URL(filePath: scratch.file("text.db")))
            try await change(good, to: scratch.file("newer.db"), sql: "PRAGMA user_version = 99")
            try await change(good, to: scratch.file("other.db"), sql: "PRAGMA application_id = 7")
            let torn = scratch.file("torn.db")
            try await change(good, to: torn, sql: "UPDATE meta SET clean = 0")
            var bytes = try Data(contentsOf: URL(filePath: torn))
            bytes.replaceSubrange(40_960..<53_248, with: Data(repeating: 0xA5, count: 12_288))
            try bytes.write(to: URL(filePath: torn))
            for name in ["text.db", "newer.db", "other.db", "torn.db"] {
                let path = scratch.file(name)
                let before = try Data(contentsOf: URL(filePath: path))
                let fault = await #expect(throws: Fault.self, "\(name)") {
                    try await SQLiteStore.open(path: path)
                }
                #expect(fault?.reason == .stateUnreadable, "\(name)")
                #expect(fault?.metadata["path"] == path)
                #expect(try Data(contentsOf: URL(filePath: path)) == before, "\(name)")
            }
        }
    }

    @Test("with one row that does not decode refuses the list and names the row")
    func undecodableRow() async throws {
        try await withScratch { scratch in
            let path = scratch.file("roost.db")
            let store = try await SQLiteStore.open(path: path)
            try await store.commit(.putting([SampleVM("a"), SampleVM("b"), SampleVM("c")]))
            try await store.close()
            let spoilt = scratch.file("spoilt.db")
            let sql = "UPDATE row_sample_vms SET body = '{\"id\":1}' WHERE key = 'b'"
            try await change(path, to: spoilt, sql: sql)
            let after = try await SQLiteStore.open(path: spoilt)
            let fault = await #expect(throws: Fault.self) {
                try await after.list(SampleVM.self, Query())
            }
            #expect(fault?.reason == .stateUnreadable)
            #expect(fault?.metadata["table"] == "sample_vms")
            #expect(fault?.metadata["key"] == "b")
            #expect(try await after.get(SampleVM.self, "c") != nil)
            try await after.close()
        }
    }

    @Test("stores rows as JSON with sorted keys")
    func sortedKeys() async throws {
        try await withScratch { scratch in
            let path = scratch.file("roost.db")
            let store = try await SQLiteStore.open(path: path)
            try await store.commit(.putting([SampleVM("a/b", labels: ["y", "x"], note: "é")]))
            try await store.close()
            let queue = try DatabaseQueue(path: path)
            let body = try await queue.read {
                try String.fetchOne($0, sql: "SELECT body FROM row_sample_vms")
            }
            #expect(
                body == #"{"count":0,"id":"a/b","labels":["y","x"],"note":"é","owner":"ann"}"#
            )
        }
    }

    /// Copies a closed store and changes the copy behind its back.
    private func change(_ path: String, to copy: String, sql: String) async throws {
        try FileManager.default.copyItem(atPath: path, toPath: copy)
        let queue = try DatabaseQueue(path: copy)
        try await queue.writeWithoutTransaction { database in
            try database.execute(sql: sql)
            try database.execute(sql: "PRAGMA journal_mode = DELETE")
        }
        try queue.close()
    }
}
