internal import RoostModel

/// Where a daemon of a context listens.
enum Endpoint: Sendable, Equatable, CustomStringConvertible {
    /// A Unix socket; an absolute path under 104 bytes.
    case unix(path: String)
    /// Plain HTTP on this host: an IPv4 or IPv6 address of its loopback, without brackets.
    case loopback(address: String, port: Int)

    /// Reads `unix:///PATH` or `http://LOOPBACK:PORT`.
    ///
    /// - Throws: ``RoostModel/Reason/unsupported`` for https, which comes with the fleet's
    ///   certificates; ``RoostModel/Reason/invalidFields`` for anything else that is neither.
    init(_ text: String) throws(Fault) {
        let flag = "--endpoint"
        if text.hasPrefix("https://") {
            throw Fault(
                .unsupported,
                "'\(shown(text))' needs TLS, which this build does not speak yet: it comes with the "
                    + "fleet's certificates; until then forward a socket: ssh -L PATH:REMOTE-PATH HOST"
            )
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
                "'\(shown(text))' is neither unix:///PATH nor http://127.0.0.1:PORT"
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

    /// As ``init(_:)`` reads it.
    var description: String {
        switch self {
        case .unix(let path): "unix://\(path)"
        case .loopback(let address, let port):
            "http://\(address.contains(":") ? "[\(address)]" : address):\(port)"
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
