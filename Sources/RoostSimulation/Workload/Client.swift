import RoostControl
import RoostModel
import RoostOperations
import RoostStore

/// A client that wishes one thing after the other, and asks again with the same op id until it has
/// an answer. Runs in a process that never dies.
struct Client: Sendable {
    let world: World
    let number: Int
    let chance: SharedChance
    /// What is drawn for placement, apart, so that it moves nothing else.
    let tastes: SharedChance
    /// What is drawn for VMs of fleets, likewise.
    let meddling: SharedChance
    static let names = ["ant", "bee", "cat", "dog"]

    init(world: World, number: Int) {
        self.world = world
        self.number = number
        chance = SharedChance(Chance(seed: world.seed, "client\(number)"))
        tastes = SharedChance(Chance(seed: world.seed, "tastes\(number)"))
        meddling = SharedChance(Chance(seed: world.seed, "meddling\(number)"))
    }

    /// Wishes `count` things, resting in between.
    func run(wishes count: Int) async {
        var latest: RequestContext?
        var plan: [Intention] = []
        for _ in 0..<count {
            try? await world.clock.sleep(for: chance.chance.duration(upTo: .seconds(3)))
            if chance.chance.hits(700) {
                await loseOnesPatience(with: chance.chance.pick(Self.names))
                continue
            }
            if chance.chance.hits(300), let latest {
                await reuse(latest)
                continue
            }
            if tastes.chance.hits(600) { await speakOfANode() }
            if world.keepsFleets, meddling.chance.hits(1_500) {
                await takeOut()
                continue
            }
            if tastes.chance.hits(500) {
                await useTwins()
                continue
            }
            if plan.isEmpty, chance.chance.hits(3_500) { plan = newPlan() }
            let wish = plan.isEmpty ? nextWish() : wish(plan.removeFirst())
            let request = request(for: wish)
            latest = request
            world.scheduler.note("client\(number) \(request.operation.short): \(wish.line)")
            if chance.chance.hits(1_500) {
                world.mark("same op id sent twice at once")
                async let first = answer(wish, request)
                async let second = answer(wish, request)
                let (left, right) = await (first, second)
                world.invariants.answered(request, left, wish, isOneOfTwo: true)
                world.invariants.answered(request, right, wish, isOneOfTwo: true)
            } else {
                let answer = await answer(wish, request)
                world.invariants.answered(request, answer, wish)
            }
        }
    }

    /// Asks a VM to stop within an hour, and kills it a moment later: nobody waits for an hour.
    private func loseOnesPatience(with name: String) async {
        let stop = Wish.power(.stop, name, PowerOptions(graceSeconds: 3_600))
        var request = request(for: stop)
        request.answersWhenAccepted = true
        world.scheduler.note("client\(number) \(request.operation.short): \(stop.line), patiently")
        guard case .success(.vm(let outcome)) = await answer(stop, request) else { return }
        world.invariants.require(
            world.invariants.isRecorded(request.operation),
            "\(stop.line) was accepted, and no record says so"
        )
        repeat {
            let kill = Wish.power(.kill, outcome.vm.id.description, PowerOptions())
            let hurry = self.request(for: kill)
            world.scheduler.note("client\(number) \(hurry.operation.short): \(kill.line)")
            world.crashAboutNow(outcome.vm.status.node, within: .seconds(1))
            world.invariants.answered(hurry, await answer(kill, hurry), kill)
            try? await world.clock.sleep(for: .seconds(1))
        } while world.invariants.isRunning(request.operation)
        world.mark("client.lost-patience")
    }

    /// Makes two disposable VMs of one shape at the same time, and deletes them.
    private func useTwins() async {
        var draft = VMDraft(name: "")
        makeDisposable(&draft)
        draft.startOnCreate = true
        var options = PowerOptions(graceSeconds: 0)
        options.force = true
        let first = chance.chance.below(Self.names.count)
        let names = [Self.names[first], Self.names[(first + 1) % Self.names.count]]
        let creates = names.map { name in
            draft.name = name
            return Wish.create(draft)
        }
        let deletes = names.map { Wish.power(.delete, $0, options) }
        for wishes in [creates, deletes] {
            await withTaskGroup(of: Void.self) { group in
                for wish in wishes {
                    let request = request(for: wish)
                    world.scheduler.note("client\(number) \(request.operation.short): \(wish.line)")
                    group.addTask {
                        let answer = await answer(wish, request)
                        world.invariants.answered(request, answer, wish)
                    }
                }
            }
        }
        world.mark("client.twins")
    }

    /// Sends another request under the op id of an earlier one.
    private func reuse(_ latest: RequestContext) async {
        let wish = Wish.purge("nobody")
        var request = request(for: wish)
        request.operation = latest.operation
        let wasRecorded = world.invariants.isRecorded(latest.operation)
        let answer = await answer(wish, request, isSettledByRecord: false)
        world.invariants.answeredReused(request, answer, wasRecorded: wasRecorded)
        if wasRecorded { world.mark("client.op-id-reused") }
    }

    /// Sends the request until there is an answer that settles it.
    func answer(
        _ wish: Wish,
        _ request: RequestContext,
        isSettledByRecord: Bool = true
    ) async -> Result<Response, Fault> {
        let network = Network(world: world)
        let gone = Fault(.daemonUnreachable, "the daemon does not answer")
        let world = world
        var wait = Duration.milliseconds(100)
        while true {
            let answer: Result<Response, Fault>
            do throws(Fault) {
                answer = .success(
                    try await network.call({ world.control }, mayDouble: false, gone: gone) {
                        (control: Controller) in
                        await attempt { () async throws(Fault) in
                            try await Self.send(wish, request, to: control.vms)
                        }
                    }
                )
            } catch { answer = .failure(error) }
            guard case .failure(let fault) = answer else { return answer }
            // A recorded failure is an answer, whatever its code.
            if isSettledByRecord,
                world.invariants.recordedFault(of: request.operation) == fault
            {
                return answer
            }
            guard fault.code == .unavailable || fault.reason == .storeConflict else {
                return answer
            }
            try? await world.clock.sleep(for: wait)
            wait = min(wait * 2, .seconds(2))
        }
    }

    private static func send(
        _ wish: Wish,
        _ request: RequestContext,
        to vms: VMService
    ) async throws(Fault) -> Response {
        let project: ProjectView = "default"
        switch wish {
        case .create(let draft):
            return .vm(try await vms.create(draft, request))
        case .power(let verb, let name, let options):
            return .vm(
                try await vms.power(verb, name, project: project, options: options, request)
            )
        case .undelete(let name, let newName):
            return .vm(
                try await vms.undelete(name, project: project, newName: newName, etag: nil, request)
            )
        case .purge(let name):
            return .vm(try await vms.purge(name, project: project, etag: nil, request))
        case .update(let name, let update):
            return .vm(try await vms.update(name, project: project, update, request))
        case .fork(let name, let order):
            return .copies(try await vms.fork(name, project: project, order, request))
        case .checkpoint(let name, let message):
            return .checkpoint(
                try await vms.makeCheckpoint(
                    name,
                    project: project,
                    message: message,
                    etag: nil,
                    request
                )
            )
        case .goBack(let name, let checkpoint):
            return .vm(
                try await vms.revert(
                    name,
                    to: checkpoint,
                    project: project,
                    force: false,
                    etag: nil,
                    request
                )
            )
        case .dropTemplate(let name):
            return .vm(
                try await vms.deleteTemplate(name, project: project, etag: nil, request)
            )
        case .forget(let name, let checkpoint):
            return .vm(
                try await vms.deleteCheckpoint(
                    name,
                    checkpoint,
                    project: project,
                    etag: nil,
                    request
                )
            )
        }
    }

    func request(for wish: Wish) -> RequestContext {
        let surroundings = Surroundings(
            clock: world.clock,
            wall: world.controlWall,
            entropy: chance
        )
        return RequestContext(
            operation: surroundings.operationID(),
            principal: "uid:\(1000 + number)",
            method: wish.method,
            digest: wish.line
        )
    }

    private func nextWish() -> Wish {
        var name = chance.chance.pick(Self.names)
        if tastes.chance.hits(1_500) { return newCheckpointWish(name) }
        // The first copy of it.
        if tastes.chance.hits(700) { name += "-1" }
        if world.keepsFleets, meddling.chance.hits(2_500) {
            name = meddling.chance.pick(Publisher.members)
        }
        let grace = chance.chance.pick([0, 1, 5])
        var options = PowerOptions(graceSeconds: grace)
        switch chance.chance.below(100) {
        case 0..<28: return .create(newDraft(name))
        case 28..<43: return .power(.start, name, options)
        case 43..<47: return .power(.stop, name, options)
        case 47..<53: return .power(.suspend, name, options)
        case 53..<56:
            options.force = true
            return .power(.stop, name, options)
        case 56..<60: return .power(.kill, name, options)
        case 60..<64: return .power(.restart, name, options)
        case 64..<67: return .power(.reboot, name, options)
        case 67..<71: return .power(.pause, name, options)
        case 71..<75: return .power(.resume, name, options)
        case 75..<78: return .power(.delete, name, options)
        case 78..<85:
            options.force = true
            options.purge = chance.chance.hits(4_000)
            return .power(.delete, name, options)
        case 85..<90:
            return .undelete(name, newName: chance.chance.hits(3_000) ? "\(name)-again" : "")
        case 90..<94: return .purge(name)
        default: return .update(name, newUpdate(name))
        }
    }

    /// Several wishes about one VM, in an order that comes to something; others may be in the way.
    private func newPlan() -> [Intention] {
        let name = chance.chance.pick(Self.names)
        if tastes.chance.hits(4_000) { return newCheckpointPlan(name) }
        return newPowerPlan(name).map { .wish($0) }
    }

    private func newPowerPlan(_ name: String) -> [Wish] {
        var gone = PowerOptions(graceSeconds: 0)
        gone.force = true
        var draft = newDraft(name)
        draft.startOnCreate = true
        let create = Wish.create(draft)
        if chance.chance.hits(6_000) { makeDisposable(&draft) }
        let suspend = Wish.power(.suspend, name, PowerOptions())
        let start = Wish.power(.start, name, PowerOptions())
        let delete = Wish.power(.delete, name, gone)
        if draft.disposable {
            let use: [Wish] = chance.chance.pick([[], [], [suspend], [suspend, start]])
            return [.create(draft)] + use + [delete, .create(draft)]
        }
        let kill = Wish.power(.kill, name, PowerOptions())
        let undelete = Wish.undelete(name, newName: "")
        return [create, suspend]
            + chance.chance.pick([
                [start], [start], [start, suspend, start], [kill, start],
                [delete, undelete, start],
            ])
    }

    /// Few shapes, so that there are templates for them.
    private func makeDisposable(_ draft: inout VMDraft) {
        draft.disposable = true
        draft.cores = 1
        draft.memoryMiB = chance.chance.hits(7_000) ? 512 : 1_024
    }

    private func newDraft(_ name: String) -> VMDraft {
        var draft = VMDraft(
            name: name,
            cores: 1 + chance.chance.below(4),
            memoryMiB: 512 << chance.chance.below(3)
        )
        draft.startOnCreate = chance.chance.hits(5_000)
        if chance.chance.hits(2_500) {
            makeDisposable(&draft)
            draft.startOnCreate = chance.chance.hits(9_000)
        }
        draft.restart = newPolicy()
        addTastes(to: &draft)
        if tastes.chance.hits(700) {
            makeFromTemplate(&draft)
        }
        if chance.chance.hits(2_500) {
            draft.ports = [PublishedPort(hostPort: 8_080 + chance.chance.below(2), guestPort: 80)]
        }
        return draft
    }

    private func newPolicy() -> RestartPolicy {
        RestartPolicy(
            mode: chance.chance.pick([.never, .never, .onFailure, .always]),
            maxRestarts: chance.chance.pick([0, 1, 2, 5])
        )
    }

    private func newUpdate(_ name: String) -> VMUpdate {
        var draft = VMDraft(name: name)
        if chance.chance.hits(5_000) {
            draft.labels = ["tier": "t\(chance.chance.below(3))"]
            return VMUpdate(fields: [.labels], draft: draft, etag: nil)
        }
        if chance.chance.hits(3_000) {
            draft.restart = newPolicy()
            return VMUpdate(fields: [.restart], draft: draft, etag: nil)
        }
        draft.cores = 1 + chance.chance.below(4)
        return VMUpdate(fields: [.cpu], draft: draft, etag: nil)
    }
}
