import Glibc
import Logging
import RoostConnect
import RoostControl
import RoostModel
import RoostServices
import RoostTrust

/// How a listener for people lets callers in.
struct Entrance: Sendable {
    /// Who asks.
    var door: any Door
    /// From which pages, and by which names.
    var origins: Origins
    /// `nil`: plaintext.
    var tls: ConnectTLS?

    /// A Unix socket of this user's.
    static var local: Entrance {
        Entrance(door: LocalDoor(owner: geteuid()), origins: Origins(), tls: nil)
    }

    /// A loopback port without authentication, of `--dev`.
    static var open: Entrance { Entrance(door: OpenDoor(), origins: Origins(), tls: nil) }
}

extension Entrance {
    /// The listener for users over TCP: TLS with a certificate of the fleet's authority, and tokens.
    init(
        _ tokens: AccessTokens,
        _ authority: Authority,
        _ settings: Settings,
        at now: Timestamp,
        _ log: Logger
    ) throws(Fault) {
        let names = try settings.apiNames()
        let keys = KeyPair()
        // As long as the authority: it goes with the process.
        let leaf = try authority.issue(
            .control,
            to: keys.publicKey,
            at: now,
            lifetime: Authority.lifetime / 2,
            names: names.sorted(),
            addresses: interfaceAddresses()
        )
        let trust = authority.trust
        door = TokenDoor(tokens, fingerprint: trust.fingerprint, log: log)
        origins = Origins(names: names.union(["roost"]))
        tls = ConnectTLS(certificateChain: [leaf.der, trust.der], privateKey: keys.privateDER)
    }
}

extension Settings {
    /// Where users call, for people; empty: nowhere.
    func apiAddress() throws(Fault) -> String {
        guard let listen = try usersListen() else { return "" }
        let isWild = listen.host == "0.0.0.0" || listen.host == "::"
        let host = apiName.first ?? (isWild ? hostName() : listen.host)
        return "\(host.contains(":") ? "[\(host)]" : host):\(listen.port)"
    }

    /// The names by which users may call, in lowercase.
    fileprivate func apiNames() throws(Fault) -> Set<String> {
        Set((apiName + [hostName(), "localhost"]).map { $0.lowercased() })
    }
}

/// The addresses of this host, 4 or 16 bytes each, in order: what a client may call it by.
private func interfaceAddresses() -> [[UInt8]] {
    var first: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&first) == 0 else { return [] }
    defer { freeifaddrs(first) }
    var found: Set<[UInt8]> = []
    var entry = first
    while let this = entry {
        entry = this.pointee.ifa_next
        guard let address = this.pointee.ifa_addr else { continue }
        let raw = UnsafeRawPointer(address)
        switch Int32(address.pointee.sa_family) {
        case AF_INET:
            let bytes = raw.load(as: sockaddr_in.self).sin_addr
            found.insert(withUnsafeBytes(of: bytes) { Array($0) })
        case AF_INET6:
            let bytes = raw.load(as: sockaddr_in6.self).sin6_addr
            found.insert(withUnsafeBytes(of: bytes) { Array($0) })
        default: continue
        }
    }
    return found.sorted { ($0.count, $0.description) < ($1.count, $1.description) }
}
