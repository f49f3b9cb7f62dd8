package import RoostModel
package import RoostStore

/// An access token as it is kept: never its secret.
package struct AccessTokenRow: Row {
    package static let table = "access_tokens"

    /// 12 hexadecimal digits.
    package var id: String
    /// What people call it; may be empty, and need not be unique.
    package var name: String
    /// SHA-256 of the secret.
    package var secretDigest: String
    package var role: Role
    /// The project that it is confined to; empty: every one.
    package var project: String
    package var createdAt: Timestamp
    /// The principal that made it.
    package var createdBy: String
    package var expiresAt: Timestamp

    package var key: String { id }
    package var indexes: [IndexEntry] { [] }

    /// Whether it opens anything at `now`.
    package func isUsable(at now: Timestamp) -> Bool { now < expiresAt }
}
