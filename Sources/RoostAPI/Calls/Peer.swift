package import GRPCCore

/// Who is at the other end of a call, as the transport says.
package enum Peer: Sendable, Equatable {
    /// A process on this host, by the kernel's word (unix(7), `SO_PEERCRED`).
    case local(uid: UInt32, gid: UInt32, pid: Int32)
    /// An address and port, such as `127.0.0.1:4711` or `[::1]:4711`.
    case network(String)
    /// Whatever else the transport wrote.
    case other(String)

    /// The peer of `context`. Only a transport writes this text: no header gets into it.
    package init(_ context: ServerContext) { self.init(context.remotePeer) }

    /// Reads `unix:uid=U,gid=G,pid=P`, `ipv4:…` or `ipv6:…`.
    package init(_ text: String) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let rest = parts.count == 2 ? parts[1] : ""
        switch parts.first {
        case "ipv4", "ipv6": self = .network(String(rest))
        case "unix":
            var numbers: [Substring: Int64] = [:]
            for pair in rest.split(separator: ",") {
                let halves = pair.split(separator: "=")
                if halves.count == 2 { numbers[halves[0]] = Int64(halves[1]) }
            }
            guard let uid = numbers["uid"].flatMap({ UInt32(exactly: $0) }),
                let gid = numbers["gid"].flatMap({ UInt32(exactly: $0) }),
                let pid = numbers["pid"].flatMap({ Int32(exactly: $0) })
            else {
                self = .other(text)
                return
            }
            self = .local(uid: uid, gid: gid, pid: pid)
        default: self = .other(text)
        }
    }

    /// Whether it is on this host: a Unix socket's peer, or a loopback address.
    package var isOnThisHost: Bool {
        switch self {
        case .local: true
        case .network(let address): address.hasPrefix("127.") || address.hasPrefix("[::1]:")
        case .other: false
        }
    }
}
