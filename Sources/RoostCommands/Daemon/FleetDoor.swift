internal import GRPCCore
internal import GRPCNIOTransportHTTP2
internal import NIOCore
internal import NIOSSL
internal import RoostAPI
internal import RoostModel
internal import RoostTrust
internal import Synchronization

/// The way to a control plane's listener for users: TLS to whoever the token's fleet has signed as its
/// control plane, and the token with every call. It is sent to nobody else.
struct FleetDoor: Sendable {
    private let endpoint: Endpoint
    private let host: String
    private let port: Int
    private let token: AccessToken

    /// How long the first answer may take.
    private static let patience = Duration.seconds(10)

    init(_ endpoint: Endpoint, host: String, port: Int, _ token: AccessToken?) throws(Fault) {
        guard let token else { throw Fault(.unauthenticated, "\(endpoint) needs a token") }
        self.endpoint = endpoint
        self.host = host
        self.port = port
        self.token = token
    }

    /// Connects for as long as `body` runs.
    ///
    /// - Throws: ``RoostModel/Reason/contextUnreachable``; why the server was refused; what `body` throws.
    func connected<Result: Sendable>(
        _ body: (Daemon) async throws -> Result
    ) async throws -> Result {
        let refusal = ServerRefusal()
        let transport = try Daemon.Transport(
            target: target,
            transportSecurity: security(refusal),
            config: Daemon.config
        )
        let client = GRPCClient(transport: transport, interceptors: [BearerInterceptor(token)])
        return try await client.whileConnected {
            let daemon = Daemon(client)
            try await greet(daemon, refusal)
            return try await body(daemon)
        }
    }

    private var target: any ResolvableTarget {
        if host.contains(":") { return .ipv6(address: host, port: port) }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        let isIPv4 = parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
        return isIPv4 ? .ipv4(address: host, port: port) : .dns(host: host, port: port)
    }

    private func security(
        _ refusal: ServerRefusal
    ) -> HTTP2ClientTransport.Posix.TransportSecurity {
        let fingerprint = token.fingerprint
        return .tls { config in
            config.serverCertificateVerification = .noHostnameVerification
            // The callback decides; nothing of the system's is trusted, nor read.
            config.trustRoots = .certificates([])
            config.customVerificationCallback = { certificates, promise in
                promise.completeWithTask {
                    do {
                        let chain = try certificates.map { try $0.toDERBytes() }
                        try await TrustedAuthority.require(
                            .control,
                            chain,
                            fingerprint: fingerprint
                        )
                        return .certificateVerified(VerificationMetadata(nil))
                    } catch {
                        refusal.say(error as? Fault)
                        throw error
                    }
                }
            }
        }
    }

    /// The first call, which fails at once where nobody listens, and says why.
    private func greet(_ daemon: Daemon, _ refusal: ServerRefusal) async throws {
        var options = CallOptions.defaults
        options.timeout = Self.patience
        options.waitForReady = false
        do {
            _ = try await daemon.about.getInfo(.init(), options: options)
        } catch let error as RPCError {
            if let fault = refusal.fault { throw fault }
            guard !ReceivedFault(error).namesReason,
                error.code == .unavailable || error.code == .deadlineExceeded
            else { throw error }
            throw Fault(
                .contextUnreachable,
                "no control plane answers at \(endpoint): \(shown(error.message))",
                cause: error
            )
        }
    }
}

/// Why a server was refused: TLS libraries only say that it was.
private final class ServerRefusal: Sendable {
    private let said = Mutex<Fault?>(nil)

    var fault: Fault? { said.withLock { $0 } }

    func say(_ fault: Fault?) { said.withLock { $0 = fault } }
}

/// Sends the token with every call.
private struct BearerInterceptor: ClientInterceptor {
    private let header: Secret

    init(_ token: AccessToken) { header = Secret("Bearer \(token.text.reveal())") }

    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingClientRequest<Input>,
        context: ClientContext,
        next:
            @concurrent (
                _ request: StreamingClientRequest<Input>,
                _ context: ClientContext
            ) async throws -> StreamingClientResponse<Output>
    ) async throws -> StreamingClientResponse<Output> {
        var request = request
        request.metadata.replaceOrAddString(header.reveal(), forKey: "authorization")
        return try await next(request, context)
    }
}
