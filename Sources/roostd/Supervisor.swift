import Dispatch
import GRPCCore
import Glibc
import Logging
import RoostAPI
import RoostConnect
import RoostLinkGRPC
import RoostModel
import RoostOperations

/// What serves one address until it is told to stop.
protocol Serving: Sendable {
    /// Serves until ``stopTaking()`` has let every call end.
    func serveCalls() async throws
    /// Takes no new calls.
    func stopTaking()
    /// Ends the calls that there are.
    func cutOff()
}

extension GRPCServer: Serving where Transport == IdentifiedTransport<ConnectTransport<Payload>> {
    func serveCalls() async throws { try await serve() }
    func stopTaking() { beginGracefulShutdown() }
    func cutOff() { transport.base.closeConnections() }
}

extension FleetServer: Serving {
    func serveCalls() async throws { try await serve() }
    func stopTaking() { stop() }
    /// Its connections have a grace time of their own.
    func cutOff() {}
}

/// Runs a daemon from its first job to its last: the same for every role.
struct Supervisor {
    let spawner: Spawner
    let stop: Signal
    let log: Logger

    /// A job that lasts as long as the daemon; what it answers ends it.
    typealias Job = @Sendable () async -> Fault?

    /// Runs `jobs`, then `recover`, then `servers`, until ``stop`` is set or a signal comes; then
    /// lets everything end.
    ///
    /// - Throws: the first fault of any of them.
    func run(
        jobs: [Job],
        recover: @escaping @Sendable () async throws(Fault) -> Void,
        servers: [any Serving],
        after: [Job]
    ) async throws(Fault) {
        let sources = signals()
        defer { for source in sources { source.cancel() } }
        let (spawner, stop, log) = (spawner, stop, log)
        let outcome: Fault? = await withTaskGroup(of: Fault?.self) { group in
            group.addTask {
                await spawner.run()
                return nil
            }
            for job in jobs { group.addTask { await job() } }
            do throws(Fault) {
                try await recover()
            } catch {
                group.cancelAll()
                return error
            }
            let served = Signal()
            group.addTask {
                defer { served.set() }
                return await serveAll(servers, until: stop)
            }
            for job in after { group.addTask { await job() } }
            await stop.wait()
            log.notice("ending")
            let timer = endLate(15, log)
            defer { timer.cancel() }
            await served.wait()
            spawner.finish()
            group.cancelAll()
            var first: Fault?
            for await result in group { first = first ?? result }
            return first
        }
        if let outcome { throw outcome }
    }

    private func signals() -> [any DispatchSourceSignal] {
        signal(SIGPIPE, SIG_IGN)
        let stop = stop
        return [SIGTERM, SIGINT].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(
                signal: number,
                queue: DispatchQueue(label: "roostd.signals")
            )
            source.setEventHandler { stop.set() }
            source.resume()
            return source
        }
    }
}

/// Serves until `stop`; whoever is being answered then has a moment left to hear the rest.
private func serveAll(_ servers: [any Serving], until stop: Signal) async -> Fault? {
    await withTaskGroup(of: (isServer: Bool, fault: Fault?).self) { group in
        for server in servers {
            group.addTask {
                do {
                    try await server.serveCalls()
                    return (true, nil)
                } catch {
                    stop.set()
                    let fault = error as? Fault
                    return (
                        true, fault ?? Fault(.socketInUse, "cannot serve: \(error)", cause: error)
                    )
                }
            }
        }
        group.addTask {
            await stop.wait()
            for server in servers { server.stopTaking() }
            try? await Task.sleep(for: .milliseconds(500))
            // Streams that would go on for ever are cut off; they can be attached to again.
            for server in servers { server.cutOff() }
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
