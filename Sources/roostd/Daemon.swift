import Dispatch
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
        HostFacts.returnLargeBlocks()
        let driverName = try settings.driverName()
        // Before anything listens: what tells that a command started us is gone afterwards.
        let idleSeconds = try settings.idleSeconds()
        let tcp = try settings.tcp()
        try refuseReachable(driverName, tcp)
        let lock = try await prepareStateDirectory()
        defer { lock?.release() }
        let surroundings = Surroundings(
            clock: ContinuousClock(),
            wall: SystemWallClock(),
            entropy: EntropySource()
        )
        let nodeCount = try settings.nodeCount(driverName)
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
                "needs tokens without --dev, which this build does not have; use the Unix socket"
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

    private func prepareStateDirectory() async throws(Fault) -> DirectoryLock? {
        guard let path = settings.stateDirectory else { return nil }
        try makeDirectories(path)
        return try await DirectoryLock.taken(path)
    }

    private func serve(
        _ world: World,
        _ stores: Stores,
        _ tcp: (host: String, port: Int)?,
        _ idleSeconds: Int
    ) async throws(Fault) {
        let stop = world.stop
        let sources = [SIGTERM, SIGINT].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(
                signal: number,
                queue: DispatchQueue(label: "roostd.signals")
            )
            source.setEventHandler { stop.set() }
            source.resume()
            return source
        }
        defer { for source in sources { source.cancel() } }
        signal(SIGPIPE, SIG_IGN)
        let servers = try await world.servers(settings, tcp, log)
        let outcome: Fault? = await withTaskGroup(of: Fault?.self) { group in
            group.addTask {
                await world.spawner.run()
                return nil
            }
            group.addTask { await stores.keep(world.surroundings.clock, log) { stop.set() } }
            do throws(Fault) {
                try await world.recover()
            } catch {
                group.cancelAll()
                return error
            }
            let served = Signal()
            group.addTask {
                defer { served.set() }
                return await serveAll(servers, until: stop)
            }
            group.addTask {
                await world.watchIdleness(idleSeconds, stop)
                return nil
            }
            await stop.wait()
            log.notice("ending")
            let timer = endLate(15, log)
            defer { timer.cancel() }
            await served.wait()
            world.spawner.finish()
            group.cancelAll()
            var first: Fault?
            for await result in group { first = first ?? result }
            return first
        }
        if let path = settings.socketPath { unlink(path) }
        if let outcome { throw outcome }
    }
}

/// Serves until `stop`; whoever is being answered then has a moment left to hear the rest.
private func serveAll(_ servers: [Server], until stop: Signal) async -> Fault? {
    await withTaskGroup(of: (isServer: Bool, fault: Fault?).self) { group in
        for server in servers {
            group.addTask {
                do {
                    try await server.serve()
                    return (true, nil)
                } catch {
                    stop.set()
                    return (true, Fault(.socketInUse, "cannot serve: \(error)", cause: error))
                }
            }
        }
        group.addTask {
            await stop.wait()
            for server in servers { server.beginGracefulShutdown() }
            try? await Task.sleep(for: .milliseconds(500))
            // Streams that would go on for ever are cut off; they can be attached to again.
            for server in servers { server.transport.base.closeConnections() }
            return (false, nil)
        }
        var first: Fault?
        var serving = servers.count
        for await end in group {
            first = first ?? end.fault
            if end.isServer { serving -= 1 }
            // Only the moment is left to wait for. Servers are never cancelled: see Connections.
            if serving == 0 { group.cancelAll() }
        }
        return first
    }
}

/// Ends the process after `seconds`: what is cut off goes on at the next start, as after a crash.
private func endLate(_ seconds: Int, _ log: Logger) -> any DispatchSourceTimer {
    // A queue of its own: what keeps the end waiting may hold every thread of the pool.
    let timer = DispatchSource.makeTimerSource(queue: DispatchQueue(label: "roostd.end"))
    timer.schedule(deadline: .now() + .seconds(seconds))
    timer.setEventHandler {
        log.error("work did not end in \(seconds) s; it goes on at the next start")
        _exit(1)
    }
    timer.resume()
    return timer
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
