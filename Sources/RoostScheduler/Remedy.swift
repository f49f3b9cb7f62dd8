package import RoostModel

/// One thing that an operator or the request's author can do about a refusal.
package enum Change: Hashable, Sendable {
    /// Let a cordoned or draining node take VMs again.
    case uncordon(NodeID)
    /// A node that is lost or not ready must come back.
    case bringBack(NodeID)
    /// So much more room on a node: by hardware, or by removing VMs there.
    case addRoom(NodeID, cores: Int, memoryMiB: Int, diskGiB: Int)
    case tolerate(Taint)
    /// Let a spread differ by this much.
    case raiseSkew(rule: Int, to: Int)
    /// Leave a constraint out of the request.
    case drop(Constraint)

    /// How much is asked, to compare changes with; smaller is easier.
    fileprivate var cost: Int {
        switch self {
        case .uncordon: 1
        case .tolerate: 2
        case .raiseSkew: 3
        // An amount: 16 cores more are harder than dropping a rule.
        case .addRoom(_, let cores, let memoryMiB, let diskGiB):
            4 + cores + (memoryMiB + 1023) / 1024 + (diskGiB + 15) / 16
        case .drop: 10
        case .bringBack: 1000
        }
    }

    /// The kind of change, whichever node it speaks of.
    fileprivate var family: Int {
        switch self {
        case .uncordon: 0
        case .tolerate: 1
        case .raiseSkew: 2
        case .addRoom: 3
        case .bringBack: 4
        case .drop(let constraint): 8 + Int(constraint.code)
        }
    }

    /// The change for people, as an order.
    package func text(_ rules: PlacementRules, names: (NodeID) -> String) -> String {
        switch self {
        case .uncordon(let node): return "uncordon \(names(node))"
        case .bringBack(let node): return "bring \(names(node)) back"
        case .addRoom(let node, let cores, let memoryMiB, let diskGiB):
            let amounts = [
                cores > 0 ? "\(cores) \(cores == 1 ? "core" : "cores")" : nil,
                memoryMiB > 0 ? "\(memoryMiB) MiB of memory" : nil,
                diskGiB > 0 ? "\(diskGiB) GiB of disk" : nil,
            ]
            return "free or add \(amounts.compactMap { $0 }.joined(separator: " and ")) on "
                + names(node)
        case .tolerate(let taint):
            return "tolerate \(taint.key)\(taint.value.isEmpty ? "" : "=\(taint.value)")"
        case .raiseSkew(let rule, let skew):
            return "allow a skew of \(skew) over \(rules.spreads[rule].over)"
        case .drop(let constraint):
            return "drop the rule that fails with '\(constraint.text(rules))'"
        }
    }
}

/// Changes that together make a request fit; tried on a copy.
package struct Remedy: Hashable, Sendable {
    package var changes: [Change]
    /// Where the request would go then.
    package var node: NodeID
}

extension Fleet {
    /// How many changes are tried before giving up, whatever the fleet's size.
    private static let attempts = 24

    /// The smallest changes after which `request` fits, each of another kind, smallest first.
    /// Each was made on a copy and the request placed there. Empty when it fits as it is, or when
    /// nothing helps but other nodes.
    ///
    /// - Complexity: O(nodes × rules).
    /// - Throws: as ``place(_:for:)``.
    package func remedies(
        for request: PlacementRequest,
        limit: Int = 3
    ) throws(Fault) -> [Remedy] {
        var copy = self
        if try copy.place(request).node != nil { return [] }
        let index = try copy.prepared(request)
        var byFamily: [[Int]: (cost: Int, changes: [Change])] = [:]
        for slot in copy.world.facts.indices {
            guard let changes = copy.changes(request, slot, index) else { continue }
            let cost = changes.reduce(0) { $0 + $1.cost }
            let family = changes.map(\.family)
            if let known = byFamily[family], known.cost <= cost { continue }
            byFamily[family] = (cost, changes)
        }
        let ordered = byFamily.sorted { left, right in
            if left.value.changes.count != right.value.changes.count {
                return left.value.changes.count < right.value.changes.count
            }
            if left.value.cost != right.value.cost { return left.value.cost < right.value.cost }
            return left.key.lexicographicallyPrecedes(right.key)
        }
        var found: [Remedy] = []
        for (_, candidate) in ordered.prefix(Self.attempts) where found.count < limit {
            if let node = try copy.trial(candidate.changes, request) {
                found.append(Remedy(changes: candidate.changes, node: node))
            }
        }
        return found
    }

    /// Where `request` goes after `changes`, on a copy.
    private func trial(
        _ changes: [Change],
        _ request: PlacementRequest
    ) throws(Fault) -> NodeID? {
        var copy = self
        var request = request
        for change in changes { change.apply(to: &copy, &request) }
        request.rules.dropMarked(changes)
        return try copy.place(request).node
    }

    /// Everything that would have to change for `slot` to do; `nil` when nothing of that helps.
    private func changes(_ request: PlacementRequest, _ slot: Int, _ index: Int) -> [Change]? {
        let node = world.facts[slot]
        let kind = classes[index].kind
        if world.isRepelled(kind, slot) { return nil }
        var found: [Change] = []
        switch node.state {
        case .ready: break
        case .cordoned, .draining: found.append(.uncordon(node.id))
        case .notReady, .lost: found.append(.bringBack(node.id))
        }
        let rules = request.rules
        if let asked = request.node, asked != node.id { found.append(.drop(.explicitNode)) }
        if !rules.requiredNodes.isEmpty, !rules.requiredNodes.contains(node.id) {
            found.append(.drop(.requiredNodes))
        }
        if rules.excludedNodes.contains(node.id) { found.append(.drop(.excludedNodes)) }
        if !rules.requiredLabels.matches(node.labels) { found.append(.drop(.requiredLabels)) }
        for taint in node.taints
        where taint.effect == .noSchedule && !classes[index].rules.isTolerated(taint) {
            found.append(.tolerate(taint))
        }
        for (number, rule) in rules.localities.enumerated()
        where rule.strength == .required && !node.artifacts.contains(rule.artifact) {
            found.append(.drop(.locality(number)))
        }
        let free = world.rooms[slot].free
        let lack = Room(
            cores: max(0, request.cores - free.cores),
            memoryMiB: max(0, request.memoryMiB - free.memoryMiB),
            diskGiB: request.diskGiB > 0 ? max(0, request.diskGiB - free.diskGiB) : 0
        )
        if lack.cores > 0 || lack.memoryMiB > 0 || lack.diskGiB > 0 {
            found.append(
                .addRoom(
                    node.id,
                    cores: lack.cores,
                    memoryMiB: lack.memoryMiB,
                    diskGiB: lack.diskGiB
                )
            )
        }
        found += changesAboutOthers(kind, slot, index)
        return found
    }

    private func changesAboutOthers(_ kind: Int, _ slot: Int, _ index: Int) -> [Change] {
        var found: [Change] = []
        for term in world.kinds[kind].affinities where term.weight == 0 {
            let group = world.groups[term.group]
            let isBroken =
                term.isTogether
                ? group.members[slot] == 0 && !(term.isSelf && group.total == 0)
                : group.members[slot] > 0
            if isBroken { found.append(.drop(.affinity(term.rule))) }
        }
        for (number, over) in classes[index].overSkew(slot, world).enumerated() {
            let term = world.kinds[kind].spreads[number]
            guard term.weight == 0 else { continue }
            if let over {
                if over > 0 {
                    found.append(.raiseSkew(rule: term.rule, to: term.maxSkew + over))
                }
            } else {
                found.append(.drop(.spread(term.rule)))
            }
        }
        return found
    }
}

extension Change {
    /// Makes the change; rules that go are taken out afterwards, since they have numbers.
    fileprivate func apply(to fleet: inout Fleet, _ request: inout PlacementRequest) {
        switch self {
        case .uncordon(let node), .bringBack(let node):
            guard var facts = fleet.facts(node) else { return }
            facts.state = .ready
            fleet.join([facts])
        case .addRoom(let node, let cores, let memoryMiB, let diskGiB):
            guard let slot = fleet.world.slotOf[node] else { return }
            fleet.world.advance(to: nil)
            let more = Room(cores: cores, memoryMiB: memoryMiB, diskGiB: diskGiB)
            fleet.world.rooms[slot].total = fleet.world.rooms[slot].total + more
            fleet.world.rooms[slot].free = fleet.world.rooms[slot].free + more
            fleet.world.touch(slot)
        case .tolerate(let taint):
            request.rules.tolerations.append(
                Toleration(key: taint.key, value: taint.value, effect: taint.effect)
            )
        case .raiseSkew(let rule, let skew):
            request.rules.spreads[rule].maxSkew = min(skew, PlacementLimits.skew.upperBound)
        case .drop(.explicitNode): request.node = nil
        case .drop(.requiredNodes): request.rules.requiredNodes = []
        case .drop(.excludedNodes): request.rules.excludedNodes = []
        case .drop(.requiredLabels): request.rules.requiredLabels = .all
        case .drop(.locality), .drop(.affinity), .drop(.spread): break
        case .drop(.state), .drop(.taints), .drop(.cores), .drop(.memory), .drop(.disk),
            .drop(.repelled):
            preconditionFailure("a request cannot drop \(self)")
        }
    }
}

extension PlacementRules {
    /// Takes out every numbered rule that `changes` drop.
    fileprivate mutating func dropMarked(_ changes: [Change]) {
        func rest<Rule>(_ rules: [Rule], _ constraint: (Int) -> Constraint) -> [Rule] {
            rules.enumerated().filter { !changes.contains(.drop(constraint($0.offset))) }
                .map(\.element)
        }
        localities = rest(localities, Constraint.locality)
        affinities = rest(affinities, Constraint.affinity)
        spreads = rest(spreads, Constraint.spread)
    }
}
