import Crypto
import Foundation
package import RoostModel
import SwiftASN1
package import X509

/// The fleet's certificate authority: one P-256 key that signs who is the control plane and who is
/// which node.
///
/// It signs leaves only, and nothing else is trusted between daemons.
package struct Authority: Sendable {
    private let keys: KeyPair
    /// What everybody in the fleet trusts.
    package let trust: TrustedAuthority

    /// How long an authority lasts, in seconds: ten years.
    package static let lifetime: Int64 = 10 * 365 * 86_400
    /// How long a leaf lasts, in seconds: ninety days.
    package static let leafLifetime: Int64 = 90 * 86_400
    /// How much earlier a certificate begins than it was made, for clocks that are behind.
    private static let skew: Int64 = 300

    /// A new authority, made at `now`.
    package init(at now: Timestamp) throws(Fault) {
        let keys = KeyPair()
        self.keys = keys
        let mark = hex(SHA256.hash(data: keys.key.publicKey.x963Representation).prefix(6))
        do {
            let name = try DistinguishedName {
                OrganizationName("roost")
                CommonName("roost fleet \(mark)")
            }
            let certificate = try Certificate(
                version: .v3,
                serialNumber: Certificate.SerialNumber(),
                publicKey: keys.publicKey,
                notValidBefore: now.adding(seconds: -Self.skew).date,
                notValidAfter: now.adding(seconds: Self.lifetime).date,
                issuer: name,
                subject: name,
                extensions: Certificate.Extensions {
                    Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                    Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                },
                issuerPrivateKey: Certificate.PrivateKey(keys.key)
            )
            trust = try TrustedAuthority(certificate)
        } catch {
            throw Fault(.bug, "cannot make a certificate authority", cause: error)
        }
    }

    /// The authority whose key and certificate were kept.
    ///
    /// - Throws: ``Reason/stateUnreadable`` when they do not belong together.
    package init(keys: KeyPair, trust: TrustedAuthority, path: String) throws(Fault) {
        guard trust.certificate.publicKey == keys.publicKey else {
            throw Fault(
                .stateUnreadable,
                "the authority's key and certificate do not belong together",
                metadata: ["path": path]
            )
        }
        self.keys = keys
        self.trust = trust
    }

    /// `count` bytes that only who has the authority's key can tell, always the same for the same
    /// `purpose`.
    package func secret(_ count: Int, for purpose: String) -> [UInt8] {
        let bytes = HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: keys.key.rawRepresentation),
            info: Data("roost \(purpose)".utf8),
            outputByteCount: count
        )
        return bytes.withUnsafeBytes { Array($0) }
    }

    /// The key, for a file of mode 0600.
    package var pem: Secret { keys.pem }

    /// A certificate that the holder of `key` is `identity`, for `lifetime` seconds from `now`; `names` are
    /// DNS names and `addresses` the bytes of IP addresses at which clients that are not ours call it.
    package func issue(
        _ identity: FleetIdentity,
        to key: Certificate.PublicKey,
        at now: Timestamp,
        lifetime: Int64 = Authority.leafLifetime,
        names: [String] = [],
        addresses: [[UInt8]] = []
    ) throws(Fault) -> Leaf {
        let end = now.adding(seconds: lifetime)
        // The name is for clients that insist on one; who it is, the URI says.
        var called: [GeneralName] = [
            .uniformResourceIdentifier(identity.uri), .dnsName("roost"),
        ]
        for name in names { called.append(.dnsName(name)) }
        for address in addresses {
            called.append(.ipAddress(ASN1OctetString(contentBytes: address[...])))
        }
        do {
            let certificate = try Certificate(
                version: .v3,
                serialNumber: Certificate.SerialNumber(),
                publicKey: key,
                notValidBefore: min(now.adding(seconds: -Self.skew), end).date,
                notValidAfter: end.date,
                issuer: trust.certificate.subject,
                subject: try DistinguishedName {
                    OrganizationName("roost")
                    CommonName("\(identity)")
                },
                extensions: Certificate.Extensions {
                    Critical(BasicConstraints.notCertificateAuthority)
                    Critical(KeyUsage(digitalSignature: true))
                    try ExtendedKeyUsage([.serverAuth, .clientAuth])
                    SubjectAlternativeNames(called)
                },
                issuerPrivateKey: Certificate.PrivateKey(keys.key)
            )
            return try Leaf(certificate)
        } catch {
            throw Fault(.bug, "cannot issue a certificate to \(identity)", cause: error)
        }
    }
}

/// A certificate and its bytes.
package struct Leaf: Sendable {
    package let certificate: Certificate
    package let der: [UInt8]

    package init(_ certificate: Certificate) throws {
        self.certificate = certificate
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        der = serializer.serializedBytes
    }

    /// Reads DER.
    ///
    /// - Throws: ``Reason/stateUnreadable`` naming `path`.
    package init(der: [UInt8], path: String) throws(Fault) {
        do {
            certificate = try Certificate(derEncoded: der)
        } catch {
            throw Fault(
                .stateUnreadable,
                "'\(path)' holds no certificate",
                metadata: ["path": path],
                cause: error
            )
        }
        self.der = der
    }

    /// A certificate that says nothing but which key its maker holds, for whoever has no other yet.
    package static func selfSigned(_ keys: KeyPair, at now: Timestamp) throws(Fault) -> Leaf {
        do {
            let name = try DistinguishedName { CommonName("joining") }
            return try Leaf(
                Certificate(
                    version: .v3,
                    serialNumber: Certificate.SerialNumber(),
                    publicKey: keys.publicKey,
                    notValidBefore: now.adding(seconds: -300).date,
                    notValidAfter: now.adding(seconds: 3600).date,
                    issuer: name,
                    subject: name,
                    extensions: Certificate.Extensions(),
                    issuerPrivateKey: Certificate.PrivateKey(keys.key)
                )
            )
        } catch {
            throw Fault(.bug, "cannot make a certificate for joining", cause: error)
        }
    }

    /// When it ends.
    package var end: Timestamp {
        Timestamp(milliseconds: Int64(certificate.notValidAfter.timeIntervalSince1970 * 1000))
    }

    /// Whether its maker signed it with the key that is in it.
    package var isSelfSigned: Bool {
        certificate.publicKey.isValidSignature(certificate.signature, for: certificate)
    }
}

extension Timestamp {
    fileprivate var date: Date { Date(timeIntervalSince1970: Double(milliseconds) / 1000) }
}
