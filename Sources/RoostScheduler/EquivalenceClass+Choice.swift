import RoostModel

/// What a class says of all nodes at one moment.
struct Choice: Sendable {
    /// The best, best first.
    var leaders: [Leader] = []
    /// By spread: how many nodes it removed that passed everything else.
    var removedBySpread: [Int] = []
}

extension EquivalenceClass {
    /// The best nodes, at most `limit`.
    func choose(_ world: World, limit: Int) -> Choice {
        var choice = Choice()
        choice.leaders.reserveCapacity(limit + 1)
        if spreads.isEmpty {
            tree.collect(0, shift: 0, limit: limit, into: &choice.leaders)
            return choice
        }
        choice.removedBySpread = [Int](repeating: 0, count: spreads.count)
        let judges = judges(world)
        // Each of the best nodes is in one of the best partitions.
        var parts: [Leader] = []
        parts.reserveCapacity(limit + 1)
        var numbers: [(part: Int, shift: Int32)] = []
        numbers.reserveCapacity(limit + 1)
        var last = Leader(slot: .max, score: ScoreTree.none)
        for part in fitting.indices where fitting[part] > 0 {
            let (broken, shift) = judge(part, judges)
            if broken >= 0 {
                choice.removedBySpread[broken] += Int(fitting[part])
                continue
            }
            let score = tree.bests[part] + shift
            // Equal scores are common: the smallest slot that it could be decides most of them.
            if score < last.score || (score == last.score && tree.firsts[part] > last.slot) {
                continue
            }
            let leader = Leader(slot: tree.bestSlot(part), score: score)
            var at = parts.count
            while at > 0, leader.isBetter(than: parts[at - 1]) { at -= 1 }
            guard at < limit else { continue }
            parts.insert(leader, at: at)
            numbers.insert((part, shift), at: at)
            if parts.count > limit {
                parts.removeLast()
                numbers.removeLast()
            }
            if parts.count == limit { last = parts[limit - 1] }
        }
        for (part, shift) in numbers {
            tree.collect(part, shift: shift, limit: limit, into: &choice.leaders)
        }
        return choice
    }

    /// What the class says of one node: the code of what removes it, or 0 and its whole score.
    func assess(_ slot: Int, _ world: World) -> (verdict: UInt8, score: Int32, shift: Int32) {
        if marks[slot].verdict != 0 { return (marks[slot].verdict, ScoreTree.none, 0) }
        if spreads.isEmpty { return (0, tree[slot], 0) }
        let (broken, shift) = judge(tree.segment(of: slot), judges(world))
        if broken >= 0 {
            return (Constraint.spread(spreads[broken].rule).code, ScoreTree.none, 0)
        }
        return (0, tree[slot] + shift, shift)
    }

    /// What a spread rule needs to judge a partition, in one place.
    private struct SpreadJudge {
        let counts: [Int32]
        /// A count up to this is fine.
        let allowed: Int32
        /// Points for each VM too many, 0 where it is required.
        let price: Int32
    }

    private func judges(_ world: World) -> [SpreadJudge] {
        spreads.enumerated().map { index, term in
            let least = leastCount(term, index, world)
            return SpreadJudge(
                counts: world.spreads[term.counts].counts,
                allowed: least + Int32(term.maxSkew) - (term.isSelf ? 1 : 0),
                price: Int32(term.weight * Points.unit)
            )
        }
    }

    /// The first spread that a partition breaks, or −1 and what the spreads are worth there.
    private func judge(_ part: Int, _ judges: [SpreadJudge]) -> (broken: Int, shift: Int32) {
        var points: Int32 = 0
        for index in judges.indices {
            let domain = Int(domains[part * judges.count + index])
            let cap = Int32(Points.cap)
            let over = domain >= 0 ? judges[index].counts[domain] - judges[index].allowed : cap
            if over <= 0 { continue }
            if judges[index].price == 0 { return (index, 0) }
            points -= judges[index].price * min(over, cap)
        }
        return (-1, points)
    }

    /// The smallest count of the values that count: those with a node that the rules allow.
    private func leastCount(_ term: SpreadTerm, _ index: Int, _ world: World) -> Int32 {
        let counts = world.spreads[term.counts].counts
        let nodes = eligible[index]
        var least = Int32.max
        for domain in nodes.indices where nodes[domain] > 0 {
            least = min(least, counts[domain])
        }
        return least == .max ? 0 : least
    }

    /// By spread: how far beyond its skew `slot`'s value would be; `nil` without the label.
    func overSkew(_ slot: Int, _ world: World) -> [Int?] {
        var found: [Int?] = []
        for (index, term) in spreads.enumerated() {
            let domain = Int(world.spreads[term.counts].domains[slot])
            guard domain >= 0 else {
                found.append(nil)
                continue
            }
            let least = leastCount(term, index, world)
            let count = Int(world.spreads[term.counts].counts[domain] - least)
            found.append(count + (term.isSelf ? 1 : 0) - term.maxSkew)
        }
        return found
    }
}
