internal import GRPCCore
internal import HTTPTypes
internal import HummingbirdCore
internal import Logging
internal import NIOCore

extension ConnectTransport {
    /// Answers one HTTP request: a call, or a page.
    @concurrent
    func respond(
        to request: Request,
        writer: consuming ResponseWriter,
        peer: Peer,
        handler: @escaping Handler
    ) async throws {
        let target = request.head.path ?? "/"
        let path = String(target.prefix { $0 != "?" })
        let type = request.headers[.contentType] ?? ""
        if let (method, isKnown) = method(at: path) {
            let isPost = request.method == .post
            // Somebody who posts a message means a call, also where there is no such method.
            if isPost, isKnown || Dialect(contentType: type) != nil {
                let incoming = Incoming(
                    request,
                    method: method,
                    limit: configuration.maximumMessageBytes,
                    isHTTP2: peer.connection.isHTTP2
                )
                switch incoming.dialect {
                case .connectUnary:
                    try await unary(incoming, request, writer, peer, handler)
                case .connectStream, .grpc:
                    try await stream(incoming, request, writer, peer, handler)
                }
                return
            }
            if isKnown {
                var answer = WebResponse(status: 405, text: "use POST\n")
                answer.headers.append(("allow", "POST"))
                return try await page(answer, request, writer)
            }
        }
        let web = WebRequest(
            method: request.method.rawValue,
            target: target,
            headers: request.headers.map { ($0.name.canonicalName, $0.value) }
                + [("host", request.head.authority ?? "")],
            remotePeer: peer.connection.remotePeer
        )
        let answer = await configuration.routes(web)
        try await page(answer ?? WebResponse(status: 404, text: "not found\n"), request, writer)
    }

    @concurrent
    private func page(
        _ answer: WebResponse,
        _ request: Request,
        _ writer: consuming ResponseWriter
    ) async throws {
        var fields = HTTPFields()
        for (name, value) in answer.headers {
            if let name = HTTPField.Name(name) {
                fields.append(HTTPField(name: name, value: value))
            }
        }
        fields[.contentLength] = String(answer.body.count)
        let head = HTTPResponse(status: .init(code: answer.status), headerFields: fields)
        if request.method == .head {
            try await writer.writeResponse(head)
        } else {
            try await writer.write(
                response: head,
                body: ResponseBody(byteBuffer: ByteBuffer(bytes: answer.body))
            )
        }
    }

    /// Answers a call of one message each way without frames.
    @concurrent
    private func unary(
        _ incoming: Incoming,
        _ request: Request,
        _ writer: consuming ResponseWriter,
        _ peer: Peer,
        _ handler: @escaping Handler
    ) async throws {
        let payload: Payload
        do throws(RPCError) {
            payload = Payload(
                wire: try await message(incoming, request),
                isJSON: incoming.dialect.isJSON
            )
        } catch {
            payload = Payload(refused: error)
        }
        let collected = Collected<Payload>()
        await withServerContextRPCCancellationHandle { handle in
            peer.onDeparture { handle.cancel() }
            let stream = RPCStream<Inbound, Outbound>(
                descriptor: incoming.method,
                inbound: RPCAsyncSequence(
                    wrapping: ReadyParts(parts: [.metadata(incoming.metadata), .message(payload)])
                ),
                outbound: RPCWriter.Closable(wrapping: collected)
            )
            await handler(stream, incoming.context(peer, handle))
            peer.connection.departures.unwatch()
        }
        let (head, body) = unaryAnswer(collected.answer, incoming)
        try await writer.write(
            response: head,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: body))
        )
    }

    /// The request's one message, inflated and within the limit.
    @concurrent
    private func message(
        _ incoming: Incoming,
        _ request: Request
    ) async throws(RPCError) -> [UInt8] {
        if let refusal = incoming.refusal { throw refusal }
        let limit = incoming.reader.limit
        if let text = request.headers[.contentLength], let length = Int(text), length > limit {
            throw .tooLarge(length, limit: limit)
        }
        let buffer: ByteBuffer
        do {
            buffer = try await request.body.collect(upTo: limit)
        } catch is NIOTooManyBytesError {
            throw .tooLarge(nil, limit: limit)
        } catch {
            throw RPCError(code: .cancelled, message: "the client has gone", cause: error)
        }
        let bytes = Array(buffer.readableBytesView)
        return incoming.reader.isPlain ? bytes : try incoming.reader.inflate(bytes)
    }

    private func unaryAnswer(
        _ answer: Collected<Payload>.Answer,
        _ incoming: Incoming
    ) -> (HTTPResponse, [UInt8]) {
        var status = answer.status
        var body: [UInt8] = []
        if status.code == .ok {
            do {
                body = try answer.message?.encoded(asJSON: incoming.dialect.isJSON) ?? []
            } catch {
                status = Status(code: .internalError, message: "the answer cannot be encoded")
                configuration.logger.error("encoding failed", metadata: ["error": "\(error)"])
            }
        }
        var fields = HTTPFields()
        fields.add(answer.leading.headers())
        var code = status.code.httpStatus
        if status.code == .ok {
            fields[.contentType] = incoming.dialect.contentType
            fields.add(answer.trailing.headers(prefix: "trailer-"))
        } else {
            for (name, value) in answer.trailing.headers()
            where name.canonicalName != statusDetailsKey {
                fields[name] = value
            }
            fields[.contentType] = "application/json"
            body = ConnectError(status, answer.trailing).json
            if let override = incoming.refusalStatus, status.code == .invalidArgument {
                code = override
                fields[.acceptPost] = acceptedTypes
            }
        }
        fields[.contentLength] = String(body.count)
        return (HTTPResponse(status: .init(code: code), headerFields: fields), body)
    }
}
