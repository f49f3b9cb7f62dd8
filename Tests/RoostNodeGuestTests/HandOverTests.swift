import RoostDriver
import RoostGuestWire
import RoostHost
import RoostLink
import RoostModel
import RoostNode
import RoostOperations
import Synchronization
import Testing

@Suite("A guest whose VMM is replaced")
struct HandOverTests {
    private static let vm = VMID(bits: 7)

    private func handingOver(
        _ guest: NotingGuest,
        _ body: (GuestSessions) async throws -> Void
    ) async throws {
        let spawner = Spawner()
        let sessions = GuestSessions(
            driver: guest,
            surroundings: Surroundings(clock: ContinuousClock(), wall: Noon(), entropy: Counting()),
            spawner: spawner
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await spawner.run() }
            do {
                try await body(sessions)
            } catch {
                await sessions.drop(Self.vm)
                spawner.finish()
                throw error
            }
            await sessions.drop(Self.vm)
            spawner.finish()
        }
    }

    /// Runs `body` with a connection to `guest` that was greeted.
    private func speaking(
        with guest: NotingGuest,
        _ body: (GuestConnection) async throws -> Void
    ) async throws {
        let connection = GuestConnection(
            over: try await guest.guestChannel(Self.vm),
            nonce: 1,
            now: nil,
            vm: "box"
        )
        async let serving: Void = connection.run()
        do {
            _ = try await connection.ready()
            try await body(connection)
        } catch {
            // Nobody would end it, and the test would wait for ever.
            await connection.close()
            throw error
        }
        await connection.close()
        await serving
    }

    @Test("is let go over the connection that it was held over, again and again")
    func carried() async throws {
        let guest = NotingGuest()
        try await handingOver(guest) { sessions in
            for _ in 0..<2 {
                try await sessions.hold(Self.vm)
                try await sessions.letGo(Self.vm)
            }
        }
        #expect(guest.notes == ["hello"] + once + once)
    }

    @Test("has its clock set when it goes on: it stood still")
    func clock() async throws {
        let guest = NotingGuest()
        try await handingOver(guest) { sessions in
            try await sessions.hold(Self.vm)
            // Not while it is held: it would hear of a time that is over.
            await sessions.stepClock(Self.vm)
            try await sessions.letGo(Self.vm)
            while guest.clockSettings == 0 { await Task.yield() }
        }
        #expect(guest.notes == ["hello"] + once)
        #expect(guest.clockSettings == 1)
    }

    @Test("is written nothing while it is held, however much there is to write")
    func writers() async throws {
        let guest = NotingGuest()
        let piece = [UInt8](repeating: 7, count: 250_000)
        try await speaking(with: guest) { connection in
            let writers = try (0..<8).map { number in
                try connection.writeFile(
                    WriteFileRequest(path: "/\(number)", mode: 0o600, uid: 0, gid: 0, size: 0)
                )
            }
            try await connection.hold()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in writers { group.addTask { try await writer.write(piece) } }
                // As far as they come.
                for _ in 0..<100 { await Task.yield() }
                #expect(guest.received == 0)
                try await connection.letGo()
                try await group.waitForAll()
            }
            while guest.received < 8 * piece.count { await Task.yield() }
            for writer in writers { writer.cancel() }
        }
    }

    @Test("is held and let go though its users have as many streams as they can get")
    func busy() async throws {
        let guest = NotingGuest()
        try await speaking(with: guest) { connection in
            let write = WriteFileRequest(path: "/x", mode: 0o600, uid: 0, gid: 0, size: 0)
            let count = WireLimits.streams - WireLimits.controlStreams
            let writers = try (0..<count).map { _ in try connection.writeFile(write) }
            let fault = #expect(throws: Fault.self) { try connection.writeFile(write) }
            #expect(fault?.reason == .limitExceeded)
            try await connection.hold()
            try await connection.letGo()
            for writer in writers { writer.cancel() }
        }
        #expect(guest.notes.suffix(3) == once)
    }

    @Test("is let go over another connection when the one that there was is out of step")
    func confused() async throws {
        let guest = NotingGuest()
        try await handingOver(guest) { sessions in
            try await sessions.hold(Self.vm)
            guest.talkNonsense()
            try await sessions.letGo(Self.vm)
        }
        #expect(guest.notes == ["hello"] + once + ["hello", "thaw"])
    }

    @Test("is not held when its agent knows no silence, and is asked for nothing")
    func formerAgent() async throws {
        let guest = NotingGuest(capabilities: Hello.Capability.generations)
        try await handingOver(guest) { sessions in
            await #expect { try await sessions.hold(Self.vm) } throws: {
                ($0 as? Fault)?.reason == .shapeDiffers
            }
        }
        #expect(guest.notes == ["hello"])
    }

    @Test("is told nothing until it is told to go on")
    func silent() async throws {
        let guest = NotingGuest()
        try await speaking(with: guest) { connection in
            try await connection.hold()
            let reader = try connection.tarOut("/x", contentsOnly: false)
            try await connection.letGo()
            reader.cancel()
        }
        #expect(guest.notes.prefix(5) == ["hello", "freeze", "go on", "tar-out", "thaw"])
    }

    @Test("is let go over another connection when the one that there was is lost")
    func lost() async throws {
        let guest = NotingGuest()
        try await handingOver(guest) { sessions in
            try await sessions.hold(Self.vm)
            await guest.hangUp()
            // From now on it answers no greeting before it is asked for something.
            guest.waitToBeAsked()
            try await sessions.letGo(Self.vm)
            try await sessions.hold(Self.vm)
            try await sessions.letGo(Self.vm)
        }
        #expect(guest.notes == ["hello", "freeze", "hello", "thaw"] + once)
    }

    @Test("that could not be held is let go over the connection that there is")
    func refused() async throws {
        let guest = NotingGuest()
        try await handingOver(guest) { sessions in
            guest.refuseToFreeze()
            await #expect(throws: Fault.self) { try await sessions.hold(Self.vm) }
            try await sessions.letGo(Self.vm)
        }
        #expect(guest.notes == ["hello"] + once)
    }

    private let once = ["freeze", "go on", "thaw"]

    @Test("is renewed together with its greeting")
    func renewed() async throws {
        let guest = NotingGuest()
        guest.waitToBeAsked()
        let identity = GuestIdentity(
            hostname: "copy",
            machineID: Array(repeating: 1, count: 16),
            ethernet: Array(repeating: 2, count: 6),
            entropy: Array(repeating: 3, count: 64)
        )
        try await handingOver(guest) { try await $0.renew(Self.vm, identity) }
        #expect(guest.notes == ["hello", "renew-identity"])
    }

    @Test("is not renewed by an agent that knows no generations")
    func older() async throws {
        let guest = NotingGuest(capabilities: 0)
        try await handingOver(guest) { sessions in
            await #expect {
                try await sessions.freshen(Self.vm, entropy: Array(repeating: 3, count: 64))
            } throws: {
                ($0 as? Fault)?.reason == .unsupported
            }
        }
    }
}

/// A VMM whose guest does what it is asked, and notes it.
private final class NotingGuest: Driver {
    private struct State {
        var notes: [String] = []
        var refuses = false
        var waits = false
        var isConfused = false
        var clockSettings = 0
        var received = 0
        /// The answer to a greeting, until it is asked for something.
        var kept: [UInt8] = []
        var channel: AnsweringStream?
    }

    let name = "noting"
    let capabilities: Capabilities = [.guestAgent]
    private let agent: UInt32
    private let state = Mutex(State())

    init(capabilities: UInt32 = Hello.Capability.generations | Hello.Capability.silence) {
        agent = capabilities
    }

    /// What it was told, but for the time.
    var notes: [String] { state.withLock(\.notes) }
    var clockSettings: Int { state.withLock(\.clockSettings) }
    /// Bytes of data.
    var received: Int { state.withLock(\.received) }
    /// The next order to go on is answered with what nobody understands.
    func talkNonsense() { state.withLock { $0.isConfused = true } }
    func refuseToFreeze() { state.withLock { $0.refuses = true } }
    func waitToBeAsked() { state.withLock { $0.waits = true } }

    func guestChannel(_ id: VMID) async throws(Fault) -> any ByteStream {
        let channel = AnsweringStream { [self] item in answer(item) }
        state.withLock { $0.channel = channel }
        return channel
    }

    /// Breaks the latest channel.
    func hangUp() async { await state.withLock(\.channel)?.close() }

    private func answer(_ item: FrameDecoder.Item) -> [UInt8] {
        switch item {
        case .hello(let hello):
            note("hello")
            var answer = Hello(side: .guest, nonce: hello.nonce)
            answer.capabilities = agent
            let words = answer.encoded()
            return state.withLock { state in
                guard state.waits else { return words }
                state.kept = words
                return []
            }
        case .frame(let frame):
            let reply = { (body: Frame.Body) in
                Frame(epoch: frame.epoch, stream: frame.stream, body: body).encoded()
            }
            switch frame.body {
            case .goOn:
                note("go on")
                let isConfused = state.withLock { state in
                    defer { state.isConfused = false }
                    return state.isConfused
                }
                // A message on a stream that never was.
                return isConfused
                    ? Frame(epoch: frame.epoch, stream: 77, body: .message(.done(bytes: 0)))
                        .encoded() : []
            case .data(_, let bytes):
                state.withLock { $0.received += bytes.count }
                return []
            case .open(_, _, .setClock):
                state.withLock { $0.clockSettings += 1 }
                return reply(.message(.done(bytes: 0))) + reply(.end)
            case .open(_, _, .writeFile): return []
            case .open(_, _, let request):
                note(request.name)
                let refuses = request == .freeze && state.withLock(\.refuses)
                let failure = GuestFailure(.unsupported, "no freezer")
                let greeting = state.withLock { state in
                    defer { state.kept = [] }
                    return state.kept
                }
                return greeting + reply(.message(refuses ? .failed(failure) : .done(bytes: 0)))
                    + reply(.end)
            default: return []
            }
        }
    }

    private func note(_ words: String) { state.withLock { $0.notes.append(words) } }

    func preflight() async -> [Fault] { [] }
    func acceleration() async -> Acceleration { Acceleration(kind: "none", why: "a test") }
    func start(_ launch: VMLaunch) async throws(Fault) {}
    func inspect(_ id: VMID) async throws(Fault) -> VMMStatus? { nil }
    func running() async throws(Fault) -> [VMID] { [] }
    func waitForExit(_ id: VMID) async -> VMMExit {
        VMMExit(cause: .killed(signal: 9), lastWords: "")
    }
    func powerButton(_ id: VMID) async throws(Fault) {}
    func reset(_ id: VMID) async throws(Fault) {}
    func kill(_ id: VMID) async throws(Fault) {}
    func pause(_ id: VMID) async throws(Fault) {}
    func resume(_ id: VMID) async throws(Fault) {}
}

/// A stream whose other end answers each thing that it is told.
private final class AnsweringStream: ByteStream {
    private let peer = ScriptedPeer()
    private let decoder = Mutex(FrameDecoder())
    private let answer: @Sendable (FrameDecoder.Item) -> [UInt8]

    init(_ answer: @escaping @Sendable (FrameDecoder.Item) -> [UInt8]) { self.answer = answer }

    func read(upTo limit: Int) async throws(Fault) -> [UInt8] { try await peer.read(upTo: limit) }

    func write(_ bytes: [UInt8]) async throws(Fault) {
        let items = decoder.withLock { decoder in
            decoder.feed(bytes)
            var items: [FrameDecoder.Item] = []
            while let item = try? decoder.next() { items.append(item) }
            return items
        }
        // All is noted before anything is answered: the answer to a part may end the connection, and the
        // next one's greeting must not come between.
        let words = items.flatMap(answer)
        if !words.isEmpty { peer.say(words) }
    }

    func close() async { await peer.close() }
}

private struct Noon: WallClock {
    func now() -> Timestamp { Timestamp(milliseconds: 43_200_000) }
}

private final class Counting: Entropy {
    private let last = Mutex<UInt64>(0)

    func next() -> UInt64 {
        last.withLock { last in
            last += 1
            return last
        }
    }
}
