internal import GRPCCore
internal import HTTPTypes
internal import HummingbirdCore
internal import NIOCore

extension ConnectTransport {
    /// Answers a call of framed messages: a Connect stream, or any gRPC call.
    ///
    /// The handler runs beside the writing, because its first metadata are the answer's headers.
    @concurrent
    func stream(
        _ incoming: Incoming,
        _ request: Request,
        _ writer: consuming ResponseWriter,
        _ peer: Peer,
        _ handler: @escaping Handler
    ) async throws {
        let parts = Handoff<RPCResponsePart<Payload>>()
        async let served: Void = serve(incoming, request, parts, peer, handler)
        do {
            try await write(parts, incoming, writer)
        } catch {
            parts.abandon()
            await served
            throw error
        }
        await served
    }

    @concurrent
    private func serve(
        _ incoming: Incoming,
        _ request: Request,
        _ parts: Handoff<RPCResponsePart<Payload>>,
        _ peer: Peer,
        _ handler: @escaping Handler
    ) async {
        let inbound = FramedParts<Payload>(
            metadata: incoming.metadata,
            body: request.body,
            isJSON: incoming.dialect.isJSON,
            reader: incoming.reader,
            refusal: incoming.refusal
        )
        let stream = RPCStream<Inbound, Outbound>(
            descriptor: incoming.method,
            inbound: RPCAsyncSequence(wrapping: inbound),
            outbound: RPCWriter.Closable(wrapping: HandoffWriter(parts: parts))
        )
        await withServerContextRPCCancellationHandle { handle in
            peer.onDeparture { handle.cancel() }
            if incoming.method.type == .unary {
                await handler(stream, incoming.context(peer, handle))
            } else {
                await whileListed(handle) {
                    await handler(stream, incoming.context(peer, handle))
                }
            }
            peer.connection.departures.unwatch()
        }
        parts.finish()
    }

    @concurrent
    private func write(
        _ parts: Handoff<RPCResponsePart<Payload>>,
        _ incoming: Incoming,
        _ writer: consuming ResponseWriter
    ) async throws {
        var leading = Metadata()
        var next = await parts.next()
        if case .metadata(let metadata) = next {
            leading = metadata
            next = await parts.next()
        }
        var fields = HTTPFields()
        fields[.contentType] = incoming.dialect.contentType
        fields[incoming.dialect.isGRPC ? .grpcAcceptEncoding : .connectAcceptEncoding] = "gzip"
        fields.add(leading.headers(padded: incoming.dialect.isGRPC))
        // An error without any message could be one block of headers ("Trailers-Only"), but NIO's
        // codec would end it with an empty data frame, which grpc-swift's client refuses.
        let head = HTTPResponse(status: .ok, headerFields: fields)
        var body: any ResponseBodyWriter = try await writer.writeHead(head)
        while let part = next {
            switch part {
            case .metadata: break
            case .message(let payload):
                let bytes = try payload.encoded(asJSON: incoming.dialect.isJSON)
                try await body.write(Frame(flags: 0, bytes: bytes).encoded)
            case .status(let status, let metadata):
                return try await finish(&body, incoming, status, metadata)
            }
            next = await parts.next()
        }
        let status = Status(code: .internalError, message: "the call ended without a status")
        try await finish(&body, incoming, status, [:])
    }

    @concurrent
    private func finish(
        _ body: inout any ResponseBodyWriter,
        _ incoming: Incoming,
        _ status: Status,
        _ metadata: Metadata
    ) async throws {
        if incoming.dialect.isGRPC {
            var fields = HTTPFields()
            fields.add(grpcTrailers(status, metadata))
            try await body.finish(fields)
        } else {
            try await body.write(Frame(flags: 2, bytes: ConnectEnd(status, metadata).json).encoded)
            try await body.finish(nil)
        }
    }
}

/// The trailers that end a gRPC call.
private func grpcTrailers(_ status: Status, _ metadata: Metadata) -> [(HTTPField.Name, String)] {
    var fields: [(HTTPField.Name, String)] = [(.grpcStatus, String(status.code.rawValue))]
    if !status.message.isEmpty { fields.append((.grpcMessage, percentEncoded(status.message))) }
    return fields + metadata.headers(padded: true)
}

/// `text` with everything outside printable ASCII, and `%`, as `%XX` (gRPC's HTTP/2 mapping).
func percentEncoded(_ text: String) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var encoded: [UInt8] = []
    for byte in text.utf8 {
        if (0x20...0x7E).contains(byte), byte != 0x25 {
            encoded.append(byte)
        } else {
            encoded += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }
    return String(decoding: encoded, as: UTF8.self)
}
