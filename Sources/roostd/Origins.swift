import GRPCCore
import RoostAPI
import RoostConnect
import RoostModel
import RoostServices

/// Refuses what a web page of somebody else could send to a port.
///
/// A browser names the site it talks to in `Host` and the site that made it talk in `Origin`. A page
/// whose name was rebound to 127.0.0.1 still says its own name, so names that are not this host's are
/// refused; with an `Origin` it must be the very host and port that is talked to. Unix sockets are out
/// of a browser's reach and are not asked.
struct Origins: Sendable {
    /// The names at which a listener with TLS is called, in lowercase; `nil`: loopback, in plaintext.
    var names: Set<String>?

    /// Why a request that says so is refused; `nil` when it is not.
    func refusal(host: String?, origin: String?, peer: String) -> Fault? {
        if peer.hasPrefix("unix") { return nil }
        if let host, let names {
            // A rebound page bears a name: an address cannot be made to mean another host.
            let name = Self.name(of: host)
            guard let name, names.contains(name) || Self.isAddress(name) else {
                return Fault(
                    .foreignOrigin,
                    "the header Host says '\(shown(host))', which is none of "
                        + "\(names.sorted().joined(separator: ", ")); roostd --api-name adds one"
                )
            }
        } else if let host, !Self.isLoopback(host) {
            return Fault(
                .foreignOrigin,
                "the header Host says '\(shown(host))', which is no name of this host's loopback"
            )
        }
        let scheme = names == nil ? "http" : "https"
        if let origin, origin != "\(scheme)://\(host ?? "")" {
            return Fault(
                .foreignOrigin,
                "the header Origin says '\(shown(origin))', which is not served here"
            )
        }
        return nil
    }

    /// Whether `authority` is `localhost`, 127.0.0.0/8 or `[::1]`, with or without a port.
    static func isLoopback(_ authority: String) -> Bool {
        guard let name = name(of: authority) else { return false }
        return name == "localhost" || name == "[::1]" || (name.hasPrefix("127.") && isIPv4(name))
    }

    /// The host of `authority` in lowercase, without its port; `nil` for a port that is none.
    private static func name(of authority: String) -> String? {
        guard let colon = authority.lastIndex(of: ":"), !authority.hasSuffix("]") else {
            return authority.lowercased()
        }
        let port = authority[authority.index(after: colon)...]
        guard !port.isEmpty, port.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
        return authority[..<colon].lowercased()
    }

    private static func isAddress(_ name: String) -> Bool {
        isIPv4(name) || (name.hasPrefix("[") && name.hasSuffix("]"))
    }
}

/// Asks ``Origins`` about every call.
struct OriginInterceptor: ServerInterceptor {
    let own: Origins

    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>,
        context: ServerContext,
        next:
            @Sendable @concurrent (
                _ request: StreamingServerRequest<Input>,
                _ context: ServerContext
            ) async throws -> StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        // Of several headers of one name any may be the browser's: all must be ours.
        let hosts = Array(request.metadata[stringValues: "host"])
        let origins = Array(request.metadata[stringValues: "origin"])
        for host in hosts.isEmpty ? [nil] : hosts.map(Optional.some) {
            for origin in origins.isEmpty ? [nil] : origins.map(Optional.some) {
                let refusal = own.refusal(
                    host: host,
                    origin: origin,
                    peer: context.remotePeer
                )
                if let refusal { throw refusal }
            }
        }
        return try await next(request, context)
    }
}

extension WebRequest {
    /// The refusal of a page, as ``Origins`` says; `nil` when it may be shown.
    func refusal(by own: Origins) -> WebResponse? {
        func value(_ name: String) -> String? {
            // An empty Host is what HTTP/1.0 has.
            headers.first { $0.name == name && !$0.value.isEmpty }?.value
        }
        let fault = own.refusal(
            host: value("host"),
            origin: value("origin"),
            peer: remotePeer
        )
        return fault.map { WebResponse(status: 403, text: "\($0.message): \($0.remedy)\n") }
    }

    /// The refusal of a page for who asks; `nil` when it may be shown. What tells a load balancer that
    /// somebody is there is for anybody; the rest is about the whole fleet.
    func refusal(at door: any Door) async -> WebResponse? {
        if path == "/healthz" { return nil }
        let tokens = headers.filter { $0.name == "authorization" }.map(\.value)
        do throws(Fault) {
            let caller = try await door.caller(tokens, from: Peer(remotePeer))
            let rule = AccessRule.role(.viewer, .fleet)
            try rule.admit(caller.role, project: caller.project, method: String(path.dropFirst()))
            return nil
        } catch {
            let isUnknown = error.code == .unauthenticated
            var response = WebResponse(
                status: isUnknown ? 401 : 403,
                text: "\(error.message): \(error.remedy)\n"
            )
            if isUnknown { response.headers.append(("www-authenticate", "Bearer")) }
            return response
        }
    }
}
