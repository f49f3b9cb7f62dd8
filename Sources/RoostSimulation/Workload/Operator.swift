import RoostControl
import RoostModel
import RoostOperations

/// Somebody who drains nodes and gives them back, as before a repair. Runs in a process that never
/// dies, and leaves no node drained.
struct Operator: Sendable {
    let world: World
    let chance: SharedChance

    /// The one of a run; `nil`: its nodes are left alone.
    static func any(of world: World) -> Operator? {
        var chance = Chance(seed: world.seed, "operator")
        guard chance.hits(3_000) else { return nil }
        return Operator(world: world, chance: SharedChance(chance))
    }

    func run() async {
        for _ in 0..<2 {
            await rest(upTo: .seconds(15))
            let node = chance.chance.pick(world.nodes)
            await drain(node)
            await rest(upTo: .seconds(10))
            // Not always in the middle: some drains of one node come after each other.
            if chance.chance.hits(7_000) { await giveBack(node) }
        }
        for node in world.nodes { await giveBack(node) }
        world.mark("operator.done")
    }

    private func rest(upTo limit: Duration) async {
        try? await world.clock.sleep(for: chance.chance.duration(upTo: limit))
    }

    private func drain(_ node: NodeHost) async {
        let order = DrainOrder(
            suspends: chance.chance.hits(4_000),
            graceSeconds: chance.chance.pick([0, 1, 10]),
            // The only one is drained too.
            force: true
        )
        var request = request("DrainNode", "\(node.name) suspends: \(order.suspends)")
        request.answersWhenAccepted = chance.chance.hits(3_000)
        let context = request
        let name = node.name
        async let starts: Void = startAll()
        let answer = await insist(context) { fleet async throws(Fault) in
            try await fleet.drain(name, order, context)
        }
        world.invariants.drained(node, context, answer)
        await starts
        if chance.chance.hits(3_000) {
            let again = await insist(context) { fleet async throws(Fault) in
                try await fleet.drain(name, order, context)
            }
            world.invariants.drainedAgain(context, answer, again)
        }
    }

    /// Somebody starts what there is just when a node is about to be drained.
    private func startAll() async {
        await withTaskGroup(of: Void.self) { group in
            for (index, name) in Client.names.enumerated() {
                let wish = Wish.power(.start, name, PowerOptions())
                let client = Client(world: world, number: 10 + index)
                var request = client.request(for: wish)
                request.operation = self.request("StartVM", name).operation
                let asked = request
                group.addTask {
                    world.invariants.answered(asked, await client.answer(wish, asked), wish)
                }
            }
        }
    }

    /// Until nothing of a drain lasts on `node`.
    private func giveBack(_ node: NodeHost) async {
        let name = node.name
        while true {
            let context = request("UncordonNode", name)
            let answer = await insist(context) { fleet async throws(Fault) in
                try await fleet.uncordon(name, context)
            }
            world.invariants.drained(node, context, answer)
            guard case .failure = answer else { return }
            await rest(upTo: .seconds(2))
        }
    }

    private func request(_ method: String, _ words: String) -> RequestContext {
        let surroundings = Surroundings(
            clock: world.clock,
            wall: world.controlWall,
            entropy: chance
        )
        let request = RequestContext(
            operation: surroundings.operationID(),
            principal: "uid:3000",
            method: method,
            digest: "\(method) \(words)"
        )
        world.scheduler.note("the operator \(request.operation.short): \(request.digest)")
        return request
    }

    /// Sends it until there is an answer that settles it.
    private func insist(
        _ request: RequestContext,
        _ work: @escaping @Sendable (FleetService) async throws(Fault) -> FleetService.DrainReport
    ) async -> Result<FleetService.DrainReport, Fault> {
        let gone = Fault(.daemonUnreachable, "the daemon does not answer")
        let world = world
        var wait = Duration.milliseconds(100)
        while true {
            let answer: Result<FleetService.DrainReport, Fault>
            do throws(Fault) {
                let server: @Sendable () -> Server<Controller>? = { world.control }
                answer = .success(
                    try await Network(world: world).call(server, mayDouble: false, gone: gone) {
                        (control: Controller) in
                        await attempt { () async throws(Fault) in try await work(control.fleet) }
                    }
                )
            } catch { answer = .failure(error) }
            guard case .failure(let fault) = answer,
                fault.code == .unavailable
                    || [.ioFailed, .diskFull, .storeConflict].contains(fault.reason)
            else { return answer }
            try? await world.clock.sleep(for: wait)
            wait = min(wait * 2, .seconds(2))
        }
    }
}
