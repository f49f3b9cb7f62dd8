/// One unit of the guest channel. On the wire: kind (8 bits), length of the payload (32),
/// epoch (32), stream (32), payload. Stream 0 is the connection itself.
package struct Frame: Hashable, Sendable {
    /// Which connection it belongs to; see ``Hello/epoch``. Frames of another one are dropped.
    package var epoch: UInt32
    /// Which stream it belongs to; 0 is the connection.
    package var stream: UInt32
    /// What it says.
    package var body: Body

    package init(epoch: UInt32, stream: UInt32, body: Body) {
        self.epoch = epoch
        self.stream = stream
        self.body = body
    }

    /// The kinds of frame.
    package enum Body: Hashable, Sendable {
        /// Host only: a new stream, the bytes that the guest may send on it, the bits of the op id
        /// that caused it, and what is wanted.
        case open(credit: UInt32, operation: OperationMark = .none, Request)
        /// A small fact about a stream. Needs no credit.
        case message(Message)
        /// Bytes of a stream. Needs credit.
        case data(DataChannel, [UInt8])
        /// The receiver consumed so many bytes; the sender may send as many more.
        case credit(UInt32)
        /// No more data from this side. From the guest: nothing more at all on this stream.
        case end
        /// The stream is over for both sides, and nobody cares about the rest.
        case reset
        /// Host only, stream 0: say it back.
        case ping(UInt64)
        /// Guest only, stream 0: a ping's number.
        case pong(UInt64)
        /// Guest only, stream 0: something happened.
        case event(Event)
        /// Host only, stream 0: the machine that stood still goes on, as the one that it was.
        case goOn
    }

    /// The bytes of a frame's header.
    package static let headerSize = 13

    /// The frame on the wire. Data that holds the preamble's magic is cut into two frames, so
    /// that no frame ever contains it.
    package func encoded() -> [UInt8] {
        guard case .data(let channel, let bytes) = body else {
            return encoded(payload: payload)
        }
        var whole: [UInt8] = []
        whole.reserveCapacity(bytes.count + 64)
        var rest = bytes[...]
        repeat {
            var cut = min(rest.count, WireLimits.framePayload - 1)
            let found = rest.prefix(cut).withUnsafeBufferPointer { offsetOfMagic(in: $0, from: 0) }
            if let found { cut = found + 8 }
            whole += header(count: cut + 1)
            whole.append(channel.rawValue)
            whole += rest.prefix(cut)
            rest = rest.dropFirst(cut)
        } while !rest.isEmpty
        return whole
    }

    private func encoded(payload: [UInt8]) -> [UInt8] { header(count: payload.count) + payload }

    private func header(count: Int) -> [UInt8] {
        var writer = ByteWriter()
        writer.number(kind)
        writer.number(UInt32(count))
        writer.number(epoch)
        writer.number(stream)
        return writer.bytes
    }

    /// The number that says the kind on the wire. All are below 128; see ``FrameDecoder``.
    package var kind: UInt8 {
        switch body {
        case .open: 1
        case .message: 2
        case .data: 3
        case .credit: 4
        case .end: 5
        case .reset: 6
        case .ping: 7
        case .pong: 8
        case .event: 9
        case .goOn: 10
        }
    }

    /// The payload's bytes, but for data.
    private var payload: [UInt8] {
        var writer = ByteWriter()
        switch body {
        case .open(let credit, let operation, let request):
            writer.number(credit)
            writer.number(operation.low)
            writer.number(operation.high)
            request.encode(into: &writer)
        case .message(let message): message.encode(into: &writer)
        case .data(let channel, let bytes):
            writer.number(channel.rawValue)
            writer.raw(bytes)
        case .credit(let count): writer.number(count)
        case .end, .reset, .goOn: break
        case .ping(let number), .pong(let number): writer.number(number)
        case .event(let event): writer.number(event.rawValue)
        }
        return writer.bytes
    }

    /// The payload bytes that the frame would have; a sender refuses what is over the limit.
    package var payloadSize: Int { payload.count }
}

/// Which of a stream's data it is.
package enum DataChannel: UInt8, Hashable, Sendable {
    /// Input to the guest, or the one output of a stream that is no process.
    case main = 0
    /// A process' standard output, or all output of a terminal.
    case stdout = 1
    /// A process' standard error.
    case stderr = 2
}

/// What the guest says unasked.
package enum Event: UInt8, Hashable, Sendable {
    /// Everything is mounted and set up.
    case ready = 1
    /// The guest is about to power off or reboot.
    case stopping = 2
}

extension Frame.Body {
    init(kind: UInt8, payload: ArraySlice<UInt8>) throws(WireError) {
        var reader = ByteReader(payload)
        switch kind {
        case 1:
            self = .open(
                credit: try grant(&reader),
                operation: OperationMark(low: try reader.number(), high: try reader.number()),
                try Request(from: &reader)
            )
        case 2:
            guard payload.count <= WireLimits.messagePayload else {
                throw .oversizedField(payload.count)
            }
            self = .message(try Message(from: &reader))
        case 3:
            let tag = try reader.number(UInt8.self)
            guard let channel = DataChannel(rawValue: tag) else { throw .unknownTag(tag) }
            self = .data(channel, reader.rest())
        case 4: self = .credit(try grant(&reader))
        case 5: self = .end
        case 6: self = .reset
        case 7: self = .ping(try reader.number())
        case 8: self = .pong(try reader.number())
        case 9:
            let tag = try reader.number(UInt8.self)
            guard let event = Event(rawValue: tag) else { throw .unknownTag(tag) }
            self = .event(event)
        case 10: self = .goOn
        default: throw .unknownKind(kind)
        }
        try reader.finish()
    }
}

private func grant(_ reader: inout ByteReader) throws(WireError) -> UInt32 {
    let count = try reader.number(UInt32.self)
    guard count <= WireLimits.largestGrant else { throw .oversizedField(Int(count)) }
    return count
}

/// The bits of the op id that a stream belongs to, so that a guest's words can be traced to it.
package struct OperationMark: Hashable, Sendable {
    package var low: UInt64
    package var high: UInt64

    /// No operation caused it.
    package static let none = OperationMark(low: 0, high: 0)

    package init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }
}

extension OperationMark: CustomStringConvertible {
    /// `op-` and 26 characters, as the host writes the op id; empty for ``none``.
    package var description: String {
        guard self != .none else { return "" }
        let bits = UInt128(high) << 64 | UInt128(low)
        let digits = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)
        let text = stride(from: 125, through: 0, by: -5).map {
            digits[Int(bits >> UInt128($0) & 31)]
        }
        return "op-" + String(decoding: text, as: UTF8.self)
    }
}
