package import RoostModel

/// What a host needs to become a node: which token it is, its secret, and whose fleet it leads to.
///
/// ```text
///  roost-join-1.<id: 12 digits>.<secret: 32>.<SHA-256 of the authority: 64>.<check: 8>
/// ```
package struct JoinToken: Sendable, Equatable {
    private let parts: TokenText
    private static let mark = "roost-join-1"

    /// A token of these random bytes: 6 for the id, 16 for the secret.
    package init(id: [UInt8], secret: [UInt8], fingerprint: String) {
        parts = TokenText(id: id, secret: secret, fingerprint: fingerprint)
    }

    /// The token that the request with this op id makes, however often it is made.
    package init(of operation: OperationID, _ authority: Authority) {
        self.init(
            id: authority.secret(6, for: "join token id \(operation)"),
            secret: authority.secret(16, for: "join token \(operation)"),
            fingerprint: authority.trust.fingerprint
        )
    }

    /// Reads a token's text.
    ///
    /// - Throws: ``Reason/joinTokenInvalid`` saying what is wrong with it, without showing it.
    package init(_ text: String) throws(Fault) {
        parts = try TokenText(
            text,
            mark: Self.mark,
            noun: "join token",
            reason: .joinTokenInvalid
        )
    }

    /// 12 hexadecimal digits, no secret.
    package var id: String { parts.id }
    /// Of the fleet's authority.
    package var fingerprint: String { parts.fingerprint }
    /// The whole text: a secret.
    package var text: Secret { parts.text(mark: Self.mark) }

    /// What is kept of the secret. A plain digest does: it has 128 random bits.
    package var secretDigest: String {
        sha256Hex("roost-join:\(id):\(parts.secret.reveal())".utf8)
    }
}
