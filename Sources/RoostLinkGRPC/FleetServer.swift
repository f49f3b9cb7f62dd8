package import GRPCCore
import GRPCNIOTransportHTTP2
import RoostAPI
package import RoostModel
import RoostTrust

/// A listener for the other daemons of a fleet: gRPC over mutual TLS.
package struct FleetServer: Sendable {
    private typealias Transport = IdentifiedTransport<HTTP2ServerTransport.Posix>

    private let server: GRPCServer<IdentifiedTransport<HTTP2ServerTransport.Posix>>
    private let transport: HTTP2ServerTransport.Posix

    /// The most calls of one connection at once.
    static let largestStreams = 4_096

    /// Serves `services` at `host`:`port` (0: any) once ``serve()`` runs. `interceptors` come after the
    /// peer is known.
    ///
    /// - Throws: ``Reason/invalidFields`` for a host that is no numeric address.
    package init(
        host: String,
        port: Int,
        credentials: FleetCredentials,
        admitsStrangers: Bool,
        services: [any RegistrableRPCService],
        interceptors: [any ServerInterceptor],
        operationID: @escaping @Sendable () -> OperationID
    ) throws(Fault) {
        guard let trust = credentials.trust else { throw Fault(.bug, "a server before joining") }
        let address: SocketAddress =
            host.contains(":") ? .ipv6(host: host, port: port) : .ipv4(host: host, port: port)
        transport = HTTP2ServerTransport.Posix(
            address: address,
            transportSecurity: credentials.server(admitsStrangers: admitsStrangers),
            config: .defaults { config in
                config.http2.maxConcurrentStreams = Self.largestStreams
                config.http2.targetWindowSize = 1 << 20
                config.rpc.maxRequestPayloadSize = 4 << 20
                config.connection.keepalive.clientBehavior.minPingIntervalWithoutCalls =
                    .seconds(1)
                config.connection.keepalive.clientBehavior.allowWithoutCalls = true
                // A peer that is gone without a word holds nothing for long.
                config.connection.keepalive.time = .seconds(30)
                config.connection.keepalive.timeout = .seconds(10)
            }
        )
        server = GRPCServer(
            transport: IdentifiedTransport(transport, makeOperationID: operationID),
            services: services,
            interceptors: [CallInterceptor(), PeerInterceptor(trust)] + interceptors
        )
    }

    /// Serves until ``stop()``.
    ///
    /// - Throws: ``Reason/socketInUse`` with what bind(2) says.
    package func serve() async throws(Fault) {
        do {
            try await server.serve()
        } catch {
            throw Fault(.socketInUse, "cannot serve nodes: \(error)", cause: error)
        }
    }

    /// Where it listens, once it does.
    package func address() async throws(Fault) -> (host: String, port: Int) {
        do {
            let bound = try await transport.listeningAddress
            if let address = bound.ipv4 { return (address.host, address.port) }
            if let address = bound.ipv6 { return (address.host, address.port) }
        } catch {
            throw Fault(.socketInUse, "cannot listen for nodes: \(error)", cause: error)
        }
        throw Fault(.bug, "a listener without an address")
    }

    /// Takes no new calls and ends when those that there are have ended.
    package func stop() { server.beginGracefulShutdown() }
}
