package import RoostModel
import SwiftASN1
package import X509

/// What is known of the fleet's authority without its key: enough to tell its certificates from
/// everybody else's.
package struct TrustedAuthority: Sendable {
    package let certificate: Certificate
    package let der: [UInt8]
    /// SHA-256 of ``der`` as 64 digits: what a join token carries.
    package let fingerprint: String

    init(_ certificate: Certificate) throws {
        self.certificate = certificate
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        der = serializer.serializedBytes
        fingerprint = sha256Hex(der)
    }

    /// Reads what was kept or sent.
    ///
    /// - Throws: ``Reason/stateUnreadable`` naming `path`.
    package init(der: [UInt8], path: String) throws(Fault) {
        do {
            try self.init(Certificate(derEncoded: der))
        } catch {
            throw Fault(
                .stateUnreadable,
                "'\(path)' holds no certificate",
                metadata: ["path": path],
                cause: error
            )
        }
    }

    /// The certificate in PEM, for clients that are not ours.
    package var pem: String {
        PEMDocument(type: "CERTIFICATE", derBytes: der).pemString + "\n"
    }

    /// Makes sure that a server is `identity` of the fleet whose authority has this fingerprint; `chain`
    /// is what it shows: DER, its own certificate first.
    ///
    /// - Throws: ``Reason/accessTokenInvalid`` for another fleet; as ``identity(of:)``.
    package static func require(
        _ identity: FleetIdentity,
        _ chain: [[UInt8]],
        fingerprint: String
    ) async throws(Fault) {
        guard let first = chain.first,
            let der = chain.first(where: { sha256Hex($0) == fingerprint })
        else {
            throw Fault(
                .accessTokenInvalid,
                "the server is of another fleet than the access token, which was not sent"
            )
        }
        let leaf = try Leaf(der: first, path: "the server's certificate")
        let trust = try TrustedAuthority(der: der, path: "the server's authority")
        let found = try await trust.identity(of: leaf.certificate)
        guard found == identity else {
            throw Fault(.unauthenticated, "\(found) answers where \(identity) should")
        }
    }

    /// Who the holder of `leaf` is.
    ///
    /// - Throws: ``Reason/unauthenticated`` when it is not of this authority, not valid now, or says
    ///   not just one identity.
    package func identity(of leaf: Certificate) async throws(Fault) -> FleetIdentity {
        var verifier = Verifier(rootCertificates: CertificateStore([certificate])) {
            RFC5280Policy()
        }
        switch await verifier.validate(leaf: leaf, intermediates: CertificateStore()) {
        case .couldNotValidate(let failures):
            let why = failures.first.map { "\($0.policyFailureReason)" } ?? "it is of somebody else"
            throw Fault(.unauthenticated, "the certificate is refused: \(shown(why))")
        case .validCertificate: break
        }
        // The authority itself is a valid chain of one, and nobody's identity.
        let names = (try? leaf.extensions.subjectAlternativeNames) ?? nil
        let uris = names?.compactMap { name in
            if case .uniformResourceIdentifier(let uri) = name { uri } else { nil }
        }
        guard let uris, uris.count == 1, let identity = uris.first.flatMap(FleetIdentity.init(uri:))
        else { throw Fault(.unauthenticated, "the certificate names nobody of a fleet") }
        return identity
    }
}
