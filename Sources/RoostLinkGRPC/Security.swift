package import GRPCCore
import GRPCNIOTransportHTTP2
import NIOCore
import NIOSSL
import RoostAPI
package import RoostModel
package import RoostTrust
import SwiftASN1
import Synchronization
import X509

/// What a daemon shows of itself, and whom it believes.
package struct FleetCredentials: Sendable {
    package let keys: KeyPair
    package let leaf: Leaf
    /// `nil` before it has joined: then it believes nobody but whom a token names.
    package let trust: TrustedAuthority?

    package init(keys: KeyPair, leaf: Leaf, trust: TrustedAuthority?) {
        self.keys = keys
        self.leaf = leaf
        self.trust = trust
    }

    private var chain: [TLSConfig.CertificateSource] {
        // The authority comes along, so that who joins can compare it with its token.
        ([leaf.der] + (trust.map { [$0.der] } ?? [])).map { .bytes($0, format: .der) }
    }

    private var key: TLSConfig.PrivateKeySource { .bytes(keys.privateDER, format: .der) }

    /// For a server that asks every client for a certificate. Strangers, whose certificate they made
    /// themselves, come in only with `admitsStrangers`; ``PeerInterceptor`` tells them apart.
    ///
    /// - Precondition: it has joined.
    func server(admitsStrangers: Bool) -> HTTP2ServerTransport.Posix.TransportSecurity {
        guard let trust else { preconditionFailure("a server before it has joined") }
        return .mTLS(certificateChain: chain, privateKey: key) { config in
            config.requireALPN = true
            // The callback decides; nothing of the system's is trusted.
            config.trustRoots = .certificates([.bytes(trust.der, format: .der)])
            config.customVerificationCallback = { certificates, promise in
                promise.completeWithTask {
                    let leaf = try certificate(certificates.first)
                    if admitsStrangers, isSelfSigned(leaf) {
                        return .certificateVerified(VerificationMetadata(nil))
                    }
                    _ = try await trust.identity(of: leaf)
                    return .certificateVerified(VerificationMetadata(nil))
                }
            }
        }
    }

    /// For a client that speaks with `expected` and nobody else.
    func client(
        expecting expected: ExpectedServer
    ) -> HTTP2ClientTransport.Posix.TransportSecurity {
        let (trust, leaf) = (trust, leaf)
        return .mTLS(certificateChain: chain, privateKey: key) { config in
            config.serverCertificateVerification = .noHostnameVerification
            // The callback decides; nothing of the system's is trusted.
            let roots = trust?.der ?? leaf.der
            config.trustRoots = .certificates([.bytes(roots, format: .der)])
            config.customVerificationCallback = { certificates, promise in
                promise.completeWithTask {
                    try await expected.check(certificates, trust)
                    return .certificateVerified(VerificationMetadata(nil))
                }
            }
        }
    }
}

/// Why a server was refused: TLS libraries only say that it was.
package final class Refusal: Sendable {
    private let said = Mutex<Fault?>(nil)

    package init() {}

    /// `nil` when it was not, or not reached.
    package var fault: Fault? { said.withLock { $0 } }

    fileprivate func say(_ fault: Fault) { said.withLock { $0 = fault } }
}

/// Whom a client means to speak with.
package enum ExpectedServer: Sendable {
    case member(FleetIdentity)
    /// The control plane of the fleet whose authority has this fingerprint.
    case controlOf(fingerprint: String, Refusal)

    fileprivate func check(_ chain: [NIOSSLCertificate], _ trust: TrustedAuthority?) async throws {
        let leaf = try certificate(chain.first)
        switch self {
        case .member(let wanted):
            guard let trust else { throw Fault(.bug, "a client before it has joined") }
            try require(wanted, try await trust.identity(of: leaf))
        case .controlOf(let fingerprint, let refusal):
            for shown in chain {
                let der = try shown.toDERBytes()
                guard sha256Hex(der) == fingerprint else { continue }
                let trust = try TrustedAuthority(der: der, path: "the server's chain")
                try require(.control, try await trust.identity(of: leaf))
                return
            }
            let fault = Fault(
                .joinTokenInvalid,
                "the control plane is of another fleet than the token"
            )
            refusal.say(fault)
            throw fault
        }
    }

    private func require(_ wanted: FleetIdentity, _ found: FleetIdentity) throws(Fault) {
        guard found == wanted else {
            throw Fault(.unauthenticated, "\(found) answers where \(wanted) should")
        }
    }
}

private func certificate(_ shown: NIOSSLCertificate?) throws -> Certificate {
    guard let shown else { throw Fault(.unauthenticated, "the peer shows no certificate") }
    return try Certificate(derEncoded: try shown.toDERBytes())
}

private func isSelfSigned(_ leaf: Certificate) -> Bool {
    leaf.publicKey.isValidSignature(leaf.signature, for: leaf)
}

/// Sets ``RoostTrust/FleetPeer/current`` from the certificate of the call's connection; refuses calls
/// without one. The certificate is judged anew at each call, so that one that has ended since ends
/// what it could do.
package struct PeerInterceptor: ServerInterceptor {
    private let trust: TrustedAuthority

    /// Judges by `trust`.
    package init(_ trust: TrustedAuthority) { self.trust = trust }

    package func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>,
        context: ServerContext,
        next:
            @Sendable @concurrent (
                _ request: StreamingServerRequest<Input>,
                _ context: ServerContext
            ) async throws -> StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        let peer = try await peer(context)
        let response = try await FleetPeer.$current.withValue(peer) {
            try await next(request, context)
        }
        return response.wrappingProducer { producer, writer in
            try await FleetPeer.$current.withValue(peer) { try await producer(writer) }
        }
    }

    private func peer(_ context: ServerContext) async throws(Fault) -> FleetPeer {
        let specific = context.transportSpecific as? HTTP2ServerTransport.Posix.Context
        guard let certificate = specific?.peerCertificate else {
            throw Fault(.unauthenticated, "the connection has no certificate")
        }
        if isSelfSigned(certificate), certificate != trust.certificate {
            return FleetPeer(identity: nil, key: certificate.publicKey)
        }
        let identity = try await trust.identity(of: certificate)
        return FleetPeer(identity: identity, key: certificate.publicKey)
    }
}
