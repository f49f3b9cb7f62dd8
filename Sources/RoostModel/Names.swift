/// What is wrong with `name` as a DNS label (RFC 1035: a letter, then letters, digits and
/// hyphens, not ending in a hyphen, at most 63), or `nil` when nothing is.
package func nameProblem(_ name: String) -> String? {
    let bytes = Array(name.utf8)
    let rule = "use a–z, 0–9 and '-', starting with a letter, at most 63 characters"
    guard let first = bytes.first, let last = bytes.last else { return "is empty; \(rule)" }
    if bytes.count > 63 { return "has \(bytes.count) characters; \(rule)" }
    let isLetter = { (byte: UInt8) in byte >= 97 && byte <= 122 }
    let isDigit = { (byte: UInt8) in byte >= 48 && byte <= 57 }
    guard isLetter(first), last != 45, bytes.allSatisfy({ isLetter($0) || isDigit($0) || $0 == 45 })
    else { return "'\(shown(name))' is not a DNS label; \(rule)" }
    return nil
}

/// What is wrong with a reference to an image, kernel or node, or `nil` when nothing is.
///
/// References are names, tags or digests: letters, digits and `._:/@-`, at most 255 characters.
/// Empty is fine: it means the default.
package func referenceProblem(_ text: String) -> String? {
    if text.utf8.count > 255 { return "has \(text.utf8.count) characters; at most 255" }
    let extra = Array("._:/@-".utf8)
    let fine = text.utf8.allSatisfy { byte in
        (97...122).contains(byte) || (65...90).contains(byte) || (48...57).contains(byte)
            || extra.contains(byte)
    }
    return fine && !text.contains("..")
        ? nil : "'\(shown(text))' may hold letters, digits and '._:/@-' only, and no '..'"
}

/// What is wrong with `labels`, one violation for each bad one. Rules as Kubernetes has them:
/// keys and values of at most 63 letters, digits and `-_.`; a key may have a `prefix/`.
package func labelViolations(_ labels: [String: String], field: String) -> [FieldViolation] {
    var found: [FieldViolation] = []
    if labels.count > Limits.labels {
        found.append(.init(field, "\(labels.count) labels; at most \(Limits.labels)"))
    }
    for (key, value) in labels.sorted(by: { $0.key < $1.key }) {
        let parts = key.split(separator: "/", omittingEmptySubsequences: false)
        let name = parts.last ?? ""
        let keyIsFine =
            parts.count <= 2 && !name.isEmpty && isLabelText(name)
            && (parts.count == 1
                || (parts[0].utf8.count <= 253 && isLabelText(parts[0], limit: 253)))
        if !keyIsFine {
            found.append(.init("\(field)[\(shown(key))]", "the key is not a label key"))
        }
        if !isLabelText(value[...]) {
            found.append(
                .init("\(field)[\(shown(key))]", "'\(shown(value))' is not a label value")
            )
        }
    }
    return found
}

private func isLabelText(_ text: Substring, limit: Int = 63) -> Bool {
    let bytes = Array(text.utf8)
    guard bytes.count <= limit else { return false }
    let isAlphanumeric = { (byte: UInt8) in
        (97...122).contains(byte) || (65...90).contains(byte) || (48...57).contains(byte)
    }
    guard bytes.allSatisfy({ isAlphanumeric($0) || $0 == 45 || $0 == 95 || $0 == 46 }) else {
        return false
    }
    guard let first = bytes.first, let last = bytes.last else { return true }
    return isAlphanumeric(first) && isAlphanumeric(last)
}

/// Whether `text` is a dotted IPv4 address.
package func isIPv4(_ text: String) -> Bool {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4
        && parts.allSatisfy { part in
            (1...3).contains(part.utf8.count) && part.utf8.allSatisfy { (48...57).contains($0) }
                && UInt8(part) != nil && (part.count == 1 || part.first != "0")
        }
}

/// `text` made safe for a message: control characters become `?`, and 80 characters are enough.
package func shown(_ text: String) -> String {
    var safe = ""
    for (index, scalar) in text.unicodeScalars.enumerated() {
        if index == 80 { return safe + "…" }
        let isControl = scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
        // Direction overrides could make a log line read backwards.
        let isBidi =
            (0x202A...0x202E).contains(scalar.value) || (0x2066...0x2069).contains(scalar.value)
        safe.unicodeScalars.append(isControl || isBidi ? "?" : scalar)
    }
    return safe
}
