import RoostControl
import RoostModel
import RoostNode
import RoostOperations
import RoostStore
import Testing

@Suite("Housekeeping")
struct HousekeepingTests {
    @Test("purges the trash when its time is over, and not before")
    func trash() async throws {
        try await withDesk { desk in
            try await desk.create("vm")
            try await desk.power(.delete, "vm")
            desk.wall.pass(days: 6)
            await desk.vms.keepHouse()
            #expect(try await desk.state("vm") == .deleted)
            desk.wall.pass(days: 1)
            await desk.vms.keepHouse()
            let gone = await fault { () async throws(Fault) in _ = try await desk.state("vm") }
            #expect(gone?.reason == .vmNotFound)
        }
    }

    @Test("forgets operations after their retention, on both sides")
    func operations() async throws {
        try await withDesk { desk in
            // A node's journal keeps the last result of every VM that ever was.
            for number in 0..<5 {
                let name = "vm\(number)"
                try await desk.create(name)
                try await desk.power(.delete, name)
                try await desk.purge(name)
            }
            let results = { try MemoryStore(disk: desk.journal).list(ResultRow.self, Query()).rows }
            await desk.vms.keepHouse()
            await desk.machines.keepHouse()
            #expect(try results().count == 5)
            #expect(try await desk.vms.operations(of: nil, before: nil, limit: 100).0.count == 15)
            desk.wall.pass(days: 32)
            await desk.vms.keepHouse()
            await desk.machines.keepHouse()
            #expect(try results().isEmpty)
            #expect(try await desk.vms.operations(of: nil, before: nil, limit: 100).0.isEmpty)
        }
    }

    @Test("keeps the changes that a watch may ask for, and no others")
    func changes() async throws {
        try await withDesk { desk in
            for number in 0..<5 { try await desk.create("vm\(number)") }
            let latest = try await desk.vms.list(VMFilter(), size: 1, token: nil).revision
            await desk.vms.keepHouse(keeping: 4)
            let watch = { (revision: Int64) async -> (any Error)? in
                do {
                    try await desk.vms.watch(VMFilter(), only: nil, from: Revision(revision)) { _ in
                        throw Seen()
                    }
                    return nil
                } catch { return error }
            }
            #expect(await watch(latest.number - 4) is Seen)
            #expect((await watch(latest.number - 5) as? Fault)?.reason == .revisionCompacted)
        }
    }

    private struct Seen: Error {}
}
