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

/// What is served where: one server for each address.
extension World {
    /// One server for each address.
    func servers(
        _ settings: Settings,
        _ tcp: (host: String, port: Int)?,
        _ log: Logger
    ) async throws(Fault) -> [Server] {
        var servers: [Server] = []
        if let path = settings.socketPath {
            guard path.utf8.count < 104 else {
                throw Fault(
                    .socketPathTooLong,
                    "'\(shown(path))' has \(path.utf8.count) bytes"
                )
            }
            try makeDirectories(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]))
            try await refuseServed(path)
            servers.append(server(.unix(path: path), log))
        }
        if let tcp {
            log.warning(
                "--dev: serving \(tcp.host):\(tcp.port) WITHOUT AUTHENTICATION, with simulated VMs and a store in memory"
            )
            servers.append(server(.tcp(host: tcp.host, port: tcp.port), log))
        }
        if let text = settings.nodeListen {
            let address = try Settings.address(text, field: "--node-listen")
            guard settings.dev, Origins.isLoopback(address.host) else {
                throw Fault.invalid(
                    "--node-listen",
                    "without certificates it is served with --dev on loopback only"
                )
            }
            servers.append(nodeServer(.tcp(host: address.host, port: address.port), log))
        }
        return servers
    }

    /// A socket that somebody answers on is somebody's; one that nobody answers on is left over.
    private func refuseServed(_ path: String) async throws(Fault) {
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let name = path.split(separator: "/").last.map(String.init) ?? path
        do throws(Fault) {
            let stream = try await UnixSocket.connect(in: folder, name: name)
            await stream.close()
        } catch { return }
        throw Fault(.socketInUse, "somebody serves '\(shown(path))' already")
    }

    /// Everything, for users.
    private func server(_ address: ListenAddress, _ log: Logger) -> Server {
        serve(
            address,
            [
                "roost.compute.v1.VMService": VMServiceSkin(vms, guests),
                "roost.compute.v1.CheckpointService": CheckpointServiceSkin(vms),
                "roost.compute.v1.TemplateService": TemplateServiceSkin(vms),
                "roost.compute.v1.GuestService": GuestServiceSkin(guests, vms),
                "roost.image.v1.ImageService": ImageServiceSkin(catalogue, vms),
                "roost.fleet.v1.NodeService": NodeServiceSkin(fleet),
                "roost.fleet.v1.DesiredStateService": DesiredStateServiceSkin(desired),
                "roost.ops.v1.ExplainService": ExplainServiceSkin(fleet),
                "roost.ops.v1.OperationService": OperationServiceSkin(vms),
                "roost.ops.v1.DaemonService": DaemonServiceSkin(facts, doctor),
                Self.nodeService: nodeSkin,
            ],
            log
        )
    }

    /// The node alone, for a control plane.
    private func nodeServer(_ address: ListenAddress, _ log: Logger) -> Server {
        serve(address, [Self.nodeService: nodeSkin], log)
    }

    private static let nodeService = "roost.node.v1.NodeDaemonService"

    private var nodeSkin: NodeDaemonSkin {
        NodeDaemonSkin(link, facts, epoch: vms.epoch, hostname: hostName())
    }

    /// Serves `services`, by full name, with health and reflection of just those.
    private func serve(
        _ address: ListenAddress,
        _ services: [String: any RegistrableRPCService],
        _ log: Logger
    ) -> Server {
        var configuration = ConnectConfiguration(address: address)
        configuration.aliases = [
            "limiquantix.compute.v1.VMService": "roost.compute.v1.VMService"
        ]
        let pages = pages
        configuration.routes = { request in
            if let refusal = request.refusal { return refusal }
            return await pages.answer(request)
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
                OriginInterceptor(), PrincipalInterceptor(),
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
