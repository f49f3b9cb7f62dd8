import RoostModel

extension Fleet {
    /// The whole explanation of a choice.
    func explain(_ index: Int, _ choice: Choice) -> Explanation {
        var removed: [Explanation.Removal] = []
        var fitting = world.facts.count
        for code in classes[index].removed.indices.dropFirst()
        where classes[index].removed[code] > 0 {
            let nodes = Int(classes[index].removed[code])
            fitting -= nodes
            removed.append(.init(constraint: Constraint(code: UInt8(code)), nodes: nodes))
        }
        for (spread, nodes) in choice.removedBySpread.enumerated() where nodes > 0 {
            fitting -= nodes
            removed.append(.init(constraint: .spread(spread), nodes: nodes))
        }
        return Explanation(
            revision: world.revision,
            nodes: world.facts.count,
            removed: removed,
            fitting: fitting,
            best: choice.leaders.map { leader in
                let score = classes[index].tree[Int(leader.slot)]
                return scored(index, leader, leader.score - score)
            }
        )
    }

    /// A node's score with its parts; `shift` is the spread's part.
    func scored(_ index: Int, _ leader: Leader, _ shift: Int32) -> Scored {
        let slot = Int(leader.slot)
        let kind = classes[index].kind
        let rules = classes[index].rules
        var parts = ScoreParts()
        parts.room = world.strategy.points(
            world.rooms[slot].free.cores - world.kinds[kind].request.cores,
            world.rooms[slot].free.memoryMiB - world.kinds[kind].request.memoryMiB,
            of: world.rooms[slot].total
        )
        parts.preferredNode = rules.preferredPoints(world.facts[slot])
        parts.taints = rules.taintPoints(world.facts[slot])
        parts.locality = rules.localityPoints(world.facts[slot])
        for term in world.kinds[kind].affinities where term.weight > 0 {
            parts.affinity += term.points(world.groups[term.group].members[slot])
        }
        parts.spread = Int(shift)
        return Scored(node: world.facts[slot].id, score: Int(leader.score), parts: parts)
    }

    /// What must be unchanged for `slot` to be right.
    func reservation(_ slot: Int, _ kind: Int) -> Reservation {
        var groups: [GroupCondition] = []
        func add(_ number: Int, _ reach: GroupCondition.Reach) {
            let group = world.groups[number]
            if let known = groups.firstIndex(where: { $0.group == group.matcher }) {
                if reach == .fleet { groups[known].reach = .fleet }
            } else {
                groups.append(
                    GroupCondition(group: group.matcher, version: group.version, reach: reach)
                )
            }
        }
        for term in world.kinds[kind].affinities where term.weight == 0 {
            let isFirst = term.isTogether && world.groups[term.group].members[slot] == 0
            add(term.group, isFirst ? .fleet : .node)
        }
        for term in world.kinds[kind].spreads where term.weight == 0 { add(term.group, .fleet) }
        return Reservation(
            node: world.facts[slot].id,
            nodeVersion: world.versions[slot],
            groups: groups
        )
    }
}
