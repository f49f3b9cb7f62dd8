import RoostModel

/// The text of a token, of whatever kind:
///
/// ```text
///  <mark>.<id: 12 digits>.<secret: 32>.<SHA-256 of the authority: 64>.<check: 8>
/// ```
/// Whoever has it compares the authority with the one that the server shows before it sends the
/// secret; the check tells a token that was cut off from one that nobody knows.
struct TokenText: Sendable, Hashable {
    /// No secret.
    let id: String
    let secret: Secret
    let fingerprint: String

    /// A token of these random bytes: 6 for the id, 16 for the secret.
    init(id: [UInt8], secret: [UInt8], fingerprint: String) {
        precondition(id.count == 6 && secret.count == 16)
        self.id = hex(id)
        self.secret = Secret(hex(secret))
        self.fingerprint = fingerprint
    }

    /// Reads a text that begins with `mark`.
    ///
    /// - Throws: `reason`, saying what is wrong with the `noun`, without showing it.
    init(_ text: String, mark: String, noun: String, reason: Reason) throws(Fault) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.first.map(String.init) == mark else {
            throw Fault(reason, "it is no \(noun): one begins with \(mark).")
        }
        let length = mark.utf8.count + 1 + 12 + 1 + 32 + 1 + 64 + 1 + 8
        guard parts.count == 5, text.utf8.count == length else {
            throw Fault(
                reason,
                "the \(noun) has \(text.utf8.count) characters of \(length): part of it is missing"
            )
        }
        let body = parts[..<4].joined(separator: ".")
        guard sha256Hex(body.utf8).prefix(8) == parts[4],
            parts[1...3].allSatisfy({ bytes(hex: $0) != nil })
        else { throw Fault(reason, "the \(noun) has been altered: its check fails") }
        id = String(parts[1])
        secret = Secret(String(parts[2]))
        fingerprint = String(parts[3])
    }

    /// The whole text: a secret.
    func text(mark: String) -> Secret {
        let body = "\(mark).\(id).\(secret.reveal()).\(fingerprint)"
        return Secret("\(body).\(sha256Hex(body.utf8).prefix(8))")
    }
}
