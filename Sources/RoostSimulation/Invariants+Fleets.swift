import RoostControl
import RoostModel
import RoostOperations
import RoostScheduler
import RoostStore

/// What must hold about fleets. Compares by itself: what the product's own plan overlooks is found.
extension Invariants {
    /// What a fleet's keeper has ordered, and the VM as it was before.
    struct KeepersOrder {
        var row: OperationRow
        /// `nil`: it came to be by the order.
        var vm: VM?
    }

    // MARK: After each commit

    /// The new operations in `batch` that fleets' keepers asked for. Call before it is taken in.
    func keepersOrders(in batch: Batch) -> [KeepersOrder] {
        batch.writes.compactMap { write in
            guard case .put(let row as OperationRow) = write, operations[row.id] == nil,
                row.principal.hasPrefix(Self.keeper)
            else { return nil }
            return KeepersOrder(row: row, vm: vms[row.vm])
        }
    }

    private static let keeper = "fleet:"

    /// A keeper acts on what was published, on its own fleet's VMs, and takes down one of a group at
    /// a time.
    func ordered(_ row: OperationRow, over before: VM?) {
        let fleet = String(row.principal.dropFirst(Self.keeper.count))
        let words = row.digest.split(separator: " ").map(String.init)
        guard words.count == 3, let state = publications[words[0]] else {
            return violated("\(row.vmName) was changed for a fleet that nobody published")
        }
        let (verb, name) = (words[1], words[2])
        require(
            (before ?? vms[row.vm])?.member?.fleet == fleet,
            "\(fleet) did '\(verb)' to \(row.vmName) \(row.vm.short), which is not of it"
        )
        world?.mark("fleet.\(verb)")
        guard ["restart", "replace"].contains(verb), row.intent.action.kind == .stop,
            row.state == .running, before?.status.state == .running,
            let group = state.groups.first(where: { $0.memberNames.contains(name) }), group.runs
        else { return }
        let key = FleetStateRow.key(state.project, fleet)
        let others = takenDown[key, default: []].intersection(group.memberNames)
            .subtracting([name])
        require(
            others.isEmpty,
            "\(fleet) took down \(name) for '\(verb)', and had taken down "
                + others.sorted().joined(separator: " ")
        )
        takenDown[key, default: []].insert(name)
    }

    /// After a commit of a VM's row: one that runs is missed no more.
    func cameUp(_ vm: VM) {
        guard let member = vm.member, vm.status.state == .running, vm.runningOp == nil else {
            return
        }
        takenDown[FleetStateRow.key(vm.project, member.fleet)]?.remove(vm.name)
    }

    func published(_ row: FleetStateRow) {
        let old = fleets.updateValue(row, forKey: row.key)
        require(
            row.generation > old?.generation ?? 0,
            "\(row.key) went from generation \(old?.generation ?? 0) to \(row.generation)"
        )
        publications[row.hash] = row.state
        generations[row.key, default: [:]][row.generation] = row.hash
        world?.mark("fleet.published")
        world?.scheduler.note("  \(row.key) is at generation \(row.generation): \(row.document)")
    }

    // MARK: What publishers were told

    /// `present` was the fleet's generation when the request was sent.
    func answered(
        _ publication: DesiredStateService.Publication,
        _ answer: Result<Int64, Fault>,
        present: Int64
    ) {
        let key = FleetStateRow.key(publication.state.project, publication.state.name)
        let wanted = publication.generation
        switch answer {
        case .success(let generation):
            require(
                generations[key]?[generation] == publication.hash,
                "\(key) was published as generation \(generation), and no record says so"
            )
            require(
                wanted == 0 || generation == wanted,
                "\(key) was to be generation \(wanted) and is \(generation)"
            )
            let isOlder = wanted != 0 && wanted < present
            require(!isOlder, "\(key) was at \(present), and took generation \(wanted)")
        case .failure(let fault):
            world?.mark("fleet.refused: \(fault.reason.rawValue)")
            let isTaken = wanted != 0 && wanted <= fleets[key]?.generation ?? 0
            let isRight = isTaken && [.staleGeneration, .generationReused].contains(fault.reason)
            require(isRight, "\(key) generation \(wanted) was refused: \(fault)")
        }
    }

    // MARK: Once the world has converged

    /// What is not as it was published last, and could be.
    func fleetProblems(_ world: World) -> [String] {
        fleets.values.sorted { $0.key < $1.key }.flatMap { problems(of: $0.state, world) }
    }

    private func problems(of state: FleetState, _ world: World) -> [String] {
        var found = state.groups.flatMap { problems(of: $0, state, world) }
        let wanted = Set(state.members.map { $0.name })
        for vm in vms.values.sorted(by: { $0.id < $1.id })
        where vm.member?.fleet == state.name && vm.deletedAt == nil && !wanted.contains(vm.name) {
            found.append("\(vm.name) \(vm.id.short) is still of \(state.name)")
        }
        return found
    }

    private func problems(of group: FleetGroup, _ state: FleetState, _ world: World) -> [String] {
        var found: [String] = []
        var changing: [String] = []
        /// Whether one of it is missed for a reason that its keeper cannot mend: then the others stay.
        var isHeld = false
        for name in group.memberNames {
            let what = "\(name) of \(state.name)"
            guard let vm = names[NameRow.key(state.project, name)].flatMap({ vms[$0] }) else {
                isHeld = true
                if hasRoom(group, world) { found.append("\(what) is not there") }
                continue
            }
            guard vm.member?.fleet == state.name else {
                isHeld = true
                continue
            }
            let differences = differences(vm, group, state)
            let isUp = vm.status.state.hasProcess
            if !differences.isEmpty {
                let line = "\(what) differs in \(differences.joined(separator: ", "))"
                if isUp { changing.append(line) } else { found.append(line) }
            }
            if group.runs, vm.status.state != .running {
                let isExcused =
                    hasGivenUp(vm) || isDamaged(vm, world) || !hasRoomAgain(vm, world)
                isHeld = isHeld || isExcused
                if !isExcused { found.append("\(what) is \(vm.status.state.rawValue)") }
            } else if !group.runs, isUp || vm.status.state == .suspended {
                changing.append("\(what) is \(vm.status.state.rawValue) and shall not run")
            }
        }
        return found + (isHeld ? [] : changing)
    }

    private func differences(_ vm: VM, _ group: FleetGroup, _ state: FleetState) -> [String] {
        let draft = group.draft
        var found: [String] = []
        if vm.member?.image != draft.image { found.append("image") }
        if vm.spec.network != draft.network { found.append("network") }
        if vm.spec.cores != draft.cores { found.append("cores") }
        if vm.spec.memoryMiB != draft.memoryMiB { found.append("memory") }
        if vm.spec.ports.map(\.guestPort) != draft.ports.map(\.guestPort) { found.append("ports") }
        if vm.labels != draft.labels { found.append("labels") }
        if vm.spec.restart != draft.restart { found.append("restart") }
        return found
    }

    private func hasGivenUp(_ vm: VM) -> Bool {
        let policy = vm.spec.restart
        return vm.status.state == .failed && policy.mode != .never && policy.maxRestarts > 0
            && vm.status.restarts >= policy.maxRestarts
    }

    /// Whether its memory is kept, and cannot be used: what then is somebody's decision.
    private func isDamaged(_ vm: VM, _ world: World) -> Bool {
        vm.status.state == .suspended
            && world.damagedSaves.contains("/simulated/vms/\(vm.id)/saved")
    }

    /// Whether a new VM of `group` has a place.
    private func hasRoom(_ group: FleetGroup, _ world: World) -> Bool {
        world.nodes.contains { node in
            nodeRows[node.id]?.isCordoned != true
                && fits(group.draft.cores ?? 0, group.draft.memoryMiB ?? 0, node, world)
        }
    }

    /// Whether `vm` could start where it is.
    private func hasRoomAgain(_ vm: VM, _ world: World) -> Bool {
        guard let node = world.nodes.first(where: { $0.id == vm.status.node }) else { return false }
        return fits(vm.spec.cores, vm.spec.memoryMiB, node, world)
    }

    private func fits(_ cores: Int, _ memoryMiB: Int, _ node: NodeHost, _ world: World) -> Bool {
        guard let free = world.control?.service?.nodes.fleet.free(node.id) else { return false }
        return free.cores >= cores && free.memoryMiB >= memoryMiB
    }
}
