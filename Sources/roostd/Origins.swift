import GRPCCore
import RoostAPI
import RoostConnect
import RoostModel

/// Refuses what a web page of somebody else could send to the open loopback port.
///
/// A browser names the site it talks to in `Host` and the site that made it talk in `Origin`. A page
/// whose name was rebound to 127.0.0.1 still says its own name, so names that are not this host's are
/// refused; with an `Origin` it must be the very host and port that is talked to. Unix sockets are out
/// of a browser's reach and are not asked.
struct Origins: Sendable {
    /// Why a request that says so is refused; `nil` when it is not.
    static func refusal(host: String?, origin: String?, peer: String) -> Fault? {
        if peer.hasPrefix("unix") { return nil }
        if let host, !isLoopback(host) {
            return Fault(
                .foreignOrigin,
                "the header Host says '\(shown(host))', which is no name of this host's loopback"
            )
        }
        if let origin, origin != "http://\(host ?? "")" {
            return Fault(
                .foreignOrigin,
                "the header Origin says '\(shown(origin))', which is not served here"
            )
        }
        return nil
    }

    /// Whether `authority` is `localhost`, 127.0.0.0/8 or `[::1]`, with or without a port.
    static func isLoopback(_ authority: String) -> Bool {
        var name = authority[...]
        if let colon = authority.lastIndex(of: ":"), !authority.hasSuffix("]") {
            let port = authority[authority.index(after: colon)...]
            guard !port.isEmpty, port.utf8.allSatisfy({ (48...57).contains($0) }) else {
                return false
            }
            name = authority[..<colon]
        }
        return name.lowercased() == "localhost" || name == "[::1]"
            || (name.hasPrefix("127.") && isIPv4(String(name)))
    }
}

/// Asks ``Origins`` about every call.
struct OriginInterceptor: ServerInterceptor {
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
                let refusal = Origins.refusal(
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
    var refusal: WebResponse? {
        func value(_ name: String) -> String? {
            // An empty Host is what HTTP/1.0 has.
            headers.first { $0.name == name && !$0.value.isEmpty }?.value
        }
        let fault = Origins.refusal(
            host: value("host"),
            origin: value("origin"),
            peer: remotePeer
        )
        return fault.map { WebResponse(status: 403, text: "\($0.message): \($0.remedy)\n") }
    }
}
