package import RoostModel

/// The name of an image in a registry, complete: `host[:port]/path[:tag][@sha256:…]`.
///
/// Read by the rules of docker's `distribution/reference`: the part before the first slash is a
/// host when it has a dot, a colon or a capital letter, or is `localhost`; else the host is
/// `docker.io`, where a path of one component means `library/` of it. Without tag and digest the
/// tag is `latest`.
package struct ImageReference: Hashable, Sendable, CustomStringConvertible {
    /// The host with its port if one was written; `docker.io` for Docker's own.
    package let registry: String
    /// The path below the host, such as `library/alpine`.
    package let repository: String
    /// The tag; nil only where a digest says it all.
    package let tag: String?
    /// The manifest's digest, if the name pins it. It decides; a tag beside it is decoration.
    package let digest: ContentDigest?

    /// Reads what a person typed.
    ///
    /// - Throws: ``Reason/invalidFields`` for `image`, with what is wrong with the text.
    package init(_ text: String) throws(Fault) {
        func refused(_ problem: String) -> Fault {
            .invalid("image", "'\(shown(text))' \(problem)")
        }
        guard text.utf8.count <= 512 else { throw refused("is longer than 512 characters") }
        var rest = text[...]
        var digest: ContentDigest?
        if let at = rest.firstIndex(of: "@") {
            guard let found = ContentDigest(rest[rest.index(after: at)...]) else {
                throw refused("has something after '@' that is no sha256 digest")
            }
            digest = found
            rest = rest[..<at]
        }
        var tag: String?
        if let colon = rest.lastIndex(of: ":"), !rest[colon...].contains("/") {
            tag = String(rest[rest.index(after: colon)...])
            rest = rest[..<colon]
            guard let tag, Self.isTag(tag) else { throw refused("has a malformed tag") }
        }
        var (registry, repository) = Self.split(rest)
        guard Self.isHost(registry) else { throw refused("has a malformed registry host") }
        guard Self.isRepository(repository) else {
            throw refused("has a malformed name: lower-case letters, digits and . _ - between /")
        }
        if registry == "index.docker.io" { registry = Self.dockerHub }
        if registry == Self.dockerHub, !repository.contains("/") {
            repository = "library/\(repository)"
        }
        guard registry.utf8.count + repository.utf8.count < 255 else {
            throw refused("has a name over 255 characters")
        }
        self.registry = registry
        self.repository = repository
        self.tag = tag ?? (digest == nil ? "latest" : nil)
        self.digest = digest
    }

    /// The registry that a name without a host means.
    package static let dockerHub = "docker.io"

    /// Host and path, which is what a tag or digest is looked up in.
    package var name: String { "\(registry)/\(repository)" }

    /// The whole name, as it can be read again.
    package var description: String {
        name + (tag.map { ":\($0)" } ?? "") + (digest.map { "@\($0)" } ?? "")
    }

    /// The same image, pinned to a manifest.
    package func pinned(to digest: ContentDigest) -> String { "\(name)@\(digest)" }

    /// The name without a digest, under which it is remembered; nil where there is no tag.
    package var tagged: String? { tag.map { "\(name):\($0)" } }

    // MARK: Rules

    private static func split(_ text: Substring) -> (registry: String, repository: String) {
        guard let slash = text.firstIndex(of: "/") else { return (dockerHub, String(text)) }
        let first = text[..<slash]
        let isHost =
            first == "localhost" || first.contains { $0 == "." || $0 == ":" || $0.isUppercase }
        guard isHost else { return (dockerHub, String(text)) }
        return (String(first), String(text[text.index(after: slash)...]))
    }

    /// Whether `text` can be a registry: a name or IPv4 address, with `:port` after it if wanted.
    package static func isHost(_ text: String) -> Bool {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard let host = parts.first, parts.count <= 2, host.utf8.count <= 253 else { return false }
        if parts.count == 2 {
            guard parts[1].allSatisfy({ $0.isASCII && $0.isNumber }), let port = UInt16(parts[1]),
                port > 0
            else { return false }
        }
        return host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            !label.isEmpty && label.utf8.count <= 63
                && label.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
                && label.first != "-" && label.last != "-"
        }
    }

    private static func isTag(_ text: String) -> Bool {
        guard let first = text.utf8.first, text.utf8.count <= 128 else { return false }
        return (isAlphanumeric(first) || first == UInt8(ascii: "_"))
            && text.utf8.allSatisfy { isAlphanumeric($0) || "._-".utf8.contains($0) }
    }

    private static func isRepository(_ text: String) -> Bool {
        text.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { isComponent($0) }
    }

    /// Runs of lower-case letters and digits, with `.`, `_`, `__` or dashes between them.
    private static func isComponent(_ text: Substring) -> Bool {
        var separator = ""
        var hasLetters = false
        for character in text {
            if character.isASCII, character.isLowercase || character.isNumber {
                guard separator.isEmpty || (hasLetters && isSeparator(separator)) else {
                    return false
                }
                separator = ""
                hasLetters = true
            } else {
                separator.append(character)
            }
        }
        return hasLetters && separator.isEmpty
    }

    private static func isSeparator(_ text: String) -> Bool {
        [".", "_", "__"].contains(text) || text.allSatisfy { $0 == "-" }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (97...122).contains(byte) || (65...90).contains(byte) || (48...57).contains(byte)
    }
}

/// `sha256:` and 64 lower-case hexadecimal digits: what a blob or a manifest is called.
package struct ContentDigest: Hashable, Sendable, CustomStringConvertible {
    /// The 64 digits.
    package let hexadecimal: String

    /// Reads a digest; nil for another algorithm or form.
    package init?(_ text: some StringProtocol) {
        guard text.hasPrefix("sha256:") else { return nil }
        let digits = text.dropFirst(7)
        guard digits.utf8.count == 64,
            digits.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) })
        else { return nil }
        hexadecimal = String(digits)
    }

    /// Wraps the 32 bytes of a finished hash.
    package init(hash: some Sequence<UInt8>) {
        var text = ""
        for byte in hash { text += (byte < 16 ? "0" : "") + String(byte, radix: 16) }
        hexadecimal = text
    }

    package var description: String { "sha256:\(hexadecimal)" }
}
