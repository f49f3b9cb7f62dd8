/// The proxy settings of this shell, as a guest can use them.
///
/// Takes `HTTP_PROXY`, `HTTPS_PROXY`, `FTP_PROXY`, `ALL_PROXY` and `NO_PROXY` in either case. A proxy on
/// this host's loopback is 10.0.2.2 for a guest (QEMU's user-mode network), so its name is exchanged.
/// Returns `NAME=value` in the order of the names; nothing for what is unset or empty.
func proxyVariables(of environment: [String: String]) -> [String] {
    let names = ["ALL_PROXY", "FTP_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"]
    return names.flatMap { [$0, $0.lowercased()] }.compactMap { name in
        guard let value = environment[name], !value.isEmpty else { return nil }
        // NO_PROXY lists whom to reach directly: there loopback is the guest's own.
        return "\(name)=\(name.uppercased() == "NO_PROXY" ? value : asSeenByAGuest(value))"
    }
}

/// `scheme://user@host:port` with a loopback host exchanged.
private func asSeenByAGuest(_ proxy: String) -> String {
    let schemeEnd = proxy.firstRange(of: "://")?.upperBound ?? proxy.startIndex
    let authorityEnd = proxy[schemeEnd...].firstIndex(of: "/") ?? proxy.endIndex
    let hostStart =
        proxy[schemeEnd..<authorityEnd].lastIndex(of: "@").map { proxy.index(after: $0) }
        ?? schemeEnd
    let authority = proxy[hostStart..<authorityEnd]
    for name in ["127.0.0.1", "localhost", "[::1]"]
    where authority == name || authority.hasPrefix(name + ":") {
        return proxy[..<hostStart] + "10.0.2.2" + authority.dropFirst(name.count)
            + proxy[authorityEnd...]
    }
    return proxy
}
