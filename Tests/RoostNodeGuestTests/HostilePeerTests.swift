import RoostGuestWire
import RoostHost
import RoostModel
import RoostNode
import Synchronization
import Testing

/// A guest that says what the test tells it to, and never reads unless told.
final class ScriptedPeer: ByteStream {
    private struct State {
        var output: [[UInt8]] = []
        var reader: CheckedContinuation<[UInt8], Never>?
        var decoder = FrameDecoder()
        var answers: [[UInt8]] = []
        var isClosed = false
    }

    private let state = Mutex(State())

    /// Says `bytes` when the next stream is opened.
    func answer(_ bytes: [UInt8]) { state.withLock { $0.answers.append(bytes) } }

    func say(_ bytes: [UInt8]) {
        let reader = state.withLock { state -> CheckedContinuation<[UInt8], Never>? in
            if state.reader == nil { state.output.append(bytes) }
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume(returning: bytes)
    }

    func read(upTo limit: Int) async throws(Fault) -> [UInt8] {
        await withCheckedContinuation { continuation in
            let now = state.withLock { state -> [UInt8]? in
                if state.isClosed { return [] }
                if !state.output.isEmpty { return state.output.removeFirst() }
                state.reader = continuation
                return nil
            }
            if let now { continuation.resume(returning: now) }
        }
    }

    func write(_ bytes: [UInt8]) async throws(Fault) {
        let answers = state.withLock { state -> [[UInt8]] in
            state.decoder.feed(bytes)
            var due: [[UInt8]] = []
            while let item = try? state.decoder.next() {
                guard case .frame(let frame) = item, case .open = frame.body,
                    !state.answers.isEmpty
                else { continue }
                due.append(state.answers.removeFirst())
            }
            return due
        }
        for answer in answers { say(answer) }
    }

    func close() async {
        let reader = state.withLock { state -> CheckedContinuation<[UInt8], Never>? in
            state.isClosed = true
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume(returning: [])
    }
}

private func frame(_ stream: UInt32, _ body: Frame.Body) -> [UInt8] {
    Frame(epoch: 5, stream: stream, body: body).encoded()
}

private let greeting = Hello(side: .guest, nonce: 5).encoded()

/// Serves a connection to a scripted guest while `body` runs.
private func withPeer(
    _ body: (GuestConnection, ScriptedPeer) async throws -> Void
) async throws {
    let peer = ScriptedPeer()
    let connection = GuestConnection(over: peer, nonce: 5, now: nil, vm: "box")
    async let serving: Void = connection.run()
    try await body(connection, peer)
    await connection.close()
    await serving
}

/// Why `body` failed; `nil` when it did not, or with something else than a fault.
private func reason(_ body: () async throws -> Void) async -> Reason? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? Fault)?.reason
    }
}

private func request() -> ExecRequest {
    ExecRequest(session: Array(repeating: 1, count: 16), arguments: ["true"])
}

@Suite("Hostile guests")
struct HostilePeerTests {
    static let flood = frame(1, .data(.stdout, Array(repeating: 0, count: 65_000)))
    static let nonsense: [[UInt8]] = [
        [3, 0, 0, 0, 0x7F, 5, 0, 0, 0, 1, 0, 0, 0], Array(repeating: 0x55, count: 400),
        flood + flood + flood + flood + flood, started + started + started + started + started,
        frame(9, .end), frame(0, .ping(1)), frame(1, .message(.signal(9))),
        frame(1, .open(credit: 1, .stats)), greeting, frame(1, .data(.stdout, [])),
        frame(1, .credit(1 << 24)), [2, 1, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 99],
    ]
    static let started = frame(1, .message(.started(pid: 1, from: 0, attached: false)))

    @Test(arguments: nonsense)
    func nonsenseFailsTheConnectionAndEverybodyWhoWaits(bytes: [UInt8]) async throws {
        try await withPeer { guest, peer in
            peer.say(greeting)
            _ = try await guest.ready()
            peer.answer(Self.started)
            let session = try await guest.exec(request())
            async let other = reason { try await guest.ping() }
            peer.say(bytes)
            // Not read meanwhile: a reader would make room for what is too much.
            #expect(await other == .guestProtocol)
            let failed = await reason { while try await session.next() != nil {} }
            #expect(failed == .guestProtocol)
            // It stays failed, with the first reason.
            let again = await reason { _ = try await guest.stats() }
            #expect(again == .guestProtocol)
        }
    }

    @Test func anEndFailsWhoWaitsButNotWhatHadCome() async throws {
        try await withPeer { guest, peer in
            peer.say(greeting)
            _ = try await guest.ready()
            peer.answer(Self.started + frame(1, .data(.stdout, [7])))
            let session = try await guest.exec(request())
            async let other = reason { try await guest.ping() }
            peer.say([])
            #expect(await other == .guestUnreachable)
            #expect(try await session.next() == .stdout([7]))
            await #expect {
                try await session.next()
            } throws: {
                ($0 as? Fault)?.reason == .guestUnreachable
            }
        }
    }

    @Test func anOlderConnectionsWordsAndGarbageBeforeTheGreetingAreSkipped() async throws {
        try await withPeer { guest, peer in
            let old = Hello(side: .guest, nonce: 4).encoded()
            let echo = Hello(side: .host, nonce: 5).encoded()
            peer.say([1, 2, 3] + frame(1, .end) + old + frame(3, .end) + echo + frame(2, .end))
            peer.say(greeting)
            let hello = try await guest.ready()
            #expect(hello.nonce == 5)
        }
    }

    @Test func anotherVersionIsRefusedByName() async throws {
        try await withPeer { guest, peer in
            var hello = Hello(side: .guest, nonce: 5)
            hello.version = 9
            peer.say(hello.encoded())
            await #expect {
                try await guest.ready()
            } throws: {
                ($0 as? Fault)?.message.contains("version 9") == true
            }
        }
    }

    @Test func aSilentGuestKeepsOnlyItsCallersAndTheyCanLeave() async throws {
        try await withPeer { guest, peer in
            peer.say(greeting)
            _ = try await guest.ready()
            await withTaskGroup(of: Reason?.self) { group in
                group.addTask { await reason { _ = try await guest.stats() } }
                group.cancelAll()
                #expect(await group.next() == .opCancelled)
            }
            peer.answer(frame(2, .message(.started(pid: 1, from: 0, attached: false))))
            #expect(try await guest.exec(request()).pid == 1)
        }
    }

    @Test func aGuestsWordsAreSanitised() async throws {
        try await withPeer { guest, peer in
            peer.say(greeting)
            _ = try await guest.ready()
            let evil = GuestFailure(.pathNotFound, "no \u{1B}[2J\u{07}\u{202E}file\nü")
            peer.answer(frame(1, .message(.failed(evil))) + frame(1, .end))
            await #expect {
                try await guest.exec(request())
            } throws: {
                ($0 as? Fault) == Fault(.pathNotFound, "no ?[2J??file?ü")
            }
        }
    }

    @Test func anAnswerThatNeverEndsIsCutOff() async throws {
        try await withPeer { guest, peer in
            peer.say(greeting)
            _ = try await guest.ready()
            let flood = frame(1, .data(.main, Array(repeating: 0, count: 65_000)))
            peer.answer(flood)
            async let stats = reason { _ = try await guest.stats() }
            for _ in 0..<4 {
                peer.say(flood)
                for _ in 0..<100 { await Task.yield() }
            }
            #expect(await stats == .guestProtocol)
        }
    }
}
