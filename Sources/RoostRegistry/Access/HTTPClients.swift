import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import RoostModel
import Synchronization

/// Where a request goes.
struct Target: Sendable, Hashable {
    /// `http` or `https`.
    var scheme: String
    /// A name or an address.
    var host: String
    var port: Int
    /// The whole of it, absolute.
    var text: String

    /// Reads an absolute URL, or one relative to `base`; nil for anything but http and https, and
    /// for one that carries a user or password.
    init?(_ text: String, relativeTo base: Target? = nil) {
        guard text.utf8.count <= 16 << 10,
            let url = URL(string: text, relativeTo: base.flatMap { URL(string: $0.text) })?
                .absoluteURL,
            let scheme = url.scheme?.lowercased(), ["http", "https"].contains(scheme),
            let host = url.host(), !host.isEmpty, url.user() == nil, url.password() == nil
        else { return nil }
        self.scheme = scheme
        self.host = host.lowercased()
        port = url.port ?? (scheme == "https" ? 443 : 80)
        self.text = url.absoluteString
    }

    /// Whether both are the same server, so that what one may know the other may.
    func isSameServer(as other: Target) -> Bool {
        scheme == other.scheme && host == other.host && port == other.port
    }

    /// Whether nobody on the way can read along.
    var isPrivate: Bool { scheme == "https" || ProxySettings.isLoopback(host) }
}

/// HTTP, directly and through proxies, for as long as one pull lasts. Close it at the end.
final class HTTPClients: Sendable {
    private let proxies: ProxySettings
    private let clients = Mutex<[ProxySettings.Proxy?: HTTPClient]>([:])

    init(proxies: ProxySettings) { self.proxies = proxies }

    /// Sends a GET and waits for the head of the response. Follows no redirect.
    ///
    /// - Throws: whatever the connection fails with.
    func get(
        _ target: Target,
        _ fields: [(String, String)],
        within time: TimeAmount
    ) async throws -> HTTPClientResponse {
        var request = HTTPClientRequest(url: target.text)
        request.headers.add(name: "User-Agent", value: "roost/\(Product.version)")
        for (name, value) in fields { request.headers.add(name: name, value: value) }
        return try await client(for: target).execute(request, deadline: .now() + time)
    }

    /// Closes every connection.
    func close() async {
        let all = clients.withLock { clients in
            defer { clients = [:] }
            return Array(clients.values)
        }
        for client in all {
            // It fails only for a client that was shut down before.
            try? await client.shutdown()
        }
    }

    private func client(for target: Target) -> HTTPClient {
        let proxy = proxies.proxy(scheme: target.scheme, host: target.host, port: target.port)
        return clients.withLock { clients in
            if let known = clients[proxy] { return known }
            var settings = HTTPClient.Configuration()
            settings.redirectConfiguration = .disallow
            settings.timeout.connect = .seconds(10)
            settings.timeout.read = .seconds(60)
            // Whoever refuses a connection is asked again by the session, not for ten seconds.
            settings.connectionPool.retryConnectionEstablishment = false
            // One connection for each download: HTTP/2 would give them one window.
            settings.httpVersion = .http1Only
            if let proxy {
                let authorization =
                    proxy.user.isEmpty
                    ? nil
                    : HTTPClient.Authorization.basic(
                        username: proxy.user,
                        password: proxy.password.reveal()
                    )
                settings.proxy = .server(
                    host: proxy.host,
                    port: proxy.port,
                    authorization: authorization
                )
            }
            let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: settings)
            clients[proxy] = client
            return client
        }
    }
}
