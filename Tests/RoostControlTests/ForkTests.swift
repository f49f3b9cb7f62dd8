import RoostControl
import RoostDriver
import RoostLink
import RoostModel
import RoostNode
import RoostOperations
import RoostStore
import Testing

@Suite("A fork")
struct ForkTests {
    private static func names(_ desk: Desk) async throws(Fault) -> [String] {
        try await desk.vms.list(VMFilter(), size: 100, token: nil).vms.map(\.row.name).sorted()
    }

    @Test("makes running copies under the first free numbers, each by an operation of its own")
    func copies() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            try await desk.create("box-2")
            let found = try await desk.fork("box", ForkOrder(count: 2), operation: 500)
            #expect(found.map(\.vm.name) == ["box-1", "box-3"])
            for outcome in found {
                let operation = OperationID(bits: 500).child(outcome.vm.id.description)
                #expect(outcome.operation == operation && outcome.vm.createOp == operation)
                #expect(outcome.vm.status.state == .running && outcome.vm.runningOp == nil)
            }
            let source = try await desk.vms.get("box", project: "default").row
            #expect(source.status.state == .running && source.runningOp == nil)
            #expect(desk.hypervisor.machines.count == 3 && desk.hypervisor.savedFolders.isEmpty)
        }
    }

    @Test("sent again answers the same and makes nothing")
    func repeated() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            let order = ForkOrder(names: ["a", "b"])
            let first = try await desk.fork("box", order, operation: 500)
            try await desk.power(.delete, "a", force: true)
            let second = try await desk.fork("box", order, operation: 500)
            #expect(second.map(\.vm) == first.map(\.vm))
            #expect(try await Self.names(desk) == ["b", "box"])
            let other = await fault { () async throws(Fault) in
                try await desk.fork("box", ForkOrder(names: ["c"]), operation: 500)
            }
            #expect(other?.reason == .opIDReused)
        }
    }

    @Test("whose copy cannot begin leaves none of them, and the source runs on")
    func failed() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            let order = ForkOrder(names: ["a", "b", "broken", "d", "e", "f"])
            let failure = await fault { () async throws(Fault) in
                try await desk.fork("box", order)
            }
            #expect(failure?.reason == .vmmFailed)
            #expect(try await Self.names(desk) == ["box"])
            #expect(try await desk.state("box") == .running)
            #expect(desk.hypervisor.machines.count == 1 && desk.hypervisor.savedFolders.isEmpty)
            let names = order.names.filter { $0 != "broken" }
            #expect(try await desk.fork("box", ForkOrder(names: names)).count == 5)
        }
    }

    @Test("is gone before its copies are purged, so that a late order to become one is in vain")
    func order() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            let failure = await fault { () async throws(Fault) in
                try await desk.fork("box", ForkOrder(names: ["a", "broken"]), operation: 500)
            }
            #expect(failure?.reason == .vmmFailed)
            let results = try MemoryStore(disk: desk.journal).list(ResultRow.self, Query()).rows
            let fork = OperationID(bits: 500)
            let release = results.first { $0.row.operation == fork.child("release") }
            let released = try #require(release?.version)
            let purges = results.filter { $0.row.report?.state == .deleted }
            #expect(purges.count == 2 && purges.allSatisfy { $0.version > released })
        }
    }

    @Test("of what does not run is refused, naming the state")
    func states() async throws {
        try await withDesk { desk in
            for state in Desk.resting where state != .running {
                let name = "vm-\(state.rawValue.lowercased())"
                try await desk.bring(name, to: state)
                let id = try await desk.create("other-\(name)").vm.id
                let failure = await fault { () async throws(Fault) in
                    try await desk.fork(name, ForkOrder())
                }
                let expected: Reason = state == .deleted ? .vmNotFound : .wrongState
                #expect(failure?.reason == expected, "\(state) \(id)")
            }
        }
    }

    @Test("of which not all fit is refused before anything is done, with the number that fits")
    func room() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            let failure = await fault { () async throws(Fault) in
                try await desk.fork("box", ForkOrder(count: 64))
            }
            #expect(failure?.reason == .noCapacity)
            let fits = try #require(failure?.metadata["fits"].flatMap { Int($0) })
            #expect(try await Self.names(desk) == ["box"])
            #expect(try await desk.fork("box", ForkOrder(count: fits)).count == fits)
            let oneMore = await fault { () async throws(Fault) in
                try await desk.fork("box", ForkOrder())
            }
            #expect(oneMore?.metadata["fits"] == "0")
        }
    }

    @Test("says everything that is wrong with it, and takes no name that somebody has")
    func input() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            for (order, field) in [
                (ForkOrder(count: 0), "count"), (ForkOrder(count: 10_000), "count"),
                (ForkOrder(count: -1), "count"), (ForkOrder(names: ["a", "a"]), "names[1]"),
                (ForkOrder(names: ["A"]), "names[0]"), (ForkOrder(names: ["a"], count: 2), "count"),
                (ForkOrder(names: (0..<65).map { "n\($0)" }), "names"),
            ] {
                let failure = await fault { () async throws(Fault) in
                    try await desk.fork("box", order)
                }
                #expect(failure?.reason == .invalidFields, "\(order)")
                #expect(failure?.violations.map(\.field) == [field], "\(order)")
            }
            let taken = await fault { () async throws(Fault) in
                try await desk.fork("box", ForkOrder(names: ["a", "box"]))
            }
            #expect(taken?.reason == .nameTaken)
            #expect(try await Self.names(desk) == ["box"])
        }
    }

    @Test("that is only checked changes nothing")
    func dryRun() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            var context = desk.request("ForkVM")
            context.validateOnly = true
            let order = ForkOrder(count: 3)
            let found = try await desk.vms.fork("box", project: "default", order, context)
            #expect(found.map(\.vm.name) == ["box-1", "box-2", "box-3"])
            #expect(try await Self.names(desk) == ["box"])
        }
    }
}
