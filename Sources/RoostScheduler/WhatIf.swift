package import RoostModel

/// Something that might be done.
package enum Scenario: Hashable, Sendable {
    /// This many VMs more, all alike.
    case add(count: Int, PlacementRequest)
    /// A node is to be empty: its VMs move.
    case drain(NodeID)
    /// A node is gone: its VMs start elsewhere.
    case lose(NodeID)
    /// A VM becomes larger or smaller, where it is if it fits, else elsewhere.
    case resize(VMID, cores: Int, memoryMiB: Int)
}

/// What a scenario comes to, VM by VM in the order in which it happens.
package struct Forecast: Hashable, Sendable {
    package var steps: [Step]

    package struct Step: Hashable, Sendable {
        package var vm: VMID
        /// Where it was; `nil` for a new one.
        package var from: NodeID?
        /// Where it goes. A VM that is refused stays where it was; a new one is not made.
        package var outcome: Outcome
    }

    package enum Outcome: Hashable, Sendable {
        /// Its node has the room.
        case stays
        case goes(Decision)
        case refused(Refusal)
    }

    /// How many found a place.
    package var placed: Int {
        steps.count { step in
            if case .refused = step.outcome { false } else { true }
        }
    }

    /// Those that found none.
    package var refusals: [Refusal] {
        steps.compactMap { step in
            if case .refused(let refusal) = step.outcome { refusal } else { nil }
        }
    }
}

extension Fleet {
    /// The most VMs that one scenario may add.
    package static let largestAddition = 100_000

    /// What `scenario` would come to. The same code on a copy: nothing here changes.
    ///
    /// - Throws: as ``enact(_:)``.
    package func forecast(_ scenario: Scenario) throws(Fault) -> Forecast {
        var copy = self
        return try copy.enact(scenario)
    }

    /// Does what `scenario` says: sets the node's state and puts each VM where it goes.
    ///
    /// An addition ends with the first refusal: what follows would be refused alike.
    ///
    /// - Throws: ``Reason/nodeNotFound``, ``Reason/vmNotFound``; a request's or count's violations.
    package mutating func enact(_ scenario: Scenario) throws(Fault) -> Forecast {
        switch scenario {
        case .add(let count, let request): try enactAddition(count, request)
        case .drain(let node): try enactDeparture(node, .draining)
        case .lose(let node): try enactDeparture(node, .lost)
        case .resize(let vm, let cores, let memoryMiB): try enactResize(vm, cores, memoryMiB)
        }
    }

    private mutating func enactAddition(
        _ count: Int,
        _ request: PlacementRequest
    ) throws(Fault) -> Forecast {
        guard (1...Self.largestAddition).contains(count) else {
            throw .invalid("count", "\(count) is outside 1 … \(Self.largestAddition)")
        }
        var forecast = Forecast(steps: [])
        var bits = UInt128.max
        for _ in 0..<count {
            // Stand-ins for VMs that have no id yet: from the end, where chance never comes.
            while world.residents[VMID(bits: bits)] != nil { bits -= 1 }
            let vm = VMID(bits: bits)
            let outcome = try put(vm, request)
            forecast.steps.append(.init(vm: vm, from: nil, outcome: outcome))
            if case .refused = outcome { break }
        }
        return forecast
    }

    private mutating func enactDeparture(
        _ node: NodeID,
        _ state: NodeState
    ) throws(Fault) -> Forecast {
        guard var facts = facts(node) else { throw Fault(.nodeNotFound, "no node \(node)") }
        facts.state = state
        join([facts])
        var forecast = Forecast(steps: [])
        for resident in residents(on: node).sorted(by: Self.isLarger) {
            let outcome = try move(resident, resident.request)
            forecast.steps.append(.init(vm: resident.vm, from: node, outcome: outcome))
        }
        return forecast
    }

    private mutating func enactResize(
        _ vm: VMID,
        _ cores: Int,
        _ memoryMiB: Int
    ) throws(Fault) -> Forecast {
        guard let resident = resident(vm), let slot = world.slotOf[resident.node] else {
            throw Fault(.vmNotFound, "no VM \(vm) is placed")
        }
        var request = resident.request
        request.cores = cores
        request.memoryMiB = memoryMiB
        let violations = request.violations
        guard violations.isEmpty else { throw .invalid(violations) }
        let own = resident.isRunning ? resident.request : nil
        let free = world.rooms[slot].free
        if cores <= free.cores + (own?.cores ?? 0),
            memoryMiB <= free.memoryMiB + (own?.memoryMiB ?? 0)
        {
            try add(vm, request, on: resident.node, isRunning: resident.isRunning)
            return Forecast(steps: [.init(vm: vm, from: resident.node, outcome: .stays)])
        }
        let outcome = try move(resident, request)
        return Forecast(steps: [.init(vm: vm, from: resident.node, outcome: outcome)])
    }

    /// Places a new VM and puts it there.
    private mutating func put(
        _ vm: VMID,
        _ request: PlacementRequest
    ) throws(Fault) -> Forecast.Outcome {
        switch try place(request, for: vm) {
        case .placed(let decision):
            try add(vm, request, on: decision.node)
            return .goes(decision)
        case .refused(let refusal): return .refused(refusal)
        }
    }

    /// Places a VM elsewhere as `request`; where none will do it stays as it was.
    private mutating func move(
        _ resident: Resident,
        _ request: PlacementRequest
    ) throws(Fault) -> Forecast.Outcome {
        remove(resident.vm)
        switch try place(request, for: resident.vm) {
        case .placed(let decision):
            try add(resident.vm, request, on: decision.node, isRunning: resident.isRunning)
            return .goes(decision)
        case .refused(let refusal):
            try add(
                resident.vm,
                resident.request,
                on: resident.node,
                isRunning: resident.isRunning
            )
            return .refused(refusal)
        }
    }

    /// The hardest to place come first: memory, then cores, then the smaller id.
    private static func isLarger(_ left: Resident, _ right: Resident) -> Bool {
        let (first, second) = (left.request, right.request)
        if first.memoryMiB != second.memoryMiB { return first.memoryMiB > second.memoryMiB }
        if first.cores != second.cores { return first.cores > second.cores }
        return left.vm < right.vm
    }
}
