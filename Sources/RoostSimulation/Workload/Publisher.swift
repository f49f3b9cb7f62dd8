import RoostControl
import RoostModel
import RoostOperations

/// A client that publishes a fleet, ever anew. Runs in a process that never dies.
struct Publisher: Sendable {
    let world: World
    /// Which fleet.
    let fleet: String
    let chance: SharedChance
    /// What VMs of fleets can be called: other clients are at them too.
    static let members = ["web-1", "web-2", "web-3", "job"]

    /// Those of a run. Of two, the second publishes the same fleet, or another one that wants VMs of
    /// the same names.
    static func all(of world: World) -> [Publisher] {
        guard world.keepsFleets else { return [] }
        var chance = Chance(seed: world.seed, "publishers")
        let fleets = ["shop"] + chance.pick([[], [], ["shop"], ["mill"]])
        return fleets.enumerated().map { number, fleet in
            Publisher(
                world: world,
                fleet: fleet,
                chance: SharedChance(Chance(seed: world.seed, "publisher\(number)"))
            )
        }
    }

    /// Publishes `count` states, resting in between.
    func run(publications count: Int) async {
        var state = FleetState(name: fleet, groups: [newGroup("web", replicas: 2)])
        for number in 0..<count {
            try? await world.clock.sleep(for: chance.chance.duration(upTo: .seconds(12)))
            // What holds already may be published again.
            if number > 0, chance.chance.hits(9_000) { change(&state) }
            await publish(state, generation: 0)
            if chance.chance.hits(1_500) { await publishNumbered(&state) }
        }
    }

    /// With a number of the publisher's own: the next, a later one, or one that is older.
    private func publishNumbered(_ state: inout FleetState) async {
        let present = world.invariants.fleets["default/\(fleet)"]?.generation ?? 0
        let step = chance.chance.pick([-2, -1, 1, 1, 5])
        guard present + Int64(step) > 0 else { return }
        var numbered = state
        change(&numbered)
        await publish(numbered, generation: present + Int64(step))
        if step > 0 { state = numbered }
    }

    /// Sends it until there is an answer that settles it.
    private func publish(_ state: FleetState, generation: Int64) async {
        let surroundings = Surroundings(
            clock: world.clock,
            wall: world.controlWall,
            entropy: chance
        )
        let context = RequestContext(
            operation: surroundings.operationID(),
            principal: "uid:2000",
            method: "PublishState",
            digest: "\(fleet) \(state.text)"
        )
        let publication = DesiredStateService.Publication(
            state,
            document: state.text,
            hash: state.text.digits,
            generation: generation,
            context
        )
        let present = world.invariants.fleets["default/\(fleet)"]?.generation ?? 0
        world.scheduler.note("\(fleet) is to be \(state.text), generation \(generation)")
        let answer = await answer(publication)
        world.invariants.answered(publication, answer, present: present)
    }

    private func answer(
        _ publication: DesiredStateService.Publication
    ) async -> Result<Int64, Fault> {
        let gone = Fault(.daemonUnreachable, "the daemon does not answer")
        let world = world
        var wait = Duration.milliseconds(100)
        while true {
            do throws(Fault) {
                let server: @Sendable () -> Server<Controller>? = { world.control }
                return .success(
                    try await Network(world: world).call(server, mayDouble: false, gone: gone) {
                        (control: Controller) in
                        await attempt { () async throws(Fault) in
                            try await control.desired.publish(publication).row.generation
                        }
                    }
                )
            } catch {
                let isNoWord = [.ioFailed, .diskFull].contains(error.reason)
                guard error.code == .unavailable || isNoWord else { return .failure(error) }
            }
            try? await world.clock.sleep(for: wait)
            wait = min(wait * 2, .seconds(2))
        }
    }

    // MARK: What it wishes

    private func newGroup(_ name: String, replicas: Int?) -> FleetGroup {
        FleetGroup(
            name: name,
            replicas: replicas,
            draft: VMDraft(name: "", cores: 1, memoryMiB: 512)
        )
    }

    /// Something else than before: how many, in place, after a stop, by new VMs, or several at once.
    private func change(_ state: inout FleetState) {
        if state.groups.isEmpty || chance.chance.hits(700) {
            let hadJob = state.groups.contains { $0.name == "job" }
            state.groups = [newGroup("web", replicas: 1 + chance.chance.below(3))]
            if !hadJob { state.groups.append(newGroup("job", replicas: nil)) }
            return
        }
        if chance.chance.hits(300) {
            state.groups = []
            return
        }
        let index = chance.chance.below(state.groups.count)
        change(&state.groups[index])
        if chance.chance.hits(2_000) { change(&state.groups[index]) }
    }

    private func change(_ group: inout FleetGroup) {
        switch chance.chance.below(20) {
        case 0..<4 where group.replicas != nil:
            group.replicas = chance.chance.pick([0, 1, 2, 3, 3])
        case 4..<7: group.draft.labels = ["tier": "t\(chance.chance.below(3))"]
        case 7..<8:
            group.draft.restart = RestartPolicy(
                mode: chance.chance.pick([.never, .onFailure, .always]),
                maxRestarts: chance.chance.pick([0, 0, 2])
            )
        case 8..<11: group.draft.memoryMiB = chance.chance.pick([512, 768, 1_024])
        case 11..<13: group.draft.cores = chance.chance.pick([1, 2])
        case 13..<15:
            group.draft.memoryMiB = chance.chance.pick([512, 768, 1_024])
            group.draft.labels = ["tier": "t\(chance.chance.below(3))"]
        case 15..<16:
            let isOpen = !group.draft.ports.isEmpty
            group.draft.ports = isOpen ? [] : [PublishedPort(hostPort: 0, guestPort: 80)]
        case 16..<18: group.draft.image = group.draft.image.isEmpty ? "debian-12" : ""
        case 18..<19: group.draft.network = group.draft.network == .user ? .none : .user
        default: group.runs.toggle()
        }
    }
}

extension Client {
    /// Deletes a VM of a fleet and brings it back at once: it is the client's own from then on.
    func takeOut() async {
        let name = meddling.chance.pick(Publisher.members)
        var gone = PowerOptions(graceSeconds: 0)
        gone.force = true
        var wishes: [Wish] = [
            .power(.delete, name, gone),
            .undelete(name, newName: "own-\(1 + meddling.chance.below(3))"),
        ]
        if meddling.chance.hits(2_000) { wishes[1] = .undelete(name, newName: "") }
        for wish in wishes {
            let request = request(for: wish)
            world.scheduler.note("client\(number) \(request.operation.short): \(wish.line)")
            world.invariants.answered(request, await answer(wish, request), wish)
        }
        world.mark("client.took-out")
    }
}

extension FleetState {
    /// All of it that a publisher changes, in one word.
    fileprivate var text: String {
        groups.map { group in
            let draft = group.draft
            let labels = draft.labels.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" }
            return [
                group.name, group.replicas.map { "x\($0)" } ?? "one",
                group.runs ? "runs" : "rests", "\(draft.cores ?? 0)", "\(draft.memoryMiB ?? 0)",
                draft.image, draft.network.rawValue, draft.restart.mode.rawValue,
                "\(draft.restart.maxRestarts)", labels.joined(separator: ","),
                "\(draft.ports.count)",
            ].joined(separator: "/")
        }.joined(separator: ";")
    }
}

extension String {
    /// Sixteen digits that differ for texts that differ (FNV-1a).
    fileprivate var digits: String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }
}
