import Crypto
package import RoostModel
package import X509

/// A P-256 key of a daemon. Its private half leaves it only as the PEM of a file.
package struct KeyPair: Sendable {
    let key: P256.Signing.PrivateKey

    /// A new one, from the system's randomness.
    package init() { key = P256.Signing.PrivateKey() }

    /// Reads what ``pem`` wrote.
    ///
    /// - Throws: ``Reason/stateUnreadable`` naming `path`.
    package init(pem: String, path: String) throws(Fault) {
        do {
            key = try P256.Signing.PrivateKey(pemRepresentation: pem)
        } catch {
            let facts = ["path": path]
            throw Fault(
                .stateUnreadable,
                "'\(path)' holds no private key",
                metadata: facts,
                cause: error
            )
        }
    }

    /// Both halves, for a file of mode 0600.
    package var pem: Secret { Secret(key.pemRepresentation) }

    /// The public half, as certificates have it.
    package var publicKey: Certificate.PublicKey { Certificate.PublicKey(key.publicKey) }

    /// The private half as DER, for a TLS library.
    package var privateDER: [UInt8] { Array(key.derRepresentation) }
}

/// SHA-256 as 64 lowercase digits.
package func sha256Hex(_ bytes: some Sequence<UInt8>) -> String {
    hex(SHA256.hash(data: Array(bytes)))
}

/// Two lowercase digits for each byte.
func hex(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
}

/// The bytes of lowercase digits; `nil` for anything else.
func bytes(hex text: some StringProtocol) -> [UInt8]? {
    let digits = Array(text.utf8)
    let isHex = digits.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
    guard digits.count.isMultiple(of: 2), isHex else { return nil }
    let values = digits.map { $0 < 58 ? $0 - 48 : $0 - 87 }
    return stride(from: 0, to: values.count, by: 2).map { values[$0] << 4 | values[$0 + 1] }
}
