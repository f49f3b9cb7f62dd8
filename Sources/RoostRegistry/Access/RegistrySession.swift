import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import RoostLinux
import RoostModel
import Synchronization

/// Requests to one repository of one registry: finds out how to be let in, follows redirects, and
/// turns refusals into faults. Close it at the end.
final class RegistrySession: Sendable {
    /// The registry as the reference names it.
    let registry: String
    private let repository: String
    private let base: Target
    private let credential: Credential?
    private let subject: String
    private let clients: HTTPClients
    private let clock: any Clock<Duration>
    /// The `Authorization` that was let in last.
    private let authorization = Mutex<Secret?>(nil)

    /// Asks `registry` about `repository`, the path below the host, which is empty to only log in.
    /// Messages call what is asked for `subject`; `isPlain` allows http also where the registry is
    /// not on this machine.
    ///
    /// - Throws: ``Reason/invalidFields`` for a registry that is no host.
    init(
        registry: String,
        repository: String,
        subject: String,
        isPlain: Bool,
        credential: Credential?,
        proxies: ProxySettings,
        clock: any Clock<Duration>
    ) throws(Fault) {
        let host = registry == ImageReference.dockerHub ? "registry-1.docker.io" : registry
        let name = host.split(separator: ":").first.map(String.init) ?? host
        let isHTTP = isPlain || ProxySettings.isLoopback(name.lowercased())
        guard ImageReference.isHost(host),
            let base = Target("\(isHTTP ? "http" : "https")://\(host)")
        else { throw .invalid("registry", "'\(shown(registry))' is no host[:port]") }
        self.registry = registry
        self.repository = repository
        self.subject = subject
        self.base = base
        self.credential = credential
        clients = HTTPClients(proxies: proxies)
        self.clock = clock
    }

    /// Ends every connection.
    func close() async { await clients.close() }

    /// Asks for `path` below `/v2/` and the repository. The response's status is 200 or 206, and its body unread.
    ///
    /// - Throws: ``Reason/imageNotFound``, ``Reason/registryDenied``,
    ///   ``Reason/registryUnreachable``, ``Reason/registryInvalid``, ``Reason/opCancelled``.
    func get(_ path: String, _ fields: [(String, String)]) async throws(Fault) -> HTTPClientResponse
    {
        let place = repository.isEmpty ? "" : "\(repository)/"
        guard let target = Target("\(base.text)/v2/\(place)\(path)") else {
            throw Fault(.bug, "no URL of '\(shown(path))'")
        }
        var wait = Duration.milliseconds(500)
        for attempt in 1... {
            do throws(Fault) {
                return try await getOnce(target, fields)
            } catch {
                guard error.reason == .registryUnreachable, attempt < 3 else { throw error }
            }
            do {
                try await clock.sleep(for: wait)
            } catch {
                throw cancelled()
            }
            wait *= 2
        }
        throw Fault(.bug, "an endless loop has ended")
    }

    private func getOnce(
        _ target: Target,
        _ fields: [(String, String)]
    ) async throws(Fault) -> HTTPClientResponse {
        var isFirst = true
        while true {
            let known = authorization.withLock { $0 }
            let response = try await follow(target, fields, known)
            switch Int(response.status.code) {
            case 200, 206: return response
            case 401 where isFirst:
                isFirst = false
                let challenges = Challenge.parse(response.headers["WWW-Authenticate"])
                let granted = try await authorize(challenges)
                authorization.withLock { $0 = granted }
            default: throw await refusal(response)
            }
        }
    }

    /// Sends a request, and sends it on where the answer says so. Nobody but the registry itself
    /// gets the authorization.
    private func follow(
        _ first: Target,
        _ fields: [(String, String)],
        _ authorization: Secret?
    ) async throws(Fault) -> HTTPClientResponse {
        var target = first
        for _ in 0...5 {
            var fields = fields
            if let authorization, target.isSameServer(as: base) {
                fields.append(("Authorization", authorization.reveal()))
            }
            let response = try await send(target, fields)
            guard [301, 302, 303, 307, 308].contains(response.status.code) else { return response }
            guard let location = response.headers.first(name: "Location"),
                let next = Target(location, relativeTo: target)
            else { throw invalid("it redirects to nowhere") }
            guard next.scheme == "https" || target.scheme == "http" else {
                throw invalid("it redirects from https to http")
            }
            target = next
        }
        throw invalid("it redirects more than 5 times")
    }

    private func send(
        _ target: Target,
        _ fields: [(String, String)]
    ) async throws(Fault) -> HTTPClientResponse {
        do {
            return try await clients.get(target, fields, within: .seconds(60))
        } catch {
            throw fault(error, at: target.host)
        }
    }

    // MARK: Being let in

    /// What to send to pass one of `challenges`.
    private func authorize(_ challenges: [Challenge]) async throws(Fault) -> Secret {
        if let bearer = challenges.first(where: { $0.scheme == "bearer" }) {
            return try await token(bearer)
        }
        guard challenges.contains(where: { $0.scheme == "basic" }) else {
            throw denied("wants a kind of authentication that is neither Basic nor Bearer")
        }
        guard let credential else { throw denied("wants a login") }
        return credential.basic
    }

    /// Fetches a token (distribution, spec/auth/token.md).
    private func token(_ challenge: Challenge) async throws(Fault) -> Secret {
        guard let realm = challenge.parameters["realm"], let server = Target(realm),
            server.isPrivate || server.isSameServer(as: base)
        else { throw invalid("it names no token server that is reached by https") }
        guard var parts = URLComponents(string: server.text) else {
            throw invalid("its token server has a malformed address")
        }
        var items = parts.queryItems ?? []
        if let service = challenge.parameters["service"] {
            items.append(URLQueryItem(name: "service", value: service))
        }
        if !repository.isEmpty {
            items.append(URLQueryItem(name: "scope", value: "repository:\(repository):pull"))
        }
        parts.queryItems = items
        guard let target = parts.string.flatMap({ Target($0) }) else {
            throw invalid("its token server has a malformed address")
        }
        let fields = credential.map { [("Authorization", $0.basic.reveal())] } ?? []
        let response = try await send(target, fields)
        guard response.status == .ok else { throw await refusal(response) }
        let bytes = try await body(response, limit: RegistryLimits.answer)
        let answer = try? JSONDecoder().decode(TokenAnswer.self, from: Data(bytes))
        guard let text = answer?.token ?? answer?.accessToken, !text.isEmpty,
            text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else { throw invalid("its token server answers without a token") }
        return Secret("Bearer \(text)")
    }

    private struct TokenAnswer: Decodable {
        var token: String?
        var accessToken: String?

        enum CodingKeys: String, CodingKey {
            case token
            case accessToken = "access_token"
        }
    }

    // MARK: Bodies and faults

    /// The whole body.
    ///
    /// - Throws: ``Reason/limitExceeded`` past `limit` bytes, and as ``get(_:_:)`` does.
    func body(_ response: HTTPClientResponse, limit: Int) async throws(Fault) -> [UInt8] {
        let deadline = ContinuousClock.now + .seconds(120)
        var bytes: [UInt8] = []
        do {
            for try await part in response.body {
                bytes += part.readableBytesView
                if bytes.count > limit || ContinuousClock.now > deadline { break }
            }
        } catch {
            throw fault(error, at: registry)
        }
        guard bytes.count <= limit else {
            throw Fault(
                .limitExceeded,
                "\(subject): the registry sends more than \(limit) bytes where a document was asked for"
            )
        }
        guard ContinuousClock.now <= deadline else { throw unreachable("it takes over 120 s") }
        return bytes
    }

    /// The fault for an error of the connection.
    func fault(_ error: any Error, at host: String) -> Fault {
        if let fault = error as? Fault { return fault }
        if error is CancellationError || Task.isCancelled { return cancelled() }
        let text = (error as? HTTPClientError)?.shortDescription ?? "\(error)"
        return unreachable("\(host == registry ? "" : "at \(shown(host)) ")\(shown(text))")
    }

    /// The fault for a registry that cannot be talked to.
    func unreachable(_ why: String) -> Fault {
        Fault(
            .registryUnreachable,
            "\(subject): cannot reach \(registry): \(why)",
            metadata: metadata
        )
    }

    /// The fault for a registry that breaks its protocol.
    func invalid(_ why: String) -> Fault {
        Fault(
            .registryInvalid,
            "\(subject): \(registry) breaks the protocol: \(why)",
            metadata: metadata
        )
    }

    private func denied(_ why: String) -> Fault {
        Fault(.registryDenied, "\(subject): \(registry) \(why)", metadata: metadata)
    }

    /// The fault for a caller that went away.
    func cancelled() -> Fault { Fault(.opCancelled, "\(subject): cancelled") }

    private var metadata: [String: String] { ["registry": registry, "image": subject] }

    private func refusal(_ response: HTTPClientResponse) async -> Fault {
        let status = Int(response.status.code)
        let words = await words(of: response)
        switch status {
        case 401:
            guard let credential else { return denied("wants a login\(words)") }
            return denied("refuses user '\(shown(credential.user))' or the password\(words)")
        case 403: return denied("refuses access\(words)")
        case 404:
            return Fault(
                .imageNotFound,
                "no '\(subject)' in its registry\(words)",
                metadata: metadata
            )
        case 408, 429, 500...599:
            return Fault(
                .registryUnreachable,
                "\(subject): \(registry) answers \(status)\(words)",
                metadata: metadata
            )
        default: return invalid("it answers \(status)\(words)")
        }
    }

    /// The first of a registry's own words about an error, with brackets around.
    private func words(of response: HTTPClientResponse) async -> String {
        struct Answer: Decodable {
            struct Problem: Decodable {
                var code: String?
                var message: String?
            }
            var errors: [Problem]?
            var details: String?
        }
        // A refusal without readable words is a refusal all the same.
        guard let bytes = try? await body(response, limit: RegistryLimits.answer),
            let answer = try? JSONDecoder().decode(Answer.self, from: Data(bytes)),
            let text = answer.errors?.first?.message ?? answer.details, !text.isEmpty
        else { return "" }
        return " (\(shown(text)))"
    }
}
