import GRPCCore
import Glibc
import Logging
import RoostAPI
import RoostConnect
import RoostDriver
import RoostHost
import RoostLink
import RoostLinkGRPC
import RoostModel
import RoostNode
import RoostOperations
import RoostServices
import RoostTrust

/// A node that has joined: serves its control plane and its own user, and says that it lives.
struct RunningNode {
    let settings: Settings
    let site: NodeSite
    let fence: FencedLink
    let host: Host
    let spawner: Spawner
    let surroundings: Surroundings
    let directory: String
    let log: Logger
    private let stop = Signal()
    private let meter = CallMeter()

    init(
        settings: Settings,
        site: NodeSite,
        fence: FencedLink,
        host: Host,
        spawner: Spawner,
        surroundings: Surroundings,
        directory: String,
        log: Logger
    ) {
        self.settings = settings
        self.site = site
        self.fence = fence
        self.host = host
        self.spawner = spawner
        self.surroundings = surroundings
        self.directory = directory
        self.log = log
    }

    /// Serves until it is told to end.
    func serve(
        _ listen: (host: String, port: Int),
        _ control: DaemonPool.Address,
        _ credentials: FleetCredentials,
        _ files: TrustFiles
    ) async throws(Fault) {
        let facts = facts(control)
        let server = try FleetServer(
            host: listen.host,
            port: listen.port,
            credentials: credentials,
            admitsStrangers: false,
            services: fleetServices(facts),
            interceptors: [
                meter, CallLog(log: log), CancellationInterceptor { [stop] in stop.isSet },
            ],
            operationID: { [surroundings] in surroundings.operationID() }
        )
        var servers: [any Serving] = [server]
        if let path = settings.socketPath {
            try await prepareSocket(path)
            servers.append(localServer(path, facts))
        }
        let beating = Beating(
            node: site.link.node,
            name: settings.name ?? hostName(),
            advertise: settings.advertise,
            capacity: site.capacity,
            policy: site.policy,
            driver: host.driver?.name ?? "",
            vms: site.vms,
            fence: fence,
            control: control,
            surroundings: surroundings,
            log: log
        )
        let (site, spawner, clock) = (site, spawner, surroundings.clock)
        try await Supervisor(spawner: spawner, stop: stop, log: log).run(
            jobs: [],
            recover: { () throws(Fault) in
                try await site.vms.recover()
                spawner.spawn { await followTime(of: clock) { await site.sessions.stepClocks() } }
                spawner.spawn {
                    while !Task.isCancelled {
                        await site.vms.keepHouse()
                        try? await clock.sleep(for: .seconds(3600))
                    }
                }
            },
            servers: servers,
            after: [{ await beating.run(server, credentials, files) }]
        )
        if let path = settings.socketPath { unlink(path) }
    }

    private func facts(_ control: DaemonPool.Address) -> Facts {
        Facts(
            driver: host.driver?.name ?? "",
            sockets: settings.socketPath.map { [$0] } ?? [],
            stateDirectory: directory,
            store: "control plane \(control)",
            nodeID: site.link.node.description,
            role: "node",
            startedAt: ContinuousClock.now,
            hypervisor: host.driver,
            vms: nil,
            meter: meter,
            stop: stop
        )
    }

    /// What the control plane may call.
    private func fleetServices(_ facts: Facts) -> [any RegistrableRPCService] {
        let names = [nodeService, "roost.node.v1.NodeLinkService"]
        let all =
            names + [
                "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                "grpc.reflection.v1alpha.ServerReflection",
            ]
        let fence = fence
        return [
            NodeLinkSkin(fence),
            NodeDaemonSkin(
                fence,
                facts,
                epoch: { fence.epoch },
                hostname: hostName(),
                admit: { try FleetPeer.requireControl() }
            ),
            HealthService(services: names), ReflectionService(services: all),
            ReflectionServiceAlpha(services: all),
        ]
    }

    /// What this host's user may call: images, the doctor, the daemon itself. VMs are the control
    /// plane's.
    private func localServer(_ path: String, _ facts: Facts) -> any Serving {
        let doctor = Doctor(
            driver: host.driver,
            qemu: host.qemu,
            files: host.files,
            catalogue: host.catalogue,
            stateDirectory: directory,
            memoryDirectory: host.memoryDirectory,
            store: { [directory] in
                Finding("store", "Where rows are kept", .pass, "SQLite, \(directory)/node.db")
            }
        )
        let listener = Listener(
            surroundings: surroundings,
            stop: stop,
            meter: meter,
            trail: nil
        ) { request in
            request.path == "/healthz" ? WebResponse(text: "ok\n") : nil
        }
        let vms = site.vms
        let images = ImageServiceSkin(host.catalogue) { () async throws(Fault) in
            try await vms.specs()
        }
        return listener.serve(
            .unix(path: path),
            [
                "roost.image.v1.ImageService": images,
                "roost.ops.v1.DaemonService": DaemonServiceSkin(facts, doctor),
            ],
            .local,
            log
        )
    }
}

/// Registers, and says at the interval that it was told that the node lives.
struct Beating {
    let node: NodeID
    let name: String
    let advertise: String?
    let capacity: NodeCapacity
    let policy: OvercommitPolicy
    let driver: String
    let vms: NodeVMs
    let fence: FencedLink
    let control: DaemonPool.Address
    let surroundings: Surroundings
    let log: Logger

    /// Until cancelled.
    func run(
        _ server: FleetServer,
        _ credentials: FleetCredentials,
        _ files: TrustFiles
    ) async -> Fault? {
        let address: String
        do throws(Fault) {
            let bound = try await server.address()
            let host = bound.host.contains(":") ? "[\(bound.host)]" : bound.host
            address = advertise ?? "\(host):\(bound.port)"
            log.notice("serving the control plane", metadata: ["address": "\(host):\(bound.port)"])
        } catch { return error }
        var credentials = credentials
        var pause = BackOff()
        var isSilent = false
        while !Task.isCancelled {
            do {
                credentials = try await ControlLine.connected(
                    to: control,
                    credentials,
                    expecting: .member(.control)
                ) { [credentials] line in
                    try await beat(line, address, credentials, files) {
                        isSilent = false
                        pause.reset()
                    }
                }
            } catch {
                if Task.isCancelled { break }
                let fault = error as? Fault ?? Fault(.bug, "\(error)", cause: error)
                if !isSilent {
                    log.warning(
                        "not heard by the control plane: \(fault.message)",
                        metadata: [
                            "reason": "\(fault.reason.rawValue)", "remedy": "\(fault.remedy)",
                        ]
                    )
                }
                isSilent = true
                await pause.wait(surroundings)
            }
        }
        return nil
    }

    /// Over one connection; returns with a new certificate when there is one.
    private func beat(
        _ line: ControlLine,
        _ address: String,
        _ credentials: FleetCredentials,
        _ files: TrustFiles,
        heard: () -> Void
    ) async throws -> FleetCredentials {
        // What the control plane was told last, as far as it has answered.
        var told = await holdings(or: NodeHoldings())
        var interval = try await register(line, address, told)
        heard()
        while !Task.isCancelled {
            // A third of its time is left to find a control plane that renews it.
            let late = surroundings.wall.now().adding(seconds: Authority.leafLifetime / 3)
            if credentials.leaf.end < late {
                let admission = try await line.renew()
                try files.keep(admission)
                log.notice("the certificate was renewed", metadata: ["node": "\(node)"])
                return FleetCredentials(
                    keys: credentials.keys,
                    leaf: admission.leaf,
                    trust: admission.trust
                )
            }
            let chance = Double(surroundings.entropy.next() % 1000) / 1000
            try await surroundings.clock.sleep(for: interval * (0.9 + chance / 10))
            let hash = try await fence.observe().stateHash
            let held = await holdings(or: told)
            let answer = try await line.beat(
                node,
                stateHash: hash,
                epoch: fence.epoch,
                holdings: held == told ? nil : held
            )
            told = held
            interval = answer.interval
            if answer.mustRegister { interval = try await register(line, address, told) }
            heard()
        }
        return credentials
    }

    /// What VMs begin from here; `known` when it cannot be read: a node lives all the same.
    private func holdings(or known: NodeHoldings) async -> NodeHoldings {
        do throws(Fault) {
            return try await vms.holdings()
        } catch {
            log.warning(
                "cannot look at what this node has: \(error.message)",
                metadata: ["reason": "\(error.reason.rawValue)", "remedy": "\(error.remedy)"]
            )
            return known
        }
    }

    private func register(
        _ line: ControlLine,
        _ address: String,
        _ holdings: NodeHoldings
    ) async throws(Fault) -> Duration {
        try await line.register(
            node,
            name: name,
            address: address,
            capacity: capacity,
            policy: policy,
            driver: driver,
            version: Facts.version,
            holdings: holdings
        )
    }
}
