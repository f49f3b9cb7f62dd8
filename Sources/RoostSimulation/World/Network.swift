import RoostModel
import RoostOperations

/// One incarnation of a process that serves requests, and who waits for its answers.
///
/// Unchecked, because the scheduler's one thread is all that touches it.
final class Server<Service: Sendable>: @unchecked Sendable {
    let process: SimulatedProcess
    let spawner: Spawner
    /// Set once it is ready for requests.
    var service: Service?
    private var nextTicket = 0
    private var pending: [Int: () -> Void] = [:]

    init(_ process: SimulatedProcess, _ spawner: Spawner) {
        self.process = process
        self.spawner = spawner
    }

    func expect(_ broken: @escaping () -> Void) -> Int {
        nextTicket += 1
        pending[nextTicket] = broken
        return nextTicket
    }

    func answered(_ ticket: Int) { pending[ticket] = nil }

    /// The connections of everybody who waits break.
    func breakConnections() {
        let all = pending.sorted { $0.key < $1.key }
        pending = [:]
        for (_, broken) in all { broken() }
    }
}

/// The first result that reaches a caller; later ones are nobody's.
private final class Reply<T: Sendable>: @unchecked Sendable {
    private var continuation: UnsafeContinuation<Result<T, Fault>, Never>?

    init(_ continuation: UnsafeContinuation<Result<T, Fault>, Never>) {
        self.continuation = continuation
    }

    func resolve(_ result: Result<T, Fault>) {
        let waiting = continuation
        continuation = nil
        waiting?.resume(returning: result)
    }
}

/// Carries requests between processes: late, twice, or not at all.
struct Network {
    let world: World

    /// Calls `work` in whatever process serves when the request arrives.
    ///
    /// `work` answers with a result and does not throw: a generic closure with a typed throw crashes
    /// in Swift 6.3.1 when another task calls it.
    /// A connection delivers a request once; `mayDouble` is for links that promise less.
    /// - Throws: what `work` answered, or `gone` when request or answer were lost.
    func call<Service: Sendable, T: Sendable>(
        _ server: @escaping @Sendable () -> Server<Service>?,
        to host: NodeHost? = nil,
        mayDouble: Bool = true,
        gone: Fault,
        _ work: @escaping @Sendable (Service) async -> Result<T, Fault>
    ) async throws(Fault) -> T {
        let world = world
        let result: Result<T, Fault> = await withUnsafeContinuation { continuation in
            let reply = Reply(continuation)
            let lose: @Sendable () -> Void = {
                world.scheduler.after(world.delay() + .milliseconds(20)) {
                    reply.resolve(.failure(gone))
                }
            }
            let deliver: @Sendable () -> Void = {
                guard host?.isDeaf != true, let live = server(), let service = live.service
                else {
                    lose()
                    return
                }
                Self.serve(live, service, reply, world, host, lose, work)
            }
            if world.fault(.lost, world.profile.lostMessages) {
                lose()
            } else {
                world.scheduler.after(world.delay() + tardiness(), deliver)
            }
            if mayDouble { double(deliver) }
        }
        return try result.get()
    }

    /// How much longer than others a message takes.
    private func tardiness() -> Duration {
        guard var details = world.strike(.tardy, world.profile.tardyMessages) else { return .zero }
        world.mark("world.message-tardy")
        return details.duration(upTo: .seconds(5))
    }

    /// Delivers a message once more: soon, or when everybody has forgotten it.
    private func double(_ deliver: @escaping @Sendable () -> Void) {
        if world.fault(.doubled, world.profile.doubledMessages) {
            world.mark("world.message-doubled")
            world.scheduler.after(world.delay() + world.delay(), deliver)
        }
        if var details = world.strike(.stale, world.profile.staleMessages) {
            world.mark("world.message-came-again-late")
            world.scheduler.after(.seconds(1) + details.duration(upTo: .seconds(40)), deliver)
        }
    }

    private static func serve<Service: Sendable, T: Sendable>(
        _ live: Server<Service>,
        _ service: Service,
        _ reply: Reply<T>,
        _ world: World,
        _ host: NodeHost?,
        _ lose: @escaping @Sendable () -> Void,
        _ work: @escaping @Sendable (Service) async -> Result<T, Fault>
    ) {
        let ticket = live.expect(lose)
        live.spawner.spawn {
            let result = await work(service)
            live.answered(ticket)
            if host?.isMute == true || world.fault(.lost, world.profile.lostMessages) {
                world.mark("world.answer-lost")
                lose()
            } else {
                world.scheduler.after(world.delay()) { reply.resolve(result) }
            }
        }
    }
}

/// The result of `work`, as a value.
func attempt<T>(_ work: () async throws(Fault) -> T) async -> Result<T, Fault> {
    do throws(Fault) {
        return .success(try await work())
    } catch {
        return .failure(error)
    }
}
