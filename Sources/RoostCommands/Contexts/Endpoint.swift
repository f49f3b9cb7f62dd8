internal import RoostModel
internal import RoostTrust

/// Where a daemon of a context listens.
enum Endpoint: Sendable, Equatable, CustomStringConvertible {
    /// A Unix socket; an absolute path under 104 bytes.
    case unix(path: String)
    /// Plain HTTP on this host: an IPv4 or IPv6 address of its loopback, without brackets.
    case loopback(address: String, port: Int)
    /// A control plane's listener for users: TLS, and a token that says whose fleet it is. The host is a
    /// name, or an address without brackets; `nil` for a token that has not been read.
    case fleet(host: String, port: Int, AccessToken?)

    /// Reads `unix:///PATH`, `http://LOOPBACK:PORT` or `https://HOST:PORT`.
    ///
    /// - Throws: ``RoostModel/Reason/invalidFields`` for anything else.
    init(_ text: String) throws(Fault) {
        let flag = "--endpoint"
        if text.hasPrefix("https://") {
            self = try Self.parsedFleet(text.dropFirst("https://".count), shown: text)
            return
        }
        if text.hasPrefix("unix://") {
            let path = String(text.dropFirst("unix://".count))
            guard path.hasPrefix("/"), path.count > 1, !path.utf8.contains(0) else {
                throw .invalid(flag, "'\(shown(text))' needs an absolute path: unix:///PATH")
            }
            guard path.utf8.count < DaemonPlace.socketLimit else {
                throw Fault(
                    .socketPathTooLong,
                    "the socket path '\(shown(path))' has \(path.utf8.count) bytes"
                )
            }
            self = .unix(path: path)
            return
        }
        guard text.hasPrefix("http://") else {
            throw .invalid(
                flag,
                "'\(shown(text))' is none of unix:///PATH, https://HOST:PORT, http://127.0.0.1:PORT"
            )
        }
        var rest = text.dropFirst("http://".count)
        if rest.hasSuffix("/") { rest.removeLast() }
        guard let colon = rest.lastIndex(of: ":"),
            let port = UInt16(rest[rest.index(after: colon)...]), port > 0
        else { throw .invalid(flag, "'\(shown(text))' has no port: http://127.0.0.1:8080") }
        guard let address = Self.loopbackAddress(String(rest[..<colon])) else {
            throw .invalid(
                flag,
                "'\(shown(text))' is not on this host: plain http is for 127.0.0.1, localhost and "
                    + "[::1] only, since whoever is between would read and change everything"
            )
        }
        self = .loopback(address: address, port: Int(port))
    }

    /// Reads the rest of a URL, which has no token in it: that would be shown.
    private static func parsedFleet(_ rest: Substring, shown text: String) throws(Fault) -> Endpoint
    {
        let flag = "--endpoint"
        guard !rest.contains("@") else {
            throw .invalid(
                flag,
                "has a token in it, which ps shows to everybody: put what roost access create "
                    + "printed into a file for --access"
            )
        }
        let rest = rest.hasSuffix("/") ? rest.dropLast() : rest
        guard let colon = rest.lastIndex(of: ":"),
            let port = UInt16(rest[rest.index(after: colon)...]), port > 0
        else { throw .invalid(flag, "'\(shown(text))' has no port: https://HOST:8444") }
        var host = rest[..<colon]
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
        if isBracketed { host = host.dropFirst().dropLast() }
        let isName = host.utf8.allSatisfy {
            (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 45
                || $0 == 46
        }
        let isAddress = isBracketed && host.allSatisfy { $0.isHexDigit || $0 == ":" || $0 == "." }
        guard (1...253).contains(host.utf8.count), isName || isAddress else {
            throw .invalid(flag, "'\(shown(text))' has no host: https://HOST:8444")
        }
        return .fleet(host: String(host), port: Int(port), nil)
    }

    /// As ``init(_:)`` reads it; never with a token.
    var description: String {
        switch self {
        case .unix(let path): "unix://\(path)"
        case .loopback(let address, let port):
            "http://\(address.contains(":") ? "[\(address)]" : address):\(port)"
        case .fleet(let host, let port, _):
            "https://\(host.contains(":") ? "[\(host)]" : host):\(port)"
        }
    }

    /// The address that a host's name in a URL means; `nil` when it is not loopback.
    private static func loopbackAddress(_ host: String) -> String? {
        if host == "localhost" { return "127.0.0.1" }
        if host == "[::1]" { return "::1" }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        let isIPv4 =
            parts.count == 4
            && parts.allSatisfy { part in
                UInt8(part).map { String($0) == part } ?? false
            }
        return isIPv4 && parts[0] == "127" ? host : nil
    }
}
