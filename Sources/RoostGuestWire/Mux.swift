/// The streams of one connection, as a value: ids, windows, ends. Both sides use it; neither
/// I/O nor time is in it. Whoever owns it sends the frames that the calls below describe.
package struct Mux: Sendable {
    /// What an accepted frame means to the owner.
    package enum Incoming: Hashable, Sendable {
        /// The host wants something, for an operation of its own.
        case opened(UInt32, Request, OperationMark)
        case message(UInt32, Message)
        case data(UInt32, DataChannel, [UInt8])
        /// More may be sent on the stream.
        case credit(UInt32)
        /// The host ended its data; the stream goes on.
        case inputEnded(UInt32)
        /// The stream is over; `reset` says that the peer broke it off.
        case closed(UInt32, reset: Bool)
        case ping(UInt64)
        case pong(UInt64)
        case event(Event)
        case goOn
        /// Of another epoch, or it crossed with a close.
        case ignored
    }

    private struct Stream {
        /// What this side may still send.
        var sendCredit: Int
        /// What the peer may still send.
        var receiveCredit: Int
        /// Consumed by the owner and not yet granted again.
        var consumed = 0
        /// The window that grants restore.
        var window: Int
        var localEnded = false
        var remoteEnded = false
    }

    /// Whose table it is.
    package let side: Hello.Side
    /// The connection's epoch; frames of others are ignored.
    package let epoch: UInt32
    private var initialSendCredit: Int
    private let initialReceiveCredit: Int
    private var maxStreams: Int
    private var streams: [UInt32: Stream] = [:]
    private var lastOpened: UInt32 = 0

    /// Makes the table of `side` after the hellos; `peer` is the other side's.
    package init(side: Hello.Side, epoch: UInt32, peer: Hello) {
        self.side = side
        self.epoch = epoch
        initialSendCredit = min(Int(peer.initialCredit), WireLimits.largestGrant)
        initialReceiveCredit = WireLimits.credit
        maxStreams = min(WireLimits.streams, Int(peer.maxStreams))
    }

    /// Takes note of what the peer really said, where the table was made before that. Streams that are
    /// open stay as they are.
    package mutating func meet(_ peer: Hello) {
        initialSendCredit = min(Int(peer.initialCredit), WireLimits.largestGrant)
        maxStreams = min(WireLimits.streams, Int(peer.maxStreams))
    }

    /// The most streams that may be open.
    package var capacity: Int { maxStreams }
    /// How many streams are open.
    package var count: Int { streams.count }
    /// Whether `stream` is open.
    package func isOpen(_ stream: UInt32) -> Bool { streams[stream] != nil }
    /// The bytes of data that may be sent on `stream` now; 0 when it is closed or ended.
    package func sendCredit(_ stream: UInt32) -> Int {
        guard let state = streams[stream], !state.localEnded else { return 0 }
        return state.sendCredit
    }

    /// The bytes that the peer may send on all streams together: what may come to lie here.
    package var grantedBytes: Int { streams.values.reduce(0) { $0 + $1.window } }

    /// Host: opens a stream on which the guest may send `window` bytes unconsumed.
    ///
    /// - Returns: its id, or `nil` when the table or the id space is full.
    package mutating func open(window: Int) -> UInt32? {
        guard side == .host, streams.count < maxStreams, lastOpened < WireLimits.lastStream else {
            return nil
        }
        lastOpened += 1
        streams[lastOpened] = Stream(
            sendCredit: initialSendCredit,
            receiveCredit: window,
            window: window
        )
        return lastOpened
    }

    /// Takes note that `count` bytes are being sent on `stream`.
    ///
    /// - Precondition: `count` is at most ``sendCredit(_:)``.
    package mutating func sent(_ count: Int, on stream: UInt32) {
        precondition(count <= sendCredit(stream), "sent beyond the credit")
        streams[stream]?.sendCredit -= count
    }

    /// Takes note that the owner consumed `count` bytes of `stream`.
    ///
    /// - Returns: the grant to send, or `nil` while it is less than half the window.
    package mutating func consumed(_ count: Int, on stream: UInt32) -> UInt32? {
        guard var state = streams[stream], !state.remoteEnded else { return nil }
        state.consumed += count
        defer { streams[stream] = state }
        guard state.consumed * 2 >= state.window else { return nil }
        let grant = state.consumed
        state.consumed = 0
        state.receiveCredit += grant
        return UInt32(grant)
    }

    /// Ends this side's data on `stream`. A guest's end closes it.
    ///
    /// - Returns: whether the frame is to be sent: `false` when it was ended or closed before.
    package mutating func end(_ stream: UInt32) -> Bool {
        guard let state = streams[stream], !state.localEnded else { return false }
        if side == .guest {
            streams[stream] = nil
        } else {
            streams[stream]?.localEnded = true
        }
        return true
    }

    /// Breaks `stream` off.
    ///
    /// - Returns: whether the frame is to be sent: `false` when it was closed before.
    package mutating func reset(_ stream: UInt32) -> Bool {
        streams.removeValue(forKey: stream) != nil
    }

    /// Takes a frame of the peer's.
    ///
    /// - Throws: ``WireError`` when it is one that an honest peer would not send now.
    package mutating func receive(_ frame: Frame) throws(WireError) -> Incoming {
        guard frame.epoch == epoch else { return .ignored }
        let stream = frame.stream
        switch (frame.body, side) {
        case (.ping(let number), .guest) where stream == 0: return .ping(number)
        case (.pong(let number), .host) where stream == 0: return .pong(number)
        case (.event(let event), .host) where stream == 0: return .event(event)
        case (.goOn, .guest) where stream == 0: return .goOn
        case (.open(let credit, let operation, let request), .guest) where stream != 0:
            return try accept(stream, credit: credit, request, operation)
        case (.ping, _), (.pong, _), (.event, _), (.open, _), (.goOn, _):
            throw .misplaced(kind: frame.kind, stream: stream)
        case (.message, _), (.data, _), (.credit, _), (.end, _), (.reset, _):
            guard stream != 0, stream <= lastOpened else { throw .unknownStream(stream) }
            guard let state = streams[stream] else { return .ignored }
            return try receive(frame, in: state)
        }
    }

    private mutating func accept(
        _ stream: UInt32,
        credit: UInt32,
        _ request: Request,
        _ operation: OperationMark
    ) throws(WireError) -> Incoming {
        guard stream > lastOpened else { throw .streamReused(stream) }
        guard streams.count < WireLimits.streams else { throw .tooManyStreams }
        lastOpened = stream
        streams[stream] = Stream(
            sendCredit: Int(credit),
            receiveCredit: initialReceiveCredit,
            window: initialReceiveCredit
        )
        return .opened(stream, request, operation)
    }

    private mutating func receive(_ frame: Frame, in known: Stream) throws(WireError) -> Incoming {
        let stream = frame.stream
        var state = known
        switch frame.body {
        case .message(let message):
            guard message.isFromGuest == (side == .host) else {
                throw .misplaced(kind: frame.kind, stream: stream)
            }
            return .message(stream, message)
        case .data(let channel, let bytes):
            guard !state.remoteEnded else { throw .afterEnd(stream) }
            guard bytes.count <= state.receiveCredit else { throw .creditExceeded(stream) }
            state.receiveCredit -= bytes.count
            streams[stream] = state
            return .data(stream, channel, bytes)
        case .credit(let count):
            state.sendCredit += Int(count)
            guard state.sendCredit <= WireLimits.largestGrant else {
                throw .oversizedField(state.sendCredit)
            }
            streams[stream] = state
            return .credit(stream)
        case .end:
            if side == .host {
                streams[stream] = nil
                return .closed(stream, reset: false)
            }
            guard !state.remoteEnded else { throw .afterEnd(stream) }
            state.remoteEnded = true
            streams[stream] = state
            return .inputEnded(stream)
        case .reset:
            streams[stream] = nil
            return .closed(stream, reset: true)
        case .open, .ping, .pong, .event, .goOn:
            throw .misplaced(kind: frame.kind, stream: stream)
        }
    }
}
