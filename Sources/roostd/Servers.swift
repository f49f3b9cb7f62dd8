import GRPCCore
import Glibc
import Logging
import RoostAPI
import RoostConnect
import RoostControl
import RoostLinux
import RoostModel
import RoostOperations
import RoostServices
import RoostTrust

/// What is served where: one server for each address.
extension World {
    /// One server for each address.
    func servers(
        _ settings: Settings,
        _ tcp: (host: String, port: Int)?,
        _ log: Logger
    ) async throws(Fault) -> [any Serving] {
        var servers: [any Serving] = []
        let fleetAddress = membership == nil ? "" : try settings.fleetAddress()
        let users = try everything(settings, fleetAddress)
        if let path = settings.socketPath {
            try await prepareSocket(path)
            servers.append(
                listener.serve(.unix(path: path), users, .local, log)
            )
        }
        if let membership, let authority {
            let listen = try settings.fleetListen()
            servers.append(
                try fleetServer(membership, authority, listen, surroundings, log, stop)
            )
        }
        if let tcp {
            log.warning(
                "--dev: serving \(tcp.host):\(tcp.port) WITHOUT AUTHENTICATION, with simulated VMs and a store in memory"
            )
            let address = ListenAddress.tcp(host: tcp.host, port: tcp.port)
            servers.append(listener.serve(address, users, .open, log))
        }
        if let authority, let api = try settings.usersListen() {
            let entrance = try Entrance(
                AccessTokens(vms),
                authority,
                settings,
                at: surroundings.wall.now(),
                log
            )
            let address = ListenAddress.tcp(host: api.host, port: api.port)
            servers.append(listener.serve(address, users, entrance, log))
        }
        if let text = settings.nodeListen {
            let address = try Settings.address(text, field: "--node-listen")
            guard settings.dev, Origins.isLoopback(address.host) else {
                throw Fault.invalid(
                    "--node-listen",
                    "without certificates it is served with --dev on loopback only"
                )
            }
            let own = services(of: sites)
            servers.append(
                listener.serve(.tcp(host: address.host, port: address.port), own, .open, log)
            )
        }
        return servers
    }

    private var listener: Listener {
        let pages = pages
        return Listener(surroundings: surroundings, stop: stop, meter: meter, trail: vms) {
            request in
            await pages.answer(request)
        }
    }

    /// Everything, for users.
    private func everything(
        _ settings: Settings,
        _ fleetAddress: String
    ) throws(Fault) -> [String: any RegistrableRPCService] {
        var all: [String: any RegistrableRPCService] = [
            "roost.compute.v1.VMService": VMServiceSkin(vms, guests),
            "roost.compute.v1.CheckpointService": CheckpointServiceSkin(vms),
            "roost.compute.v1.TemplateService": TemplateServiceSkin(vms),
            "roost.compute.v1.GuestService": GuestServiceSkin(guests, vms),
            "roost.image.v1.ImageService": ImageServiceSkin(catalogue, vms),
            "roost.fleet.v1.NodeService": NodeServiceSkin(fleet),
            "roost.fleet.v1.DesiredStateService": DesiredStateServiceSkin(desired),
            "roost.ops.v1.ExplainService": ExplainServiceSkin(fleet),
            "roost.ops.v1.UsageService": UsageServiceSkin(fleet),
            "roost.ops.v1.EventService": EventServiceSkin(vms),
            "roost.ops.v1.AuditService": AuditServiceSkin(vms),
            "roost.ops.v1.OperationService": OperationServiceSkin(fleet, vms),
            "roost.ops.v1.DaemonService": DaemonServiceSkin(facts, doctor),
        ]
        all.merge(services(of: sites)) { $1 }
        if let membership, let authority {
            all["roost.fleet.v1.AccessService"] = AccessServiceSkin(
                AccessTokens(vms),
                authority,
                address: try settings.apiAddress()
            )
            all["roost.fleet.v1.JoinTokenService"] = JoinTokenSkin(
                membership,
                authority,
                address: fleetAddress
            )
        }
        return all
    }

    /// The node's own, for a control plane; none without a node.
    private func services(of sites: [NodeSite]) -> [String: any RegistrableRPCService] {
        guard let link = sites.first?.link else { return [:] }
        let epoch = vms.epoch
        return [nodeService: NodeDaemonSkin(link, facts, epoch: { epoch }, hostname: hostName())]
    }
}

/// The full name of the node's own service.
let nodeService = "roost.node.v1.NodeDaemonService"

/// Makes the socket's directory, and makes sure that nobody serves the socket.
///
/// A socket that somebody answers on is somebody's; one that nobody answers on is left over.
func prepareSocket(_ path: String) async throws(Fault) {
    guard path.utf8.count < 104 else {
        throw Fault(.socketPathTooLong, "'\(shown(path))' has \(path.utf8.count) bytes")
    }
    let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    try makeDirectories(folder == "." ? "" : folder)
    let name = path.split(separator: "/").last.map(String.init) ?? path
    do throws(Fault) {
        let stream = try await UnixSocket.connect(in: folder, name: name)
        await stream.close()
    } catch { return }
    throw Fault(.socketInUse, "somebody serves '\(shown(path))' already")
}

/// What every listener for people and their programs has in common.
struct Listener {
    let surroundings: Surroundings
    let stop: Signal
    let meter: CallMeter
    /// Where it is written down who did what; `nil` where there is no control plane.
    let trail: VMService?
    /// Plain pages beside the calls.
    let pages: @Sendable (WebRequest) async -> WebResponse?

    /// Serves `services`, by full name, with health and reflection of just those, to whom `entrance`
    /// lets in.
    func serve(
        _ address: ListenAddress,
        _ services: [String: any RegistrableRPCService],
        _ entrance: Entrance,
        _ log: Logger
    ) -> Server {
        var configuration = ConnectConfiguration(address: address)
        configuration.tls = entrance.tls
        configuration.aliases = [
            "limiquantix.compute.v1.VMService": "roost.compute.v1.VMService"
        ]
        let pages = pages
        configuration.routes = { request in
            if let refusal = request.refusal(by: entrance.origins) { return refusal }
            if let refusal = await request.refusal(at: entrance.door) { return refusal }
            return await pages(request)
        }
        configuration.logger = log
        configuration.onListening = { bound in
            log.notice("serving", metadata: ["address": "\(bound)"])
            Ready.say()
        }
        let (surroundings, stop) = (surroundings, stop)
        let transport = IdentifiedTransport(ConnectTransport<Payload>(configuration)) {
            surroundings.operationID()
        }
        let names = services.keys.sorted()
        let all =
            names + [
                "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                "grpc.reflection.v1alpha.ServerReflection",
            ]
        let standard: [any RegistrableRPCService] = [
            HealthService(services: names), ReflectionService(services: all),
            ReflectionServiceAlpha(services: all),
        ]
        return GRPCServer(
            transport: transport,
            services: services.sorted { $0.key < $1.key }.map(\.value) + standard,
            interceptors: [
                CallInterceptor(), meter, CallLog(log: log),
                CancellationInterceptor { stop.isSet },
                OriginInterceptor(own: entrance.origins), Gate(entrance.door, trail: trail),
            ]
        )
    }
}

/// What the transport carries is what the generated code's serializers know.
extension Payload: WirePayload {}

/// What serves one address.
typealias Server = GRPCServer<IdentifiedTransport<ConnectTransport<Payload>>>

/// As gethostname(2) says it.
func hostName() -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Says to whoever started this daemon that it serves.
private enum Ready {
    static func say() {
        guard let text = Settings.environment("ROOST_READY_FD"), let number = Int32(text) else {
            return
        }
        unsetenv("ROOST_READY_FD")
        var byte: UInt8 = 1
        _ = write(number, &byte, 1)
        close(number)
    }
}
