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

    @Test("is let go together with its greeting, again and again")
    func greeted() async throws {
        let guest = NotingGuest()
        try await handingOver(guest) { sessions in
            try await sessions.awaitReady(Self.vm)
            // From now on it answers no greeting before it is asked for something.
            guest.waitToBeAsked()
            for _ in 0..<2 {
                try await sessions.hold(Self.vm)
                try await sessions.letGo(Self.vm)
            }
        }
        let once = ["freeze", "sealed", "hello", "thaw"]
        #expect(guest.notes == ["hello"] + once + once)
    }

    @Test("that could not be held is let go over the connection that there is")
    func refused() async throws {
        let guest = NotingGuest()
        try await handingOver(guest) { sessions in
            try await sessions.hold(Self.vm)
            try await sessions.letGo(Self.vm)
            guest.refuseToFreeze()
            await #expect(throws: Fault.self) { try await sessions.hold(Self.vm) }
            try await sessions.letGo(Self.vm)
        }
        #expect(guest.notes.suffix(3) == ["thaw", "freeze", "thaw"])
    }

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
        /// The answer to a greeting, until it is asked for something.
        var kept: [UInt8] = []
    }

    let name = "noting"
    let capabilities: Capabilities = [.guestAgent]
    private let agent: UInt32
    private let state = Mutex(State())

    init(capabilities: UInt32 = Hello.Capability.generations) { agent = capabilities }

    var notes: [String] { state.withLock(\.notes) }
    func refuseToFreeze() { state.withLock { $0.refuses = true } }
    func waitToBeAsked() { state.withLock { $0.waits = true } }

    func guestChannel(_ id: VMID) async throws(Fault) -> any ByteStream {
        AnsweringStream { [self] item in answer(item) }
    }

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
            case .ping(let number):
                note("sealed")
                return reply(.pong(number))
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
        for item in items {
            let words = answer(item)
            if !words.isEmpty { peer.say(words) }
        }
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
