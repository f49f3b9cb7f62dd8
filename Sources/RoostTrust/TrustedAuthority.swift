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
