internal import GRPCCore
internal import GRPCNIOTransportHTTP2
internal import Glibc
internal import RoostAPI
internal import RoostModel

/// A connection to a daemon, with a client for each of its services.
struct Daemon: Sendable {
    typealias Transport = HTTP2ClientTransport.Posix

    let vms: Roost_Compute_V1_VMService.Client<Transport>
    let checkpoints: Roost_Compute_V1_CheckpointService.Client<Transport>
    let templates: Roost_Compute_V1_TemplateService.Client<Transport>
    let guests: Roost_Compute_V1_GuestService.Client<Transport>
    let images: Roost_Image_V1_ImageService.Client<Transport>
    let operations: Roost_Ops_V1_OperationService.Client<Transport>
    let nodes: Roost_Fleet_V1_NodeService.Client<Transport>
    let states: Roost_Fleet_V1_DesiredStateService.Client<Transport>
    let tokens: Roost_Fleet_V1_JoinTokenService.Client<Transport>
    let access: Roost_Fleet_V1_AccessService.Client<Transport>
    let explanations: Roost_Ops_V1_ExplainService.Client<Transport>
    let usage: Roost_Ops_V1_UsageService.Client<Transport>
    let events: Roost_Ops_V1_EventService.Client<Transport>
    let audit: Roost_Ops_V1_AuditService.Client<Transport>
    let about: Roost_Ops_V1_DaemonService.Client<Transport>

    init(_ client: GRPCClient<Transport>) {
        vms = .init(wrapping: client)
        checkpoints = .init(wrapping: client)
        templates = .init(wrapping: client)
        guests = .init(wrapping: client)
        images = .init(wrapping: client)
        operations = .init(wrapping: client)
        nodes = .init(wrapping: client)
        states = .init(wrapping: client)
        tokens = .init(wrapping: client)
        access = .init(wrapping: client)
        explanations = .init(wrapping: client)
        usage = .init(wrapping: client)
        events = .init(wrapping: client)
        audit = .init(wrapping: client)
        about = .init(wrapping: client)
    }

    /// Connects to what listens at `place`, for as long as `body` runs.
    static func connected<Result: Sendable>(
        to place: DaemonPlace,
        _ body: (Daemon) async throws -> Result
    ) async throws -> Result {
        try await connected(to: .unix(path: place.socket), body)
    }

    /// Connects to what listens at `endpoint`, for as long as `body` runs.
    static func connected<Result: Sendable>(
        to endpoint: Endpoint,
        _ body: (Daemon) async throws -> Result
    ) async throws -> Result {
        let target: any ResolvableTarget
        switch endpoint {
        case .unix(let path): target = .unixDomainSocket(path: path, authority: "roost")
        case .loopback(let address, let port):
            target =
                address.contains(":")
                ? .ipv6(address: address, port: port) : .ipv4(address: address, port: port)
        case .fleet(let host, let port, let token):
            let door = try FleetDoor(endpoint, host: host, port: port, token)
            return try await door.connected(body)
        }
        let transport = try Transport(
            target: target,
            transportSecurity: .plaintext,
            config: config
        )
        let client = GRPCClient(transport: transport)
        return try await client.whileConnected { try await body(Daemon(client)) }
    }

    /// How the transport behaves, wherever it leads.
    static var config: Transport.Config {
        .defaults { config in
            // What has answered a moment ago answers at once or not at all.
            config.backoff = .init(
                initial: .milliseconds(50),
                max: .milliseconds(500),
                multiplier: 1.6,
                jitter: 0.2
            )
            config.http2.targetWindowSize = 1 << 20
        }
    }
}

extension RoostCommand {
    /// The daemon of this command.
    func target(_ invocation: Invocation) throws(Fault) -> DaemonTarget {
        try connection.flags.target(invocation.environment)
    }

    /// Connects to this command's daemon. This host's own is started if it does not answer, and
    /// replaced when it is older and idle; a context's is neither.
    func withDaemon<Result: Sendable>(
        _ invocation: Invocation,
        _ body: (Daemon) async throws -> Result
    ) async throws -> Result {
        let target = try target(invocation)
        switch target {
        case .local(let place): return try await withOwnDaemon(place, invocation, body)
        case .context(_, let endpoint):
            guard endpoint.answers() else { throw target.unreachable() }
            return try await Daemon.connected(to: endpoint, body)
        }
    }

    private func withOwnDaemon<Result: Sendable>(
        _ place: DaemonPlace,
        _ invocation: Invocation,
        _ body: (Daemon) async throws -> Result
    ) async throws -> Result {
        let process = DaemonProcess(place: place, invocation: invocation)
        let isNew = try await process.ensureRunning()
        if isNew { invocation.remark("started roostd (log: \(process.place.log))") }
        let outcome = try await Daemon.connected(to: process.place) { daemon -> Result? in
            if !isNew {
                let skew = try await VersionSkew.check(daemon)
                if skew.mustRestart {
                    try await skew.endDaemon(daemon)
                    return nil
                }
                if let note = skew.note { invocation.talk(note) }
            }
            return try await body(daemon)
        }
        if let outcome { return outcome }
        let deadline = ContinuousClock.now + DaemonProcess.patience
        while process.answers(), ContinuousClock.now < deadline {
            try await Task.sleep(for: .milliseconds(20))
        }
        _ = try await process.ensureRunning()
        invocation.remark("restarted roostd, which was another version")
        return try await Daemon.connected(to: process.place, body)
    }

    /// As typed, or empty for the default.
    var project: String { connection.project ?? "" }
}

/// The working directory of this process.
func workingDirectory() -> String {
    guard let path = getcwd(nil, 0) else { return "/" }
    defer { free(path) }
    return String(cString: path)
}

/// The metadata that makes `operation` the id of a call.
func metadata(_ operation: OpTicket) -> Metadata {
    [opIDKey: .string(operation.description)]
}

extension CallOptions {
    /// The defaults, with a time limit if there is one.
    static func limited(to timeout: Duration?) -> CallOptions {
        var options = CallOptions.defaults
        options.timeout = timeout
        return options
    }
}
