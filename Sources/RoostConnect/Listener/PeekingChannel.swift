internal import HummingbirdCore
internal import HummingbirdHTTP2
internal import Logging
internal import NIOCore
internal import NIOSSL

/// Answers one HTTP request of one connection.
typealias ConnectionResponder =
    @Sendable @concurrent (
        Request, consuming ResponseWriter, any Channel, Connection
    ) async throws -> Void

/// A connection that speaks HTTP/1.1 or HTTP/2, told apart by its first bytes, within TLS where the
/// listener has a certificate.
///
/// HTTP/2 with prior knowledge begins with `PRI * HTTP/2.0` (RFC 9113, 3.4); no HTTP/1.1 method
/// begins like that. So one port or socket serves curl, browsers, Connect and gRPC.
struct PeekingChannel: ServerChildChannel {
    /// A connection whose first bytes may not be here yet: NIO reads nothing before the setup is
    /// done, so the setup cannot wait for them.
    struct Value: ServerChildChannelValue {
        let channel: any Channel
        let speaking: EventLoopFuture<Speaking>
    }

    /// The protocol of a connection, with what serves it.
    enum Speaking: Sendable {
        case http1(HTTP1Channel, HTTP1Channel.Value)
        case http2(HTTP2Channel, HTTP2Channel.Value)
    }

    let responder: ConnectionResponder
    let connections: Connections
    /// A connection that says nothing for this long is closed.
    let idleTimeout: TimeAmount
    /// `nil`: plaintext.
    let tls: NIOSSLContext?

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        let decided = channel.eventLoop.makePromise(of: Bool.self)
        let speaking = decided.futureResult.flatMap { isHTTP2 in
            // All of this happens at once, before the bytes go on to the pipeline it builds.
            Connection.make(channel, isHTTP2: isHTTP2).flatMap { connection in
                isHTTP2 ? http2(connection, logger: logger) : http1(connection, logger: logger)
            }
        }
        return channel.eventLoop.makeCompletedFuture {
            let handler = PeekHandler(decided: decided, patience: idleTimeout)
            if let tls {
                // A client that speaks plaintext fails its handshake, and is closed.
                let handler = NIOSSLServerHandler(context: tls)
                try channel.pipeline.syncOperations.addHandler(handler)
            }
            try channel.pipeline.syncOperations.addHandler(handler)
            connections.add(channel)
            return Value(channel: channel, speaking: speaking)
        }
    }

    func handle(value: Value, logger: Logger) async {
        do {
            switch try await value.speaking.get() {
            case .http1(let server, let value): await server.handle(value: value, logger: logger)
            case .http2(let server, let value): await server.handle(value: value, logger: logger)
            }
        } catch {
            // A connection that ended before it said anything, such as a port scan.
            logger.trace("connection ended early", metadata: ["error": "\(error)"])
        }
    }

    private func http1(_ connection: Connection, logger: Logger) -> EventLoopFuture<Speaking> {
        let responder = responder
        let server = HTTP1Channel(
            responder: { request, writer, channel in
                try await responder(request, writer, channel, connection)
            },
            configuration: .init(
                additionalChannelHandlers: [DepartureHandler(connection.departures)],
                idleTimeout: idleTimeout
            )
        )
        return server.setup(channel: connection.channel, logger: logger).map { .http1(server, $0) }
    }

    private func http2(_ connection: Connection, logger: Logger) -> EventLoopFuture<Speaking> {
        let responder = responder
        let server = HTTP2Channel(
            responder: { request, writer, channel in
                try await responder(request, writer, channel, connection)
            },
            configuration: .init(
                idleTimeout: .nanoseconds(idleTimeout.nanoseconds),
                gracefulCloseTimeout: .seconds(5)
            )
        )
        return server.setup(channel: connection.channel, logger: logger).flatMapThrowing { value in
            try ToleranceHandler.add(to: connection.channel)
            return .http2(server, value)
        }
    }
}
