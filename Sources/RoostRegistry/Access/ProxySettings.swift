package import RoostModel

/// The proxy that HTTP requests go through, from `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and
/// `NO_PROXY` (either case; the lower one first, as curl has it).
package struct ProxySettings: Sendable, Hashable {
    /// A proxy that speaks plain HTTP, with CONNECT for https.
    package struct Proxy: Sendable, Hashable {
        /// A name or address.
        package var host: String
        /// 1 … 65,535.
        package var port: Int
        /// Empty where none was written.
        package var user: String
        /// Goes with `user`.
        package var password: Secret

        package init(host: String, port: Int, user: String = "", password: Secret = Secret("")) {
            self.host = host
            self.port = port
            self.user = user
            self.password = password
        }
    }

    private let http: Proxy?
    private let https: Proxy?
    private let exceptions: [Substring]
    private let bypassesAll: Bool

    /// Reads the variables of `environment`.
    ///
    /// - Throws: ``Reason/invalidFields`` naming the variable for a proxy of another kind than
    ///   `http://[user:password@]host[:port]`.
    package init(environment: [String: String]) throws(Fault) {
        func value(_ name: String) -> String {
            let lower = environment[name.lowercased()] ?? ""
            return lower.isEmpty ? environment[name] ?? "" : lower
        }
        func proxy(_ name: String) throws(Fault) -> Proxy? {
            for candidate in [name, "ALL_PROXY"] where !value(candidate).isEmpty {
                return try Self.proxy(value(candidate), of: candidate)
            }
            return nil
        }
        http = try proxy("HTTP_PROXY")
        https = try proxy("HTTPS_PROXY")
        let list = value("NO_PROXY").lowercased()
        exceptions = Substring(list).split { $0 == "," || $0 == " " }
        bypassesAll = exceptions.contains("*")
    }

    /// The proxy for a request; nil to go directly. Loopback is always reached directly.
    package func proxy(scheme: String, host: String, port: Int) -> Proxy? {
        let host = host.lowercased()
        guard !bypassesAll, !Self.isLoopback(host) else { return nil }
        guard !exceptions.contains(where: { Self.covers($0, host, port) }) else { return nil }
        return scheme == "https" ? https : http
    }

    /// Whether `host` is this machine by name or address.
    package static func isLoopback(_ host: String) -> Bool {
        host == "localhost" || host.hasSuffix(".localhost") || host == "::1"
            || (isIPv4(host) && host.hasPrefix("127."))
    }

    /// `example.org` and `.example.org` cover the name and all below it; also `host:port` and IPv4
    /// networks as `10.0.0.0/8`.
    private static func covers(_ exception: Substring, _ host: String, _ port: Int) -> Bool {
        if exception.contains("/") { return network(exception, holds: host) }
        var name = exception
        if let colon = exception.lastIndex(of: ":") {
            guard Int(exception[exception.index(after: colon)...]) == port else { return false }
            name = exception[..<colon]
        }
        if name.hasPrefix("*.") { name = name.dropFirst(2) }
        if name.hasPrefix(".") { name = name.dropFirst() }
        guard !name.isEmpty else { return false }
        return host == name || (host.hasSuffix(".\(name)") && !isIPv4(host))
    }

    private static func network(_ text: Substring, holds host: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let length = UInt32(parts[1]), length <= 32,
            let base = address(String(parts[0])), let wanted = address(host)
        else { return false }
        return length == 0 || base >> (32 - length) == wanted >> (32 - length)
    }

    private static func address(_ text: String) -> UInt32? {
        guard isIPv4(text) else { return nil }
        return text.split(separator: ".").reduce(UInt32(0)) { $0 << 8 | (UInt32($1) ?? 0) }
    }

    private static func proxy(_ text: String, of variable: String) throws(Fault) -> Proxy {
        // The value may hold a password and is not repeated.
        let refusal = Fault.invalid(
            variable,
            "is not http://[user:password@]host[:port], the only kind of proxy that is used"
        )
        var rest = text[...]
        if let end = rest.firstRange(of: "://") {
            guard rest[..<end.lowerBound].lowercased() == "http" else { throw refusal }
            rest = rest[end.upperBound...]
        }
        rest = rest.prefix { $0 != "/" }
        var user = ""
        var password = ""
        if let at = rest.lastIndex(of: "@") {
            let words = rest[..<at].split(separator: ":", maxSplits: 1)
            user = decoded(words.first ?? "")
            password = words.count == 2 ? decoded(words[1]) : ""
            rest = rest[rest.index(after: at)...]
        }
        let words = rest.split(separator: ":", omittingEmptySubsequences: false)
        guard words.count <= 2, let host = words.first, ImageReference.isHost(String(host)),
            let port = words.count == 2 ? UInt16(words[1]) : 80, port > 0
        else { throw refusal }
        return Proxy(host: String(host), port: Int(port), user: user, password: Secret(password))
    }

    /// Percent escapes undone; text that is not well escaped stays as it is.
    private static func decoded(_ text: Substring) -> String {
        text.removingPercentEscapes ?? String(text)
    }
}

extension Substring {
    /// The text without percent escapes; nil for a malformed one.
    fileprivate var removingPercentEscapes: String? {
        var bytes: [UInt8] = []
        var rest = Array(utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = String(decoding: rest.prefix(2), as: UTF8.self)
            guard digits.utf8.count == 2, let value = UInt8(digits, radix: 16) else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
