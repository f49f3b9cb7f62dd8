import GRPCCore
import Glibc
import Logging
import RoostAPI
import RoostConnect
import RoostControl
import RoostDriver
import RoostDriverQEMU
import RoostHost
import RoostImages
import RoostLink
import RoostLinkGRPC
import RoostLinux
import RoostModel
import RoostNode
import RoostOperations
import RoostServices
import RoostStore
import RoostStoreSQL

/// Where services meet adapters. Comes up in this order, and goes down in reverse:
///
/// ```text
///  lock ─▶ stores ─▶ driver, files, catalogue ─▶ node ─▶ control ─▶ recover ─▶ listen ─▶ ready
/// ```
/// Nothing is served before both sides have found everything again.
struct Daemon {
    private let settings: Settings
    private let log: Logger

    init(_ settings: Settings, _ log: Logger) {
        self.settings = settings
        self.log = log
    }

    /// Serves until a signal or a request ends it. Guests go on.
    func run() async throws(Fault) {
        HostFacts.boundHeap()
        let role = try settings.daemonRole()
        if role == .node { return try await NodeDaemon(settings, log).run() }
        let driverName = role == .control ? Host.noDriver : try settings.driverName()
        // Before anything listens: what tells that a command started us is gone afterwards.
        let idleSeconds = try settings.idleSeconds()
        let tcp = role == .control ? nil : try settings.tcp()
        try refuseReachable(driverName, tcp)
        let lock = try await prepareStateDirectory(settings)
        defer { lock?.release() }
        try settings.admitState(for: role)
        let surroundings = Surroundings(
            clock: ContinuousClock(),
            wall: SystemWallClock(),
            entropy: EntropySource()
        )
        let nodeCount = role == .control ? 0 : try settings.nodeCount(driverName)
        let stores = try await Stores(settings, nodes: nodeCount, surroundings)
        let host = try await Host(settings, driverName, surroundings)
        // Goes only when it is empty: then no guest is left that uses it.
        defer { if driverName == "qemu" { rmdir(host.memoryDirectory) } }
        let world = try await World(settings, stores, host, log)
        try await serve(world, stores, tcp, idleSeconds)
        try await stores.close()
        log.notice("ended; guests go on")
    }

    /// An open port that guests can reach through user-mode networking would give them the host.
    private func refuseReachable(_ driver: String, _ tcp: (host: String, port: Int)?) throws(Fault)
    {
        guard let tcp else { return }
        guard settings.dev else {
            throw .invalid(
                "--listen",
                "is not served without --dev; use the Unix socket, or --role control with --api-listen"
            )
        }
        guard tcp.host == "127.0.0.1" || tcp.host == "::1" || tcp.host == "localhost" else {
            throw .invalid("--listen", "--dev serves loopback only, not \(tcp.host)")
        }
        guard driver == "simulated" else {
            throw .invalid(
                "--driver",
                "guests of \(driver) would reach the open port on loopback; leave --dev out and use the socket"
            )
        }
    }

    private func serve(
        _ world: World,
        _ stores: Stores,
        _ tcp: (host: String, port: Int)?,
        _ idleSeconds: Int
    ) async throws(Fault) {
        let servers = try await world.servers(settings, tcp, log)
        let fleet = world.membership
        var after: [Supervisor.Job] = [
            {
                await world.watchIdleness(idleSeconds, world.stop)
                return nil
            }
        ]
        if let fleet {
            after.append {
                await fleet.watch()
                return nil
            }
        }
        let supervisor = Supervisor(spawner: world.spawner, stop: world.stop, log: log)
        do throws(Fault) {
            try await supervisor.run(
                jobs: [
                    { await stores.keep(world.surroundings.clock, log) { world.stop.set() } }
                ],
                recover: { () throws(Fault) in try await world.recover() },
                servers: servers,
                after: after
            )
        } catch {
            world.reach?.pool.close()
            throw error
        }
        world.reach?.pool.close()
        if let path = settings.socketPath { unlink(path) }
    }
}

/// Makes the state directory, if there is one, and holds it against every other daemon.
func prepareStateDirectory(_ settings: Settings) async throws(Fault) -> DirectoryLock? {
    guard let path = settings.stateDirectory else { return nil }
    try makeDirectories(path)
    return try await DirectoryLock.taken(path)
}

/// Makes `path` and what is missing above it, for this user only.
func makeDirectories(_ path: String) throws(Fault) {
    var made = ""
    for part in path.split(separator: "/") {
        made += "/\(part)"
        if mkdir(made, 0o700) == 0 || errno == EEXIST || errno == EISDIR { continue }
        throw Fault(.ioFailed, "cannot make \(made): \(String(cString: strerror(errno)))")
    }
}
