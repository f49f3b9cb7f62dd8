import CRoostSQLiteVFS
import Foundation
import GRDB
import RoostModel
import RoostStore
import RoostStoreSQL
import RoostTestKit
import Testing

/// One disk is watched at a time, so these run one after the other.
@Suite("The SQLite store on a bad disk", .serialized)
struct SQLiteFaultTests {
    init() throws {
        try #require(roost_vfs_install() == 0)
    }

    @Test("loses no acknowledged commit in 200 power cuts, and no file is damaged")
    func powerCuts() async throws {
        try await withScratch { scratch in
            let cuts = UInt32(ProcessInfo.processInfo.environment["ROOST_CUTS"] ?? "") ?? 200
            roost_vfs_watch(scratch.file("roost.db"))
            roost_vfs_cut(scratch.directory.path(), 40, cuts, 7)
            // A checkpoint each 20 pages, so that many cuts meet one.
            let options = SQLiteStore.Options(checkpointPages: 20)
            let store = try await SQLiteStore.open(
                path: scratch.file("roost.db"),
                options: options
            )
            var round = 0
            while roost_vfs_cuts() < cuts {
                try await commitTogether(store, round: round)
                round += 1
            }
            try await store.close()
            roost_vfs_watch("")
            var lost = 0
            for cut in 0..<cuts {
                lost += try await check(scratch.file("\(cut)-roost.db"), roost_vfs_noted(cut))
            }
            // A disk that lost nothing in 200 cuts would have proven nothing.
            #expect(lost > 0)
        }
    }

    /// Eight committers at once; each commit has two rows, which must stay together.
    private func commitTogether(_ store: SQLiteStore, round: Int) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask {
                    let id = "\(task)-\(round % 40)"
                    let note = String(repeating: "\(round)", count: 200 * task)
                    let rows = [
                        SampleVM(id, count: round, note: note), SampleVM(id + "x", count: round),
                    ]
                    let revision = try await store.commit(.putting(rows))
                    roost_vfs_note(revision.number)
                }
            }
            try await group.waitForAll()
        }
    }

    /// Opens what the cut left. Answers how many revisions beyond the acknowledged it has.
    private func check(_ path: String, _ acknowledged: Int64) async throws -> Int {
        let store = try await SQLiteStore.open(path: path)
        let revision = try await store.revision().number
        #expect(revision >= acknowledged, "\(path): lost acknowledged commits")
        let rows = try await store.list(SampleVM.self, Query()).rows
        var partner: [String: Versioned<SampleVM>] = [:]
        for row in rows { partner[row.row.id] = row }
        for row in rows where !row.row.id.hasSuffix("x") {
            let other = partner[row.row.id + "x"]
            #expect(other?.version == row.version && other?.row.count == row.row.count)
        }
        let indexed = try await store.list(
            SampleVM.self,
            Query(matching: [IndexEntry("owner", "ann")])
        )
        #expect(indexed.rows.count == rows.count)
        let changes = try await store.changes(after: Revision(0), limit: 10_000).changes
        #expect(changes.count == Int(min(revision * 2, 10_000)))
        try await store.close()
        let queue = try DatabaseQueue(path: path)
        let answer = try await queue.read { try String.fetchOne($0, sql: "PRAGMA integrity_check") }
        #expect(answer == "ok", "\(path)")
        return acknowledged > 0 ? 1 : 0
    }

    @Test(
        "tells the truth at every I/O error: once or for good, error or full disk",
        arguments: [(false, false), (false, true), (true, false), (true, true)]
    )
    func errorsAtEachOperation(forever: Bool, full: Bool) async throws {
        try await withScratch { scratch in
            var at: UInt64 = 1
            var isFailing = true
            while isFailing {
                let path = scratch.file("\(at).db")
                roost_vfs_watch(path)
                roost_vfs_fail(at, forever ? 1 : 0, full ? 1 : 0)
                let account = await program(path)
                isFailing = roost_vfs_failed() != 0
                roost_vfs_fail(0, 0, 0)
                try await compare(path, account.told, at: at)
                if let told = account.toldAtCrash {
                    try await compare(path + ".crash", told, at: at)
                }
                roost_vfs_watch("")
                at += 1
            }
            #expect(at > 20, "only \(at) operations were counted")
        }
    }

    /// What the callers were told about each key: written, not written, or nobody knows.
    private enum Told { case written, notWritten, unknown }

    private struct Account {
        var told: [String: Told] = [:]
        /// The same, when the first commit had failed; and then the files were copied.
        var toldAtCrash: [String: Told]?
    }

    private func program(_ path: String) async -> Account {
        var account = Account()
        let options = SQLiteStore.Options(checkpointPages: 4)
        guard let store = try? await SQLiteStore.open(path: path, options: options) else {
            return account
        }
        for number in 0..<8 {
            let id = "k\(number)"
            let note = String(repeating: "n", count: number * 900)
            do {
                try await store.commit(.of { $0.insert(SampleVM(id, note: note)) })
                account.told[id] = .written
            } catch {
                account.told[id] = error.outcomeIsUnknown ? .unknown : .notWritten
                // Reading settles it, if the disk lets it: what is read then must stay so.
                if let found = try? await store.list(SampleVM.self, Query()).rows {
                    let isThere = found.contains { $0.row.id == id }
                    account.told[id] = isThere ? .written : .notWritten
                }
                if account.toldAtCrash == nil {
                    account.toldAtCrash = account.told
                    copy(path)
                }
            }
        }
        try? await store.close()
        return account
    }

    /// What a process that ends here leaves behind: without a power cut no write is lost.
    private func copy(_ path: String) {
        for suffix in ["", "-wal"] {
            try? FileManager.default.copyItem(
                atPath: path + suffix,
                toPath: "\(path).crash\(suffix)"
            )
        }
    }

    private func compare(_ path: String, _ told: [String: Told], at: UInt64) async throws {
        let store = try await SQLiteStore.open(path: path)
        for (id, what) in told.sorted(by: { $0.key < $1.key }) {
            let isThere = try await store.get(SampleVM.self, id) != nil
            switch what {
            case .written: #expect(isThere, "operation \(at): \(id) was acknowledged and is lost")
            case .notWritten: #expect(!isThere, "operation \(at): \(id) was refused and is there")
            case .unknown: continue
            }
        }
        try await store.close()
    }
}
