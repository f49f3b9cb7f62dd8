internal import Glibc
internal import RoostLinux

extension Endpoint {
    /// How long an answer may take: it is on this host.
    static let patienceMilliseconds: Int32 = 1000

    /// Whether something listens there; taken to be so where only a call can tell.
    func answers() -> Bool {
        switch self {
        case .unix(let path): Self.connects(AF_UNIX, unixAddress(path))
        case .loopback(let address, let port):
            if address.contains(":") {
                Self.connects(AF_INET6, ipv6Address(address, port))
            } else {
                Self.connects(AF_INET, ipv4Address(address, port))
            }
        // It may have a name and be far away: the first call says.
        case .fleet: true
        }
    }

    private static func connects<Address>(_ family: Int32, _ address: Address) -> Bool {
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let descriptor = Descriptor(socket(family, kind, 0))
        guard descriptor.number >= 0 else { return false }
        let result = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor.number, $0, socklen_t(MemoryLayout<Address>.size))
            }
        }
        // A full backlog of a Unix socket says EAGAIN: somebody listens.
        if result == 0 || errno == EAGAIN { return true }
        guard errno == EINPROGRESS else { return false }
        var waiting = pollfd(fd: descriptor.number, events: Int16(POLLOUT), revents: 0)
        guard poll(&waiting, 1, patienceMilliseconds) == 1 else { return false }
        var problem: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(descriptor.number, SOL_SOCKET, SO_ERROR, &problem, &size) == 0
            && problem == 0
    }

    private func unixAddress(_ path: String) -> sockaddr_un {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) {
            // One byte stays zero: the text ends there.
            $0.copyBytes(from: Array(path.utf8.prefix($0.count - 1)))
        }
        return address
    }

    private func ipv4Address(_ text: String, _ port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(clamping: port)).bigEndian
        inet_pton(AF_INET, text, &address.sin_addr)
        return address
    }

    private func ipv6Address(_ text: String, _ port: Int) -> sockaddr_in6 {
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_port = in_port_t(UInt16(clamping: port)).bigEndian
        inet_pton(AF_INET6, text, &address.sin6_addr)
        return address
    }
}
