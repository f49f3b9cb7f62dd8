package import RoostModel

/// The nodes, the VMs on them, and where the next VM should go.
///
/// A value: a copy is a fleet of its own, which costs nothing until one of the two changes. It is
/// kept up to date by deltas (``join(_:at:)``, ``add(_:_:on:isRunning:at:)``, …), each O(1) but
/// for nodes that come or go, and the same deltas give the same answers anywhere. It promises
/// nothing by itself: that a decision still holds is what its ``Reservation`` is compared for.
package struct Fleet: Sendable {
    var world: World
    var classes: [EquivalenceClass] = []
    private let classLimit: Int
    private var uses = 0

    /// How many of the best nodes an explanation holds.
    package static let explained = 5

    /// Makes a fleet of `nodes`. It keeps `classLimit` classes of equal requests ready, each of
    /// about 30 bytes a node; a request of a class that is not kept costs O(nodes).
    package init(
        strategy: PlacementStrategy = .spread,
        nodes: [NodeFacts] = [],
        classLimit: Int = 128
    ) {
        precondition(classLimit > 0, "a fleet without a class cannot decide")
        self.classLimit = classLimit
        world = World(strategy: strategy)
        if !nodes.isEmpty { join(nodes) }
    }

    package var strategy: PlacementStrategy { world.strategy }
    /// Rises with each delta.
    package var revision: UInt64 { world.revision }
    /// Every node, by id.
    package var nodes: [NodeFacts] { world.facts }
    /// How many VMs are somewhere.
    package var residentCount: Int { world.residents.count }

    /// What is known of a node; `nil` when it never joined.
    package func facts(_ node: NodeID) -> NodeFacts? {
        world.slotOf[node].map { world.facts[$0] }
    }

    /// Cores and MiB that a node may still promise, below zero where it promised too much.
    package func free(_ node: NodeID) -> (cores: Int, memoryMiB: Int)? {
        world.slotOf[node].map { (world.rooms[$0].free.cores, world.rooms[$0].free.memoryMiB) }
    }

    /// Where a VM is, and what it asked for.
    package func resident(_ vm: VMID) -> Resident? {
        world.residents[vm].map { record in
            Resident(
                vm: vm,
                request: world.kinds[record.kind].request,
                node: world.facts[record.slot].id,
                isRunning: record.isRunning
            )
        }
    }

    /// How many VMs each node has, running or not; nodes without any are left out. O(all VMs).
    package var residentCounts: [NodeID: Int] {
        world.residents.values.reduce(into: [:]) { counts, record in
            counts[world.facts[record.slot].id, default: 0] += 1
        }
    }

    /// The VMs on a node, by id. O(all VMs).
    package func residents(on node: NodeID) -> [Resident] {
        guard let slot = world.slotOf[node] else { return [] }
        return world.residents.filter { $0.value.slot == slot }.keys.sorted()
            .compactMap { resident($0) }
    }
}

/// One VM that is on a node.
package struct Resident: Hashable, Sendable {
    package var vm: VMID
    /// Without an explicit node.
    package var request: PlacementRequest
    package var node: NodeID
    /// Whether it holds cores and memory. Disk and its place in groups it holds anyway.
    package var isRunning: Bool
}

// MARK: Deltas

extension Fleet {
    /// Makes nodes known, or known anew. Several at once cost little more than one.
    ///
    /// `revision` is the store's, that the change came with, here and in the other deltas; it never
    /// falls, and `nil` counts on by one.
    package mutating func join(_ nodes: [NodeFacts], at revision: UInt64? = nil) {
        world.advance(to: revision)
        world.join(nodes)
    }

    /// Forgets a node with everything on it. Fine when it is not known.
    package mutating func removeNode(_ node: NodeID, at revision: UInt64? = nil) {
        guard let slot = world.slotOf[node] else { return }
        world.advance(to: revision)
        for resident in residents(on: node) { _ = world.remove(resident.vm) }
        world.removeNode(slot)
    }

    /// Puts a VM on a node, wherever it was before, and whether it fits or not: what is, is.
    ///
    /// - Throws: ``Reason/nodeNotFound``; the request's violations.
    package mutating func add(
        _ vm: VMID,
        _ request: PlacementRequest,
        on node: NodeID,
        isRunning: Bool = true,
        at revision: UInt64? = nil
    ) throws(Fault) {
        guard let slot = world.slotOf[node] else {
            throw Fault(.nodeNotFound, "no node \(node)")
        }
        if world.kindOf[request] == nil {
            let violations = request.violations
            guard violations.isEmpty else { throw .invalid(violations) }
        }
        world.advance(to: revision)
        world.add(vm, request, slot, isRunning: isRunning)
    }

    /// Counts a VM on a node, wherever it was before, and whether it fits or not; a request that was
    /// taken once is not judged again. Does nothing for a node that never joined.
    package mutating func count(
        _ vm: VMID,
        _ request: PlacementRequest,
        on node: NodeID,
        isRunning: Bool
    ) {
        guard let slot = world.slotOf[node] else { return }
        if let known = resident(vm), known.node == node, known.isRunning == isRunning,
            known.request == request
        {
            return
        }
        world.advance(to: nil)
        world.add(vm, request, slot, isRunning: isRunning)
    }

    /// The first required rule about other VMs that `request` would break on `node`, or that a VM
    /// there would: for a VM that comes back to where it was. Room and state are not looked at.
    ///
    /// - Throws: as ``place(_:for:)``.
    package mutating func conflict(
        _ request: PlacementRequest,
        on node: NodeID,
        for vm: VMID
    ) throws(Fault) -> Constraint? {
        let index = try prepared(request)
        guard let slot = world.slotOf[node] else {
            throw Fault(.nodeNotFound, "no node \(node)")
        }
        let kind = classes[index].kind
        if world.isRepelled(kind, slot) { return .repelled }
        if let own = world.groupOf[.vm(vm)], world.groups[own].repelled[slot] > 0 {
            return .repelled
        }
        for term in world.kinds[kind].affinities where term.weight == 0 && !term.isTogether {
            if world.groups[term.group].members[slot] > 0 { return .affinity(term.rule) }
        }
        return nil
    }

    /// As ``add(_:_:on:isRunning:at:)`` if the node has the room, whatever its state: a VM that is
    /// on a cordoned node already may start there. What it holds now does not count against it.
    ///
    /// - Throws: ``Reason/noCapacity``; as ``add(_:_:on:isRunning:at:)``.
    package mutating func reserve(
        _ vm: VMID,
        _ request: PlacementRequest,
        on node: NodeID,
        at revision: UInt64? = nil
    ) throws(Fault) {
        guard let slot = world.slotOf[node] else {
            throw Fault(.nodeNotFound, "no node \(node)")
        }
        var (cores, memoryMiB) = (world.rooms[slot].free.cores, world.rooms[slot].free.memoryMiB)
        if let held = resident(vm), held.isRunning, held.node == node {
            cores += held.request.cores
            memoryMiB += held.request.memoryMiB
        }
        guard request.cores <= cores, request.memoryMiB <= memoryMiB else {
            throw Fault(
                .noCapacity,
                "node \(node.short) has no room for \(request.cores) cores and "
                    + "\(request.memoryMiB) MiB; \(max(cores, 0)) cores and "
                    + "\(max(memoryMiB, 0)) MiB are free",
                metadata: [
                    "freeCores": "\(max(cores, 0))", "freeMemoryMiB": "\(max(memoryMiB, 0))",
                ]
            )
        }
        try add(vm, request, on: node, at: revision)
    }

    /// Takes a VM away. Fine when it is nowhere.
    package mutating func remove(_ vm: VMID, at revision: UInt64? = nil) {
        guard world.residents[vm] != nil else { return }
        world.advance(to: revision)
        _ = world.remove(vm)
    }
}

// MARK: Decisions

extension Fleet {
    /// Where `request` should go now; changes nothing that a later answer depends on.
    ///
    /// With `vm`, what other VMs say about exactly that one counts, too. A VM that is in the fleet
    /// already is one of the others: remove it first when it is to move.
    ///
    /// - Complexity: O(changes × log nodes + partitions) for a known class of requests,
    ///   O(nodes) for a new one.
    /// - Throws: every violation of the request; ``Reason/nodeNotFound`` for an explicit node that
    ///   never joined.
    package mutating func place(
        _ request: PlacementRequest,
        for vm: VMID? = nil
    ) throws(Fault) -> Placement {
        let index = try prepared(request)
        var excluded: [Int] = []
        if let vm, let own = world.groupOf[.vm(vm)], world.groups[own].repelTotal > 0 {
            excluded = world.groups[own].repelled.rising
            for slot in excluded { classes[index].exclude(slot, .repelled) }
        }
        defer { for slot in excluded { classes[index].refresh(world, slot) } }
        if let node = request.node {
            guard let slot = world.slotOf[node] else {
                throw Fault(.nodeNotFound, "no node \(node)")
            }
            return placeExplicitly(request, slot, index)
        }
        let choice = classes[index].choose(world, limit: Self.explained)
        let explanation = explain(index, choice)
        guard let first = choice.leaders.first else {
            return .refused(Refusal(request: request, explanation: explanation))
        }
        return .placed(
            Decision(
                node: world.facts[Int(first.slot)].id,
                explanation: explanation,
                reservation: reservation(Int(first.slot), classes[index].kind)
            )
        )
    }

    /// What one node says to `request`: the first constraint that it fails, or its score.
    ///
    /// - Throws: as ``place(_:for:)``.
    package mutating func verdict(
        _ request: PlacementRequest,
        on node: NodeID,
        for vm: VMID? = nil
    ) throws(Fault) -> Verdict {
        let index = try prepared(request)
        guard let slot = world.slotOf[node] else {
            throw Fault(.nodeNotFound, "no node \(node)")
        }
        if let vm, let own = world.groupOf[.vm(vm)], world.groups[own].repelled[slot] > 0,
            classes[index].marks[slot].verdict == 0
                || classes[index].marks[slot].verdict > Constraint.repelled.code
        {
            return .removed(.repelled)
        }
        let (code, score, shift) = classes[index].assess(slot, world)
        if code != 0 { return .removed(Constraint(code: code)) }
        return .fits(scored(index, Leader(slot: Int32(slot), score: score), shift))
    }

    /// The place of `request`'s class, up to date.
    mutating func prepared(_ request: PlacementRequest) throws(Fault) -> Int {
        if let kind = request.node == nil ? world.kindOf[request] : nil {
            return cachedClass(kind)
        }
        let violations = request.violations
        guard violations.isEmpty else { throw .invalid(violations) }
        return cachedClass(world.intern(request))
    }

    private mutating func cachedClass(_ kind: Int) -> Int {
        uses += 1
        var index = world.kinds[kind].cached
        if index >= 0 {
            if classes[index].isStale(world) {
                classes[index] = EquivalenceClass(kind, &world)
            } else {
                classes[index].catchUp(world)
            }
        } else {
            let made = EquivalenceClass(kind, &world)
            if classes.count < classLimit {
                index = classes.count
                classes.append(made)
                world.kinds[kind].cached = index
            } else {
                index = leastUsed()
                let old = classes[index].kind
                classes[index] = made
                world.kinds[kind].cached = index
                world.kinds[old].cached = -1
                world.dropIfUnused(old)
            }
        }
        classes[index].lastUsed = uses
        return index
    }

    private func leastUsed() -> Int {
        var found = 0
        for index in classes.indices where classes[index].lastUsed < classes[found].lastUsed {
            found = index
        }
        return found
    }

    private func placeExplicitly(
        _ request: PlacementRequest,
        _ slot: Int,
        _ index: Int
    ) -> Placement {
        let (code, score, shift) = classes[index].assess(slot, world)
        var removed: [Explanation.Removal] = []
        if world.facts.count > 1 {
            removed.append(.init(constraint: .explicitNode, nodes: world.facts.count - 1))
        }
        if code != 0 { removed.append(.init(constraint: Constraint(code: code), nodes: 1)) }
        let leader = Leader(slot: Int32(slot), score: score)
        let explanation = Explanation(
            revision: world.revision,
            nodes: world.facts.count,
            removed: removed,
            fitting: code == 0 ? 1 : 0,
            best: code == 0 ? [scored(index, leader, shift)] : []
        )
        if code != 0 { return .refused(Refusal(request: request, explanation: explanation)) }
        return .placed(
            Decision(
                node: world.facts[slot].id,
                explanation: explanation,
                reservation: reservation(slot, classes[index].kind)
            )
        )
    }
}

/// What one node says to a request.
package enum Verdict: Hashable, Sendable {
    case fits(Scored)
    /// The first constraint that it fails.
    case removed(Constraint)
}
