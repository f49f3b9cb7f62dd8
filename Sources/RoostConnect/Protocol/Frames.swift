internal import GRPCCore
internal import HummingbirdCore
internal import NIOCore

/// A message with its five bytes of flags and length, as Connect streams and gRPC have them.
struct Frame: Sendable, Equatable {
    /// Bit 0: compressed. Bit 1, in Connect: the end of the stream.
    var flags: UInt8
    var bytes: [UInt8]

    /// The frame as it is sent.
    var encoded: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(bytes.count + 5)
        buffer.writeInteger(flags)
        buffer.writeInteger(UInt32(bytes.count))
        buffer.writeBytes(bytes)
        return buffer
    }
}

/// Cuts a body into frames.
struct FrameDecoder: Sendable {
    private var buffer = ByteBuffer()
    private let limit: Int

    /// Refuses frames of over `limit` bytes.
    init(limit: Int) { self.limit = limit }

    mutating func append(_ bytes: ByteBuffer) {
        buffer.discardReadBytes()
        buffer.writeImmutableBuffer(bytes)
    }

    /// The next whole frame; `nil` when there is none yet.
    mutating func next() throws(RPCError) -> Frame? {
        guard let flags = buffer.getInteger(at: buffer.readerIndex, as: UInt8.self),
            let length = buffer.getInteger(at: buffer.readerIndex + 1, as: UInt32.self)
        else { return nil }
        if length > limit { throw .tooLarge(Int(length), limit: limit) }
        guard buffer.readableBytes >= 5 + Int(length) else { return nil }
        buffer.moveReaderIndex(forwardBy: 5)
        return Frame(flags: flags, bytes: buffer.readBytes(length: Int(length)) ?? [])
    }

    /// Throws when the body ended inside a frame.
    func finish() throws(RPCError) {
        if buffer.readableBytes > 0 {
            throw RPCError(code: .invalidArgument, message: "the body ends inside a message")
        }
    }
}

extension RPCError {
    /// A request of `bytes` bytes, or of more than `limit` where that is all that is known.
    static func tooLarge(_ bytes: Int?, limit: Int) -> RPCError {
        let size = bytes.map { "\($0) bytes" } ?? "more"
        return RPCError(
            code: .resourceExhausted,
            message: "the request has \(size); at most \(limit) bytes"
        )
    }
}

/// Turns what a client sent into a message's bytes: inflated, bounded, or refused.
struct MessageReader: Sendable {
    /// What the client named as compression: empty or `identity` is none.
    let compression: String
    /// Bytes of a message, before and after inflating.
    let limit: Int

    /// The bytes in `bytes`.
    func inflate(_ bytes: [UInt8]) throws(RPCError) -> [UInt8] {
        guard compression == "gzip" else {
            throw RPCError(
                code: .unimplemented,
                message: "the compression '\(compression)' is not offered; gzip is"
            )
        }
        // Clients flag empty messages as compressed and send nothing.
        if bytes.isEmpty { return [] }
        do throws(Inflate.Problem) {
            return try Inflate.gzip(bytes, limit: limit)
        } catch {
            switch error {
            case .tooLarge: throw .tooLarge(nil, limit: limit)
            case .damaged:
                throw RPCError(code: .invalidArgument, message: "the gzip data is damaged")
            }
        }
    }

    var isPlain: Bool { compression.isEmpty || compression == "identity" }
}
