import RoostGuestWire
import RoostModel
import Synchronization

/// One stream of a connection: what all kinds of request share.
///
/// One reader and one writer at a time. Whoever drops it without reading to the end calls
/// ``cancel()``, or the stream's slot stays taken until the connection ends.
struct GuestStream: Sendable {
    let connection: GuestConnection
    let id: UInt32

    /// Opens a stream for `request`.
    init(_ request: Request, on connection: GuestConnection) throws(Fault) {
        let (id, waiter) = try connection.state.withLock { (state) throws(Fault) in
            try state.open(request)
        }
        self.init(id, on: connection)
        waiter?.resume()
    }

    /// The stream `id`, which was opened under the connection's lock.
    init(_ id: UInt32, on connection: GuestConnection) {
        self.connection = connection
        self.id = id
    }

    /// The next message or data; `nil` at the end. Consuming data is what grants more.
    func next() async throws(Fault) -> GuestConnection.State.Item? {
        while true {
            let (item, isOver) = try take()
            if let item { return item }
            if isOver { return nil }
            do throws(Fault) {
                try await connection.wait(for: .input(id))
            } catch {
                cancel()
                throw error
            }
        }
    }

    private func take() throws(Fault) -> (GuestConnection.State.Item?, Bool) {
        let id = id
        let (item, isOver, waiter) = try connection.state.withLock { (state) throws(Fault) in
            guard var stream = state.streams[id] else {
                if let failure = state.failure { throw failure }
                return (
                    nil as GuestConnection.State.Item?, true,
                    nil as GuestConnection.State.Waiter?
                )
            }
            guard !stream.items.isEmpty else {
                if !stream.isEnded, let failure = state.failure { throw failure }
                if stream.isReset {
                    state.streams[id] = nil
                    throw Fault(.guestUnreachable, "\(state.vm) broke the stream off")
                }
                if stream.isEnded { state.streams[id] = nil }
                return (nil, stream.isEnded, nil)
            }
            let item = stream.items.removeFirst()
            var waiter: GuestConnection.State.Waiter?
            switch item {
            case .message: stream.messages -= 1
            case .data(_, let bytes):
                if state.failure == nil,
                    let grant = state.mux?.consumed(bytes.count, on: id)
                {
                    waiter = try state.send(id, .credit(grant))
                }
            }
            state.streams[id] = stream
            return (item, false, waiter)
        }
        waiter?.resume()
        return (item, isOver)
    }

    /// Sends data, waiting for the guest's credit.
    func write(_ bytes: [UInt8]) async throws(Fault) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let part = rest
            let id = id
            let (count, waiter) = try connection.state.withLock { (state) throws(Fault) in
                if let failure = state.failure { throw failure }
                guard state.mux?.isOpen(id) == true else {
                    throw Fault(.guestUnreachable, "the stream to \(state.vm) is over")
                }
                let credit = state.credit(id)
                let count = min(part.count, WireLimits.dataChunk, credit)
                guard count > 0 else { return (0, nil as GuestConnection.State.Waiter?) }
                state.mux?.sent(count, on: id)
                return (count, try state.send(id, .data(.main, Array(part.prefix(count)))))
            }
            waiter?.resume()
            rest = rest.dropFirst(count)
            if count == 0 { try await connection.wait(for: .credit(id)) }
        }
    }

    /// Says that no more data follows. May be called twice.
    func endInput() throws(Fault) {
        let id = id
        let waiter = try connection.state.withLock { (state) throws(Fault) in
            if let failure = state.failure { throw failure }
            guard state.mux?.end(id) == true else {
                return nil as GuestConnection.State.Waiter?
            }
            return try state.send(id, .end)
        }
        waiter?.resume()
    }

    /// Sends a message.
    func send(_ message: Message) throws(Fault) {
        let isOpen = connection.state.withLock { $0.mux?.isOpen(id) ?? false }
        if isOpen { try connection.send(id, .message(message)) }
    }

    /// Stops listening, when the guest has said its last word and its end is on the way.
    func release() {
        let id = id
        connection.state.withLock { $0.streams[id] = nil }
    }

    /// Breaks the stream off. May be called at any time, and twice.
    func cancel() {
        let id = id
        let waiter = connection.state.withLock { state in
            state.streams[id] = nil
            guard state.mux?.reset(id) == true else {
                return nil as GuestConnection.State.Waiter?
            }
            // A reset is never refused: it is what frees the stream.
            let epoch = state.mux?.epoch ?? 0
            return state.enqueue(Frame(epoch: epoch, stream: id, body: .reset).encoded())
        }
        waiter?.resume()
    }
}
