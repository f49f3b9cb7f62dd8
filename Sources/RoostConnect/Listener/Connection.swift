internal import NIOCore

/// What is known of the peer of one connection.
struct Connection: Sendable {
    let channel: any Channel
    /// `unix:uid=U,gid=G,pid=P` by the kernel's word, or `ipv4:address:port`, `ipv6:[address]:port`.
    let remotePeer: String
    /// `unix:path` or an address.
    let localPeer: String
    /// Whether a request is one stream of many, with a channel of its own.
    let isHTTP2: Bool
    /// Tells when the client goes. Fires for HTTP/1.1 only.
    let departures: Departures

    /// Asks the kernel who is at the other end of `channel`.
    static func make(_ channel: any Channel, isHTTP2: Bool) -> EventLoopFuture<Connection> {
        remotePeer(of: channel).map { remotePeer in
            Connection(
                channel: channel,
                remotePeer: remotePeer,
                localPeer: channel.localAddress.map(text) ?? "unknown",
                isHTTP2: isHTTP2,
                departures: Departures()
            )
        }
    }

    private static func remotePeer(of channel: any Channel) -> EventLoopFuture<String> {
        let address = channel.remoteAddress
        guard channel.localAddress?.protocol == .unix,
            let options = channel as? any SocketOptionProvider
        else { return channel.eventLoop.makeSucceededFuture(address.map(text) ?? "unknown") }
        // unix(7): the peer's pid, uid and gid at the time of its connect(2).
        let credentials: EventLoopFuture<PeerCredentials> = options.unsafeGetSocketOption(
            level: .socket,
            name: NIOBSDSocket.Option(rawValue: peerCredentialsOption)
        )
        return credentials.map { "unix:uid=\($0.uid),gid=\($0.gid),pid=\($0.pid)" }
            .recover { _ in "unix:" }
    }

    /// `address` as a `ServerContext` writes one.
    static func text(_ address: SocketAddress) -> String {
        switch address {
        case .v4: "ipv4:\(address.ipAddress ?? ""):\(address.port ?? 0)"
        case .v6: "ipv6:[\(address.ipAddress ?? "")]:\(address.port ?? 0)"
        case .unixDomainSocket: "unix:\(address.pathname ?? "")"
        }
    }
}

/// `struct ucred` of unix(7), which Glibc's headers hide without `_GNU_SOURCE`.
private struct PeerCredentials: Sendable {
    var pid: Int32 = 0
    var uid: UInt32 = 0
    var gid: UInt32 = 0
}

/// `SO_PEERCRED` on x86-64 and arm64.
private let peerCredentialsOption: CInt = 17
