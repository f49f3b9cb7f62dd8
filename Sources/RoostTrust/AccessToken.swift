package import RoostModel

/// What people and programs call a control plane with over TCP: which token it is, its secret, and
/// whose fleet it is for.
///
/// ```text
///  roost-access-1.<id: 12 digits>.<secret: 32>.<SHA-256 of the authority: 64>.<check: 8>
/// ```
package struct AccessToken: Sendable, Hashable {
    private let parts: TokenText
    /// What every one begins with.
    package static let mark = "roost-access-1"

    /// A token of these random bytes: 6 for the id, 16 for the secret.
    package init(id: [UInt8], secret: [UInt8], fingerprint: String) {
        parts = TokenText(id: id, secret: secret, fingerprint: fingerprint)
    }

    /// The token that the request with this op id makes, however often it is made.
    package init(of operation: OperationID, _ authority: Authority) {
        self.init(
            id: authority.secret(6, for: "access token id \(operation)"),
            secret: authority.secret(16, for: "access token \(operation)"),
            fingerprint: authority.trust.fingerprint
        )
    }

    /// Reads a token's text.
    ///
    /// - Throws: ``Reason/accessTokenInvalid`` saying what is wrong with it, without showing it.
    package init(_ text: String) throws(Fault) {
        parts = try TokenText(
            text,
            mark: Self.mark,
            noun: "access token",
            reason: .accessTokenInvalid
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
        sha256Hex("roost-access:\(id):\(parts.secret.reveal())".utf8)
    }
}
