package import GRPCCore
internal import Glibc
internal import HTTPTypes
internal import HummingbirdCore
package import Logging
internal import NIOCore
internal import NIOPosix
internal import Synchronization

/// Where a transport listens.
package enum ListenAddress: Sendable, Equatable {
    /// A numeric address or a name, and a port; port 0 lets the kernel choose.
    case tcp(host: String, port: Int)
    /// A path of at most 107 bytes. What is there already is replaced: who calls makes sure that
    /// nobody serves it any more. `mode` are its permission bits.
    case unix(path: String, mode: UInt16 = 0o600)
}

/// How a ``ConnectTransport`` serves.
package struct ConnectConfiguration: Sendable {
    package var address: ListenAddress
    /// `nil`: plaintext, which is for a Unix socket and for trying out on loopback.
    package var tls: ConnectTLS?
    /// Bytes of one request message, before and after inflating.
    package var maximumMessageBytes = 4 << 20
    /// Service names that lead to another one: `["old.v1.Service": "new.v1.Service"]`.
    package var aliases: [String: String] = [:]
    /// A connection without a request is closed after this long.
    package var idleTimeout: Duration = .seconds(120)
    /// Pages beside the calls.
    package var routes: WebRoutes = { _ in nil }
    /// Called once it listens, with the address as text, such as `ipv4:127.0.0.1:8080`.
    package var onListening: @Sendable (String) async -> Void = { _ in }
    package var logger = Logger(label: "roost.connect")

    package init(address: ListenAddress) { self.address = address }
}

/// Connect (unary and streams, JSON and binary) and native gRPC on one port or socket, over HTTP/1.1
/// and HTTP/2, in plaintext or TLS, as a transport for a `GRPCServer`.
///
/// It takes any content of ``WirePayload`` in and encodes answers as the client asked. See the
/// README for what is not offered.
package final class ConnectTransport<Payload: WirePayload>: ServerTransport {
    package typealias Bytes = Payload
    typealias Handler =
        @Sendable @concurrent (
            _ stream: RPCStream<Inbound, Outbound>,
            _ context: ServerContext
        ) async -> Void

    private struct State {
        var methods: [String: MethodDescriptor] = [:]
        var server: Server<PeekingChannel>?
        var isStopping = false
        var streams: [UInt64: ServerContext.RPCCancellationHandle] = [:]
        var nextStream: UInt64 = 0
    }
    private let state = Mutex(State())
    private let connections = Connections()
    let configuration: ConnectConfiguration

    /// Makes a transport that serves as `configuration` says, once a `GRPCServer` runs it.
    package init(_ configuration: ConnectConfiguration) { self.configuration = configuration }

    package func configure(context: GRPCServerContext) {
        state.withLock { state in
            for method in context.methods { state.methods[method.fullyQualifiedMethod] = method }
        }
    }

    /// Listens until ``beginGracefulShutdown()`` has let every call end.
    ///
    /// Call ``closeConnections()`` when it takes too long. Cancelling while clients are connected traps.
    ///
    /// - Throws: what bind(2) says, such as that the port is taken.
    package func listen(
        streamHandler:
            @escaping @Sendable @concurrent (
                _ stream: RPCStream<Inbound, Outbound>,
                _ context: ServerContext
            ) async -> Void
    ) async throws {
        let responder: ConnectionResponder = { request, writer, channel, connection in
            try await self.respond(
                to: request,
                writer: writer,
                peer: Peer(connection: connection, channel: channel),
                handler: streamHandler
            )
        }
        let seconds = configuration.idleTimeout.components.seconds
        let server = Server(
            childChannelSetup: PeekingChannel(
                responder: responder,
                connections: connections,
                idleTimeout: .seconds(seconds),
                tls: try configuration.tls?.context()
            ),
            configuration: ServerConfiguration(address: configuration.bindAddress),
            onServerRunning: { [configuration] in await configuration.didBind($0) },
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton,
            logger: configuration.logger
        )
        let mayStart = state.withLock { state in
            state.server = server
            return !state.isStopping
        }
        if mayStart { try await server.run() }
    }

    package func beginGracefulShutdown() {
        let (server, streams) = state.withLock { state in
            state.isStopping = true
            return (state.server, state.streams.values.map { $0 })
        }
        // A watch never ends by itself; a unary call does.
        for stream in streams { stream.cancel() }
        guard let server else { return }
        let logger = configuration.logger
        Task {
            do {
                try await server.shutdownGracefully()
            } catch {
                logger.error("shutdown failed", metadata: ["error": "\(error)"])
            }
        }
    }

    /// Closes the connections that ``beginGracefulShutdown()`` waits for, whatever is on them.
    package func closeConnections() { connections.close() }

    /// The method at `path`, whether anybody offers it or not; `nil` when it is no method's path.
    func method(at path: String) -> (descriptor: MethodDescriptor, isKnown: Bool)? {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].isEmpty, !parts[1].isEmpty, !parts[2].isEmpty else {
            return nil
        }
        let service = configuration.aliases[String(parts[1])] ?? String(parts[1])
        let known = state.withLock { $0.methods["\(service)/\(parts[2])"] }
        if let known { return (known, true) }
        let unknown = MethodDescriptor(fullyQualifiedService: service, method: String(parts[2]))
        return (unknown, false)
    }

    /// Runs `work` with `handle` cancelled at shutdown.
    func whileListed<Result>(
        _ handle: ServerContext.RPCCancellationHandle,
        _ work: () async throws -> Result
    ) async rethrows -> Result {
        let (id, isStopping) = state.withLock { state in
            state.nextStream += 1
            state.streams[state.nextStream] = handle
            return (state.nextStream, state.isStopping)
        }
        if isStopping { handle.cancel() }
        defer { _ = state.withLock { $0.streams.removeValue(forKey: id) } }
        return try await work()
    }
}

extension ConnectConfiguration {
    var bindAddress: BindAddress {
        switch address {
        case .tcp(let host, let port): .hostname(host, port: port)
        case .unix(let path, _): .unixDomainSocket(path: path)
        }
    }

    func didBind(_ channel: any Channel) async {
        switch address {
        case .tcp:
            let address = channel.localAddress.map(Connection.text) ?? "unknown"
            await onListening(address)
        case .unix(let path, let mode):
            if chmod(path, mode_t(mode)) != 0 {
                logger.error("chmod failed", metadata: ["path": "\(path)", "errno": "\(errno)"])
            }
            await onListening("unix:\(path)")
        }
    }
}
