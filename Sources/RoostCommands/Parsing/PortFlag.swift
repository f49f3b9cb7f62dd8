internal import RoostAPI
internal import RoostModel

/// Reads a published port: `[ADDRESS:]HOST:GUEST[/tcp|/udp]`, as docker's `-p` has it.
///
/// A bare `GUEST` lets the host choose its port. Without an address it is 127.0.0.1.
func publishedPort(_ text: String) throws(Fault) -> Roost_Compute_V1_PublishedPort {
    func refuse(_ why: String) -> Fault {
        .invalid("-p", "'\(shown(text))' \(why); write HOST:GUEST[/udp], such as 8080:80")
    }
    var port = Roost_Compute_V1_PublishedPort()
    var rest = text[...]
    port.protocol = .tcp
    if let slash = rest.lastIndex(of: "/") {
        switch rest[rest.index(after: slash)...] {
        case "tcp": break
        case "udp": port.protocol = .udp
        default: throw refuse("has a transport that is not tcp or udp")
        }
        rest = rest[..<slash]
    }
    let parts = rest.split(separator: ":", omittingEmptySubsequences: false)
    guard (1...3).contains(parts.count) else { throw refuse("is not a port") }
    guard let guest = portNumber(parts[parts.count - 1]), guest > 0 else {
        throw refuse("has a guest port that is not 1 to 65535")
    }
    port.guestPort = guest
    if parts.count > 1 {
        guard let host = portNumber(parts[parts.count - 2]) else {
            throw refuse("has a host port that is not 0 to 65535")
        }
        port.hostPort = host
    }
    if parts.count == 3 {
        guard isIPv4(String(parts[0])) else { throw refuse("has an address that is not IPv4") }
        port.hostAddress = String(parts[0])
    }
    return port
}

/// A port as a person reads it: `127.0.0.1:8080->80/tcp`.
func portText(_ port: Roost_Compute_V1_PublishedPort) -> String {
    let address = port.hostAddress.isEmpty ? "127.0.0.1" : port.hostAddress
    let host = port.hostPort == 0 ? "*" : String(port.hostPort)
    return "\(address):\(host)->\(port.guestPort)/\(port.protocol == .udp ? "udp" : "tcp")"
}

private func portNumber(_ text: Substring) -> Int32? {
    guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }), let number = UInt16(text)
    else { return nil }
    return Int32(number)
}
