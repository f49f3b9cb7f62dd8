package import RoostModel

/// What a host needs to become a node: which token it is, its secret, and whose fleet it leads to.
///
/// ```text
///  roost-join-1.<id: 12 digits>.<secret: 32>.<SHA-256 of the authority: 64>.<check: 8>
/// ```
/// The joining host compares the authority with the one that the server shows before it sends the
/// secret; the check tells a token that was cut off from one that nobody knows.
package struct JoinToken: Sendable, Equatable {
    /// 12 hexadecimal digits, no secret.
    package let id: String
    private let secret: Secret
    /// Of the fleet's authority.
    package let fingerprint: String

    private static let mark = "roost-join-1"

    /// A token of these random bytes: 6 for the id, 16 for the secret.
    package init(id: [UInt8], secret: [UInt8], fingerprint: String) {
        precondition(id.count == 6 && secret.count == 16)
        self.id = hex(id)
        self.secret = Secret(hex(secret))
        self.fingerprint = fingerprint
    }

    /// Reads a token's text.
    ///
    /// - Throws: ``Reason/joinTokenInvalid`` saying what is wrong with it, without showing it.
    package init(_ text: String) throws(Fault) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.first.map(String.init) == Self.mark else {
            throw Fault(.joinTokenInvalid, "it is no join token: one begins with \(Self.mark).")
        }
        guard parts.count == 5, text.utf8.count == Self.length else {
            throw Fault(
                .joinTokenInvalid,
                "the join token has \(text.utf8.count) characters of \(Self.length): part of it is missing"
            )
        }
        let body = parts[..<4].joined(separator: ".")
        guard sha256Hex(body.utf8).prefix(8) == parts[4],
            parts[1...3].allSatisfy({ bytes(hex: $0) != nil })
        else { throw Fault(.joinTokenInvalid, "the join token has been altered: its check fails") }
        id = String(parts[1])
        secret = Secret(String(parts[2]))
        fingerprint = String(parts[3])
    }

    private static let length = mark.utf8.count + 1 + 12 + 1 + 32 + 1 + 64 + 1 + 8

    /// The whole text: a secret.
    package var text: Secret {
        let body = "\(Self.mark).\(id).\(secret.reveal()).\(fingerprint)"
        return Secret("\(body).\(sha256Hex(body.utf8).prefix(8))")
    }

    /// What is kept of the secret. A plain digest does: it has 128 random bits.
    package var secretDigest: String { sha256Hex("roost-join:\(id):\(secret.reveal())".utf8) }
}
