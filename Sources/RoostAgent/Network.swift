import CRoostLinux
import Glibc

/// A static IPv4 set-up of the first real interface.
struct NetworkSettings: Equatable {
    /// `a.b.c.d/prefix`.
    var address: String
    /// Empty: no default route.
    var gateway: String
    /// Empty: /etc/resolv.conf is left alone.
    var nameserver: String

    /// Applies it. The interface must exist.
    func apply() throws(SystemFailure) {
        guard let name = firstInterface() else {
            throw SystemFailure(call: "find", subject: "network interface", errno: ENODEV)
        }
        let parts = address.split(separator: "/")
        guard parts.count == 2, let host = ipv4(String(parts[0])), let prefix = Int32(parts[1])
        else {
            throw SystemFailure(call: "set address", subject: address, errno: EINVAL)
        }
        try checkShim(roost_set_address(name, host, prefix), "set address", name)
        try checkShim(roost_link_up(name), "bring up", name)
        if !gateway.isEmpty {
            guard let via = ipv4(gateway) else {
                throw SystemFailure(call: "set gateway", subject: gateway, errno: EINVAL)
            }
            try checkShim(roost_set_gateway(via), "set gateway", gateway)
        }
        if !nameserver.isEmpty { try writeResolver() }
    }

    private func writeResolver() throws(SystemFailure) {
        guard ipv4(nameserver) != nil else {
            throw SystemFailure(call: "set name server", subject: nameserver, errno: EINVAL)
        }
        // Images ship this as a link into a directory that no service of theirs fills here.
        if access("/etc/resolv.conf", F_OK) != 0 { unlink("/etc/resolv.conf") }
        try put("nameserver \(nameserver)\n", at: "/etc/resolv.conf")
    }
}

/// The first interface that is not the loopback, by name: `eth0` before `eth1`.
func firstInterface() -> String? {
    entries(of: "/sys/class/net").filter {
        $0 != "lo" && access("/sys/class/net/\($0)/device", F_OK) == 0
    }.min()
}

/// The address in network order.
func ipv4(_ text: String) -> UInt32? {
    var address = in_addr()
    return inet_pton(AF_INET, text, &address) == 1 ? address.s_addr : nil
}

/// The names in a directory, without `.` and `..`; empty when it cannot be read.
func entries(of path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { raw in
            String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name != "." && name != ".." { names.append(name) }
    }
    return names
}
