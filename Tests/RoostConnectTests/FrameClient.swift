import NIOCore
import NIOPosix

/// One call over HTTP/2 (RFC 9113), frame by frame: what a client of a library cannot see.
struct FrameClient {
    struct Frame {
        let kind: UInt8
        let flags: UInt8
        let stream: UInt32
        let content: [UInt8]
    }

    static let (data, headers, settings, ping, goAway): (UInt8, UInt8, UInt8, UInt8, UInt8) =
        (0, 1, 4, 6, 7)
    /// END_STREAM of data and headers, ACK of settings and pings.
    static let lastOrAnswer: UInt8 = 1

    let write: (ByteBuffer) async throws -> Void
    private var bytes: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    private var unread = ByteBuffer()

    /// Calls `path` with a message of JSON, on stream 1, and lets `body` read what comes.
    static func call<Result: Sendable>(
        port: Int,
        path: String,
        json: String,
        _ body: @Sendable (inout FrameClient) async throws -> Result
    ) async throws -> Result {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                        wrappingChannelSynchronously: channel
                    )
                }
            }
        return try await channel.executeThenClose { inbound, outbound in
            var client = FrameClient(
                write: { try await outbound.write($0) },
                bytes: inbound.makeAsyncIterator()
            )
            try await client.write(ByteBuffer(string: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
            try await client.send(settings, flags: 0, stream: 0, [])
            // HPACK (RFC 7541): names of the static table, literal values that nobody keeps.
            let fields: [UInt8] =
                [0x83, 0x86, 0x04] + literal(path) + [0x01] + literal("roost")
                + [0x0f, 0x10] + literal("application/json")
            let endOfHeaders: UInt8 = 4
            try await client.send(headers, flags: endOfHeaders, stream: 1, fields)
            try await client.send(data, flags: lastOrAnswer, stream: 1, Array(json.utf8))
            return try await body(&client)
        }
    }

    func send(_ kind: UInt8, flags: UInt8, stream: UInt32, _ content: [UInt8]) async throws {
        var frame = ByteBuffer(integer: UInt32(content.count) << 8 | UInt32(kind))
        frame.writeInteger(flags)
        frame.writeInteger(stream)
        frame.writeBytes(content)
        try await write(frame)
    }

    /// The next frame; `nil` when the connection has ended.
    mutating func next() async throws -> Frame? {
        while true {
            if let head = unread.getInteger(at: unread.readerIndex, as: UInt32.self),
                unread.readableBytes >= 9 + Int(head >> 8),
                let frame = unread.readMultipleIntegers(as: (UInt32, UInt8, UInt32).self),
                let content = unread.readBytes(length: Int(head >> 8))
            {
                return Frame(
                    kind: UInt8(frame.0 & 0xff),
                    flags: frame.1,
                    stream: frame.2,
                    content: content
                )
            }
            guard var more = try await bytes.next(isolation: #isolation) else { return nil }
            unread.writeBuffer(&more)
        }
    }

    private static func literal(_ text: String) -> [UInt8] {
        precondition(text.utf8.count < 127, "a longer literal needs more bytes of length")
        return [UInt8(text.utf8.count)] + Array(text.utf8)
    }
}
