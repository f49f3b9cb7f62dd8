import RoostGuestWire
import RoostModel
import RoostNode
import Synchronization
import Testing

@Suite("Greeting a guest")
struct GreeterTests {
    /// Runs `body` with what makes connections to `peers`, one after the other.
    private func connecting(
        to peers: [ScriptedPeer],
        _ body: (() async throws(Fault) -> GuestConnection) async throws -> Void
    ) async throws {
        let (jobs, inlet) = AsyncStream.makeStream(of: GuestConnection.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                await withDiscardingTaskGroup { running in
                    for await connection in jobs { running.addTask { await connection.run() } }
                }
            }
            let next = Mutex(0)
            try await body { () async throws(Fault) in
                let index = next.withLock { next in
                    defer { next += 1 }
                    return next
                }
                guard index < peers.count else {
                    throw Fault(.guestUnreachable, "no more guests")
                }
                let nonce = UInt64(index + 1)
                let made = GuestConnection(over: peers[index], nonce: nonce, now: nil, vm: "box")
                inlet.yield(made)
                return made
            }
            for peer in peers { await peer.close() }
            inlet.finish()
        }
    }

    @Test("goes on over a new connection when a greeting is lost")
    func lost() async throws {
        let (deaf, awake) = (ScriptedPeer(), ScriptedPeer())
        // What it would answer; 3 is the third connection's own number.
        awake.say(Hello(side: .guest, nonce: 3).encoded())
        let greeter = Greeter(clock: ContinuousClock(), patience: .seconds(1))
        try await connecting(to: [deaf, ScriptedPeer(), awake]) { connect in
            let connection = try await greeter.greeted(connect)
            #expect(try await connection.ready().nonce == 3)
        }
    }

    @Test("ends with what connecting ends with, and with a connection that somebody closes")
    func ends() async throws {
        let greeter = Greeter(clock: ContinuousClock(), patience: .seconds(3600))
        try await connecting(to: []) { connect in
            await #expect(throws: Fault.self) { _ = try await greeter.greeted(connect) }
        }
        let peer = ScriptedPeer()
        try await connecting(to: [peer]) { connect in
            await #expect(throws: Fault.self) {
                _ = try await greeter.greeted { () async throws(Fault) in
                    let made = try await connect()
                    await made.close()
                    return made
                }
            }
        }
    }
}
