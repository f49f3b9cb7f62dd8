import RoostDriver
package import RoostLink
import RoostModel
import RoostNode

/// What every ``NodeLink`` must carry: sentences, each a check that a new link passes or fails.
package struct NodeLinkConformance: Sendable, CustomStringConvertible {
    /// The claim.
    package let name: String
    private let body: @Sendable (any NodeLink, LinkScene) async throws -> Void

    init(
        _ name: String,
        _ body: @escaping @Sendable (any NodeLink, LinkScene) async throws -> Void
    ) {
        self.name = name
        self.body = body
    }

    /// Runs the check on `link`, which leads to the node of `scene`; both must be new.
    package func run(_ link: any NodeLink, _ scene: LinkScene) async throws {
        try await body(link, scene)
    }

    package var description: String { name }

    /// Every check.
    package static let all = work + faults + looks + guests

    private static let box: UInt64 = 0xb0

    private static let work = [
        Self("an order is carried out, and the answer says what the VM is then") { link, scene in
            let made = try await link.apply(scene.delta(.provision, box))
            try equal(made.state, .stopped, "after provision")
            try equal(made.id, VMID(bits: UInt128(box)), "the report's VM")
            try holds(!made.steps.isEmpty, "no step was told")
            let up = try await link.apply(
                scene.delta(.start, box, generation: 2, desired: .running)
            )
            try equal(up.state, .running, "after start")
            try equal(up.observedGeneration, 2, "the generation that runs")
            try equal(try await link.inspect(up.id)?.state, .running, "inspected")
            let told = try await link.assignment(up.id)
            try equal(told?.generation, 2, "the assignment's generation")
            try equal(told?.desired, .running, "the assignment's power")
            try equal(told, try await scene.local.assignment(up.id), "the assignment")
        },
        Self("a repeated op id is answered the same and done once") { link, scene in
            let order = scene.delta(.provision, box)
            let first = try await link.apply(order)
            var again = first
            // What was done for it is told once.
            again.steps = []
            try equal(try await link.apply(order), again, "the second answer")
            let start = scene.delta(.start, box, generation: 2, desired: .running)
            try await withThrowingTaskGroup(of: VMReport.self) { group in
                for _ in 0..<4 { group.addTask { try await link.apply(start) } }
                var answers: [VMReport] = []
                for try await answer in group { answers.append(answer) }
                let states = answers.map(\.state)
                try equal(states, Array(repeating: VMState.running, count: 4), "four at once")
            }
            try equal(scene.hypervisor.machines.count, 1, "VMMs")
        },
        Self("a pre-emption that comes first stops the order that it is about") { link, scene in
            _ = try await link.apply(scene.delta(.provision, box))
            let order = scene.delta(.start, box, generation: 2, desired: .running)
            try await link.preempt(order.vm.id, operation: order.operation)
            try await refuses(.opCancelled, "a pre-empted start") {
                _ = try await link.apply(order)
            }
            try equal(scene.hypervisor.machines.count, 0, "VMMs")
        },
    ]

    private static let faults = [
        Self("a fault comes with reason, message and facts, and again for its op id") {
            link,
            scene in
            _ = try await link.apply(scene.delta(.provision, box, name: "broken"))
            let order = scene.delta(.start, box, name: "broken", generation: 2, desired: .running)
            let fault = try await refuses(.vmmFailed, "a start that fails") {
                _ = try await link.apply(order)
            }
            try equal(fault.message, "it does not start", "the message")
            try equal(fault.metadata["vm"], "broken", "the facts")
            let again = try await refuses(.vmmFailed, "its repeat") {
                _ = try await link.apply(order)
            }
            try equal(again.message, fault.message, "the repeat's message")
        },
        Self("an older epoch or generation is refused") { link, scene in
            _ = try await link.apply(scene.delta(.provision, box, generation: 5, epoch: 7))
            try await refuses(.staleEpoch, "an older epoch") {
                _ = try await link.apply(scene.delta(.start, box, generation: 6, epoch: 6))
            }
            try await refuses(.staleEpoch, "an older generation") {
                _ = try await link.apply(scene.delta(.start, box, generation: 4, epoch: 7))
            }
        },
        Self("an image that the node does not have is refused in its words") { link, scene in
            let found = try await link.resolve(image: "", kernel: "")
            try equal(found, try await scene.local.resolve(image: "", kernel: ""), "the defaults")
            try await refuses(.imageNotFound, "an unknown image") {
                _ = try await link.resolve(image: "no-such-image", kernel: "")
            }
        },
    ]

    private static let looks = [
        Self("what is not there is nothing") { link, _ in
            let nobody = VMID(bits: 99)
            try equal(try await link.inspect(nobody), nil, "inspected")
            try equal(try await link.assignment(nobody), nil, "assigned")
        },
        Self("everything is seen, with the same digest on both sides") { link, scene in
            let empty = try await link.observe()
            try equal(empty.vms, [], "an empty node")
            try equal(empty.capacity.cores, 8, "cores")
            for vm in [UInt64(3), 1, 2] { _ = try await link.apply(scene.delta(.provision, vm)) }
            let seen = try await link.observe()
            try equal(seen.vms.map(\.id), [1, 2, 3].map { VMID(bits: $0) }, "sorted by id")
            let own = try await scene.local.observe()
            try equal(seen.stateHash, own.stateHash, "the digest")
            try holds(seen.stateHash != empty.stateHash, "the digest says nothing")
        },
        Self("what a VM does by itself is told to who waits") { link, scene in
            _ = try await link.apply(scene.delta(.provision, box))
            let start = scene.delta(.start, box, generation: 2, desired: .running)
            _ = try await link.apply(start)
            let cursor = try await link.observe().cursor
            async let page = link.changes(after: cursor)
            for machine in scene.hypervisor.machines {
                scene.hypervisor.end(machine.pid, .killed(signal: 9))
            }
            let told = try await page
            try equal(told.vms.map(\.state), [.failed], "the states told")
            try equal(told.vms.first?.ended, .failed, "how it ended")
            try holds(told.cursor > cursor && !told.missedSome, "the cursor did not move")
        },
        Self("a log that is not there is an empty one or a fault, the same as the node's") {
            link,
            scene in
            _ = try await link.apply(scene.delta(.provision, box))
            let wanted = LogRequest(source: "console", offset: 0, follow: false)
            let vm = VMID(bits: UInt128(box))
            let own = try await Self.outcome { try await scene.local.readLog(vm, wanted) }
            let other = try await Self.outcome { try await link.readLog(vm, wanted) }
            try equal(other, own, "the log")
        },
    ]

    private static func outcome(
        _ body: () async throws -> LogPiece
    ) async throws -> Result<LogPiece, Fault> {
        do {
            return .success(try await body())
        } catch let fault as Fault {
            return .failure(fault)
        }
    }

    private static let guests = [
        Self("a command's bytes go both ways in order, apart, to its end") { link, scene in
            let vm = VMID(bits: UInt128(box))
            let request = ExecRequest(session: OperationID(bits: 9), arguments: ["echo", "hello"])
            let session = try await link.exec(vm, request)
            try equal(try await session.next(), .output(Array("hello".utf8)), "the greeting")
            try await session.send(.input(Array("!wrong".utf8)))
            try equal(try await session.next(), .errorOutput(Array("!wrong".utf8)), "errors")
            try await session.send(.resize(TerminalSize(rows: 24, columns: 80)))
            try equal(try await session.next(), .output(Array("24x80".utf8)), "the size")
            for number in 0..<200 {
                // Never as errors begin.
                let bytes = [UInt8](repeating: 100 + UInt8(number % 100), count: 20_000)
                try await session.send(.input(bytes))
                let found = try await session.next()
                try holds(found == .output(bytes), "piece \(number) came back as something else")
            }
            try await session.send(.endOfInput)
            try equal(try await session.next(), .exited(code: 42), "its end")
            try equal(try await session.next(), nil, "after its end")
            await session.close()
        },
        Self("a command is killed by a signal that is sent, and one left alone is let go") {
            link,
            scene in
            let vm = VMID(bits: UInt128(box))
            let first = try await link.exec(
                vm,
                ExecRequest(session: OperationID(bits: 10), arguments: ["echo"])
            )
            try await first.send(.signal(15))
            try equal(try await first.next(), .killed(signal: 15), "how it ended")
            await first.close()
            let second = try await link.exec(
                vm,
                ExecRequest(session: OperationID(bits: 11), arguments: ["echo", "x"])
            )
            _ = try await second.next()
            await second.close()
            try await until("both sessions were let go") { scene.guests.closedSessions == 2 }
        },
        Self("a command that there is not is refused in the guest's words") { link, _ in
            let request = ExecRequest(session: OperationID(bits: 12), arguments: ["nonsense"])
            let fault = try await refuses(.commandNotFound, "an unknown command") {
                _ = try await link.exec(VMID(bits: UInt128(box)), request)
            }
            try equal(fault.metadata["command"], "nonsense", "the facts")
        },
        Self("files go in and out whole; what is not there is refused") { link, scene in
            let vm = VMID(bits: UInt128(box))
            let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            let into = try await link.copy(vm, CopyRequest(kind: .writeFile, path: "/a"))
            try await into.write(bytes)
            try equal(scene.guests.file("/a"), nil, "before it is finished")
            try await into.finish()
            await into.close()
            try equal(scene.guests.file("/a")?.count, bytes.count, "the bytes in place")
            let out = try await link.copy(vm, CopyRequest(kind: .readFile, path: "/a"))
            try equal(try await out.information()?.size, 3_000_000, "the size told")
            var found: [UInt8] = []
            while true {
                let part = try await out.read()
                if part.isEmpty { break }
                found += part
            }
            try holds(found == bytes, "the bytes differ")
            await out.close()
            try await refuses(.pathNotFound, "a path that is not there") {
                let request = CopyRequest(kind: .readFile, path: "/none")
                _ = try await link.copy(vm, request).read()
            }
            let half = try await link.copy(vm, CopyRequest(kind: .writeFile, path: "/half"))
            try await half.write([1, 2, 3])
            await half.close()
            try equal(scene.guests.file("/half"), nil, "a file that was broken off")
        },
        Self("what a guest says of itself comes whole") { link, scene in
            let vm = VMID(bits: UInt128(box))
            let own = try await scene.local.guestStatus(vm)
            try equal(try await link.guestStatus(vm), own, "the status")
        },
    ]
}

/// Waits for `condition`, at most ten seconds.
func until(_ what: String, _ condition: () -> Bool) async throws {
    let end = ContinuousClock.now + .seconds(10)
    while !condition() {
        try holds(ContinuousClock.now < end, "not within 10 s: \(what)")
        await Task.yield()
    }
}
