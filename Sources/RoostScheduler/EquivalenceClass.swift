import RoostModel

/// What equal requests have in common, worked out once and kept up to date node by node.
///
/// A decision reads the changes since the last one, judges those nodes anew, and asks the tree.
/// Nodes that agree in every label that a spread rule names stand in one partition, with a tree of
/// its own: what the spread says is the same for all of them, and is added when asked.
struct EquivalenceClass: Sendable {
    let kind: Int
    let rules: NodeRules
    /// Copies of what the kind says, since they are read for every node.
    private let asked: Room
    private let affinities: [AffinityTerm]
    let spreads: [SpreadTerm]
    /// Rises with each use; the least is dropped first.
    var lastUsed = 0
    private var epoch: Int
    /// The number of the first change that was not read yet.
    private var seen: Int
    /// By slot, together since they are read together.
    private(set) var marks: [Mark]
    /// By code: how many nodes it removed.
    private(set) var removed: [Int32]
    /// By affinity: nobody is in the group yet and the VM belongs to it, so it may be the first.
    private var waived: [Bool]
    private(set) var tree: ScoreTree
    /// By partition and spread: the value's number, −1 without.
    private(set) var domains: [Int32]
    /// By partition: how many of its nodes fit.
    private(set) var fitting: [Int32]
    /// By spread and value: how many nodes pass the rules about nodes.
    private(set) var eligible: [[Int32]]

    /// What is kept of one node.
    struct Mark: Sendable {
        /// What the node itself is worth.
        var bonus: Int32
        /// The code of the rule about nodes that it breaks, or 0.
        var fixed: UInt8
        /// The code of what removed it, or 0. Spread rules are not in it.
        var verdict: UInt8 = 0
    }

    init(_ kind: Int, _ world: inout World) {
        self.kind = kind
        let request = world.kinds[kind].request
        rules = NodeRules(request.rules)
        asked = Room(
            cores: request.cores,
            memoryMiB: request.memoryMiB,
            diskGiB: request.diskGiB
        )
        affinities = world.kinds[kind].affinities
        spreads = world.kinds[kind].spreads
        epoch = world.epoch
        seen = world.logStart + world.log.count
        let marks = rules.all(&world)
        self.marks = marks
        removed = []
        waived = []
        fitting = []
        let parts = Partitions(spreads, world)
        domains = parts.domains
        eligible = spreads.map { term in
            var counts = [Int32](repeating: 0, count: world.spreads[term.counts].names.count)
            for slot in world.facts.indices where marks[slot].fixed == 0 {
                let domain = Int(world.spreads[term.counts].domains[slot])
                if domain >= 0 { counts[domain] += 1 }
            }
            return counts
        }
        tree = ScoreTree([], scores: [])
        judgeAll(world, parts.lists)
    }

    /// Whether it is cheaper, or the only way, to make it anew.
    func isStale(_ world: World) -> Bool {
        epoch != world.epoch || seen < world.logStart
            || world.logStart + world.log.count - seen > world.facts.count
            || !isWaivedAs(world)
    }

    /// Reads what changed since it was last asked.
    mutating func catchUp(_ world: World) {
        let end = world.logStart + world.log.count
        while seen < end {
            let change = world.log[seen - world.logStart]
            if change.isFacts { readFacts(world, Int(change.slot)) }
            refresh(world, Int(change.slot))
            seen += 1
        }
    }

    private mutating func readFacts(_ world: World, _ slot: Int) {
        let was = marks[slot].fixed == 0
        marks[slot].fixed = rules.verdict(world.facts[slot])
        marks[slot].bonus = rules.points(world.facts[slot])
        let delta: Int32 = (marks[slot].fixed == 0 ? 1 : 0) - (was ? 1 : 0)
        guard delta != 0 else { return }
        for (index, term) in spreads.enumerated() {
            let domain = Int(world.spreads[term.counts].domains[slot])
            if domain >= 0 { eligible[index][domain] += delta }
        }
    }

    /// Judges one node anew.
    mutating func refresh(_ world: World, _ slot: Int) {
        let (verdict, score) = judge(world, slot)
        set(slot, verdict, score)
    }

    /// Takes `slot` out for one question; ``refresh(_:_:)`` puts it back.
    mutating func exclude(_ slot: Int, _ constraint: Constraint) {
        if marks[slot].verdict == 0 || marks[slot].verdict > constraint.code {
            set(slot, constraint.code, ScoreTree.none)
        }
    }

    private mutating func set(_ slot: Int, _ verdict: UInt8, _ score: Int32) {
        let was = marks[slot].verdict
        if was != verdict {
            marks[slot].verdict = verdict
            removed[Int(was)] -= 1
            removed[Int(verdict)] += 1
            if was == 0 { fitting[tree.segment(of: slot)] -= 1 }
            if verdict == 0 { fitting[tree.segment(of: slot)] += 1 }
        }
        tree.set(slot, score)
    }

    private static func isWaived(_ term: AffinityTerm, _ world: World) -> Bool {
        term.isTogether && term.weight == 0 && term.isSelf && world.groups[term.group].total == 0
    }

    private func isWaivedAs(_ world: World) -> Bool {
        for term in affinities where waived[term.rule] != Self.isWaived(term, world) {
            return false
        }
        return true
    }

    private mutating func judgeAll(_ world: World, _ lists: [[Int32]]) {
        waived = affinities.map { Self.isWaived($0, world) }
        removed = [Int32](repeating: 0, count: Constraint.codes)
        var scores = [Int32](repeating: ScoreTree.none, count: world.facts.count)
        for slot in world.facts.indices {
            (marks[slot].verdict, scores[slot]) = judge(world, slot)
            removed[Int(marks[slot].verdict)] += 1
        }
        tree = ScoreTree(lists, scores: scores)
        fitting = lists.map { list in
            list.reduce(0) { $0 + (marks[Int($1)].verdict == 0 ? 1 : 0) }
        }
    }

    /// The code of what removes `slot`, or 0 and its score without the spread's part.
    private func judge(_ world: World, _ slot: Int) -> (UInt8, Int32) {
        let mark = marks[slot]
        if mark.fixed != 0 { return (mark.fixed, ScoreTree.none) }
        let free = world.rooms[slot].free
        let cores = free.cores - asked.cores
        let memory = free.memoryMiB - asked.memoryMiB
        if cores < 0 { return (Constraint.cores.code, ScoreTree.none) }
        if memory < 0 { return (Constraint.memory.code, ScoreTree.none) }
        if asked.diskGiB > 0, free.diskGiB < asked.diskGiB {
            return (Constraint.disk.code, ScoreTree.none)
        }
        if world.isRepelled(kind, slot) { return (Constraint.repelled.code, ScoreTree.none) }
        var score = Int(mark.bonus)
        for term in affinities {
            let count = world.groups[term.group].members[slot]
            if term.weight > 0 {
                score += term.points(count)
            } else if term.isTogether ? count == 0 && !waived[term.rule] : count > 0 {
                return (Constraint.affinity(term.rule).code, ScoreTree.none)
            }
        }
        score += world.strategy.points(cores, memory, of: world.rooms[slot].total)
        return (0, Int32(score))
    }
}

extension World {
    /// Whether a VM on `slot` keeps VMs of this kind away.
    func isRepelled(_ kind: Int, _ slot: Int) -> Bool {
        for group in kinds[kind].groups where groups[group].repelTotal > 0 {
            if groups[group].repelled[slot] > 0 { return true }
        }
        return false
    }
}

extension AffinityTerm {
    /// What `count` VMs of the group on a node are worth to a wish.
    func points(_ count: Int) -> Int {
        isTogether
            ? (count > 0 ? weight * Points.unit : 0)
            : -min(count, Points.cap) * weight * Points.unit
    }
}

extension PlacementStrategy {
    /// What a node's room is worth of which `cores` and `memoryMiB` would be left.
    func points(_ cores: Int, _ memoryMiB: Int, of total: Room) -> Int {
        let half = Points.room / 2
        let left =
            (total.cores > 0 ? cores * half / total.cores : 0)
            + (total.memoryMiB > 0 ? memoryMiB * half / total.memoryMiB : 0)
        return self == .spread ? left : Points.room - left
    }
}

/// Slots by the values of all labels that a request spreads over.
struct Partitions {
    /// The slots of each, rising.
    private(set) var lists: [[Int32]]
    /// By partition and spread: the value's number, −1 without.
    private(set) var domains: [Int32] = []

    init(_ spreads: [SpreadTerm], _ world: World) {
        guard !spreads.isEmpty else {
            lists = [world.facts.indices.map(Int32.init)]
            return
        }
        var of = [Int32](repeating: 0, count: world.facts.count)
        for term in spreads {
            // Divide each partition by the next label.
            var known: [UInt64: Int32] = [:]
            for slot in of.indices {
                let domain = UInt32(bitPattern: world.spreads[term.counts].domains[slot])
                let key = UInt64(UInt32(bitPattern: of[slot])) << 32 | UInt64(domain)
                let number = known[key] ?? Int32(known.count)
                known[key] = number
                of[slot] = number
            }
        }
        lists = []
        for slot in of.indices {
            if Int(of[slot]) == lists.count {
                lists.append([])
                for term in spreads { domains.append(world.spreads[term.counts].domains[slot]) }
            }
            lists[Int(of[slot])].append(Int32(slot))
        }
    }
}
