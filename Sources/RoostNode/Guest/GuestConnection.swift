package import RoostGuestWire
package import RoostModel
import Synchronization

/// One connection to the agent in one guest, over a byte stream.
///
/// The owner runs ``run()`` in its task group; it ends when the stream does. Everything else
/// may be called from any task and waits without holding anything. The guest is hostile: it can
/// make its own connection fail, and cost at most about 1 MiB of memory; it cannot do more.
///
/// Reading never waits for a slow consumer: a stream's window bounds what can pile up.
package final class GuestConnection: Sendable {
    /// What all windows together may promise beyond ``smallestWindow`` for each stream.
    static let windowBudget = 524_288
    /// What every stream may send unconsumed.
    static let smallestWindow = 4_096
    /// What may wait to be written to a guest that does not read.
    static let outboxLimit = 1 << 20

    private let stream: any ByteStream
    private let greeting: Hello
    let state: Mutex<State>

    /// Makes a connection that is not greeted yet.
    ///
    /// - Parameters:
    ///   - stream: the channel; this connection closes it.
    ///   - nonce: fresh for every connection; from the caller's randomness.
    ///   - now: the host's clock, which the guest sets its own by; `nil` to leave it.
    ///   - vm: the VM's name for messages.
    package init(over stream: any ByteStream, nonce: UInt64, now: Timestamp?, vm: String) {
        self.stream = stream
        let clock = now?.milliseconds.multipliedReportingOverflow(by: 1_000_000)
        greeting = Hello(
            side: .host,
            nonce: nonce,
            wallClock: clock.map { $0.overflow ? 0 : $0.partialValue } ?? 0,
            software: "roost/1"
        )
        state = Mutex(State(vm: vm, outbox: greeting.encoded()))
    }

    /// Opens a stream for `request` at once: it goes with the greeting, and the guest, taken for one
    /// with this code's limits, has it before it was waited for. What was open before is lost with a
    /// greeting that is.
    func begin(_ request: Request) throws(Fault) -> GuestStream {
        state.withLock { state in
            guard state.mux == nil else { return }
            let guest = Hello(side: .guest, nonce: greeting.nonce)
            state.mux = Mux(side: .host, epoch: greeting.epoch, peer: guest)
        }
        return try GuestStream(request, on: self)
    }

    /// Greets the guest and serves the connection until it ends, fails or is closed.
    package func run() async {
        async let writing: Void = writeLoop()
        await readLoop()
        await stream.close()
        await writing
    }

    /// Ends the connection; whoever waits fails with `GUEST_UNREACHABLE`.
    package func close() async {
        fail(Fault(.guestUnreachable, "the connection to \(vm) was closed"))
        await stream.close()
    }

    /// Waits for the agent's preamble.
    package func ready() async throws(Fault) -> Hello {
        while true {
            let hello = try state.withLock { (state) throws(Fault) in
                if let failure = state.failure { throw failure }
                return state.hello
            }
            if let hello { return hello }
            try await wait(for: .hello(ticket()))
        }
    }

    /// Waits until the agent says a number back; the time it took is the caller's to measure.
    package func ping() async throws(Fault) {
        let number = ticket()
        state.withLock { _ = $0.pings.insert(number) }
        defer {
            state.withLock {
                $0.pings.remove(number)
                $0.pongs.remove(number)
            }
        }
        try send(0, .ping(number))
        while true {
            let answered = try state.withLock { (state) throws(Fault) in
                if let failure = state.failure { throw failure }
                return state.pongs.remove(number) != nil
            }
            if answered { return }
            try await wait(for: .pong(number))
        }
    }

    /// Opens a stream for `request`, the last thing that is written before ``speak(_:)``: what is
    /// sent meanwhile is kept.
    func fallSilent(after request: Request) throws(Fault) -> GuestStream {
        let (id, waiter) = try state.withLock { (state) throws(Fault) in
            let opened = try state.open(request)
            state.isSilent = true
            return opened
        }
        waiter?.resume()
        return GuestStream(id, on: self)
    }

    /// Ends the silence: tells the guest to go on, writes what was kept, and opens a stream for `request`.
    func speak(_ request: Request) throws(Fault) -> GuestStream {
        defer { for waiter in state.withLock({ $0.speak() }) { waiter.resume() } }
        // Kept too, so that all goes in one piece: the guest waits for it.
        return try GuestStream(request, on: self)
    }

    /// Whether what is sent is kept.
    var isSilent: Bool { state.withLock(\.isSilent) }

    /// Whether it has ended and serves nobody any more.
    package var hasFailed: Bool { state.withLock { $0.failure != nil } }

    /// The name of the guest in messages.
    var vm: String { state.withLock { $0.vm } }

    // MARK: Loops

    private func readLoop() async {
        var decoder = FrameDecoder()
        do throws(Fault) {
            while true {
                let bytes = try await stream.read(upTo: WireLimits.framePayload)
                guard !bytes.isEmpty else {
                    throw Fault(.guestUnreachable, "\(vm) closed its channel")
                }
                decoder.feed(bytes)
                try drain(&decoder)
            }
        } catch {
            fail(error)
        }
    }

    private func drain(_ decoder: inout FrameDecoder) throws(Fault) {
        do throws(WireError) {
            while let item = try decoder.next() {
                if try !accept(item) { decoder.desynchronize() }
            }
        } catch {
            throw fault(for: error, from: vm)
        }
    }

    /// Takes one item; `false` when it was not for this connection.
    private func accept(_ item: FrameDecoder.Item) throws(WireError) -> Bool {
        let wakes = try state.withLock { (state) throws(WireError) -> [State.Waiter]? in
            guard state.failure == nil else { return [] }
            switch item {
            case .hello(let hello):
                // An older connection's answer, or our own words from a port that echoes.
                guard hello.side == .guest, hello.nonce == greeting.nonce else {
                    guard state.hello == nil else { throw .unexpectedHello }
                    return nil
                }
                return try state.greeted(hello)
            case .frame(let frame): return try state.receive(frame)
            }
        }
        guard let wakes else { return false }
        for waiter in wakes { waiter.resume() }
        return true
    }

    private func writeLoop() async {
        while true {
            let taken = state.withLock { $0.failure == nil ? $0.takeOutbox() : nil }
            guard let (next, writers) = taken else { return }
            for writer in writers { writer.resume() }
            do throws(Fault) {
                if next.isEmpty {
                    try await wait(for: .outbox)
                } else {
                    try await stream.write(next)
                }
            } catch {
                fail(error)
                await stream.close()
            }
        }
    }

    // MARK: Sending

    func enqueue(_ bytes: [UInt8]) {
        state.withLock { $0.enqueue(bytes) }?.resume()
    }

    /// Queues a frame.
    func send(_ stream: UInt32, _ body: Frame.Body) throws(Fault) {
        let waiter = try state.withLock { (state) throws(Fault) in
            try state.send(stream, body)
        }
        waiter?.resume()
    }

    /// Fails the connection and all who wait, once.
    func fail(_ fault: Fault) {
        for waiter in state.withLock({ $0.fail(fault) }) { waiter.resume() }
    }

    /// A number that no other waiter of this connection has.
    func ticket() -> UInt64 {
        state.withLock { state in
            state.lastTicket += 1
            return state.lastTicket
        }
    }

    // MARK: Waiting

    /// Waits until something has happened to `key`; the caller looks again. Cancelling the task
    /// ends the wait with `OP_CANCELLED`.
    func wait(for key: WaitKey) async throws(Fault) {
        await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: State.Waiter) in
                if state.withLock({ $0.park(continuation, at: key) }) {
                    continuation.resume()
                } else if Task.isCancelled {
                    // The cancellation may have come before there was anything to remove.
                    state.withLock { $0.waiters.removeValue(forKey: key) }?.resume()
                }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: key) }?.resume()
        }
        if Task.isCancelled { throw Fault(.opCancelled, "waiting for \(vm) was cancelled") }
    }
}

/// What a task of a connection waits for. One waiter each.
enum WaitKey: Hashable {
    case outbox
    case hello(UInt64)
    case pong(UInt64)
    /// Something to read on a stream.
    case input(UInt32)
    /// Credit to send on a stream.
    case credit(UInt32)
}

/// Maps a peer's bad bytes to the catalogue.
func fault(for error: WireError, from vm: String) -> Fault {
    switch error {
    case .version(let version):
        Fault(.guestProtocol, "the agent of \(vm) speaks protocol version \(version)", cause: error)
    case .truncated, .oversizedFrame, .oversizedField, .trailingBytes, .unknownKind, .unknownTag,
        .invalidText, .misplaced, .unknownStream, .streamReused, .tooManyStreams, .creditExceeded,
        .tooManyMessages, .afterEnd, .unexpectedHello:
        Fault(.guestProtocol, "\(vm) sent a bad frame: \(error)", cause: error)
    }
}
