import RoostModel
import RoostScheduler

/// The rules written down once more, as plainly as can be: every node, every VM, every time.
/// It shares nothing with the scheduler but the values that go in and come out.
struct NaiveFleet {
    struct Guest {
        var vm: VMID
        var request: PlacementRequest
        var node: NodeID
        var isRunning: Bool
    }

    var strategy: PlacementStrategy
    var nodes: [NodeFacts] = []
    var guests: [Guest] = []
    /// Room that was added to a node.
    var extra: [NodeID: (cores: Int, memory: Int, disk: Int)] = [:]

    struct Answer: Equatable {
        var node: NodeID?
        var score = 0
        var removed: [Constraint: Int] = [:]
    }

    func place(_ request: PlacementRequest, for vm: VMID?) -> Answer {
        var answer = Answer()
        for node in nodes.sorted(by: { $0.id < $1.id }) {
            if let broken = broken(request, vm, node) {
                answer.removed[broken, default: 0] += 1
                continue
            }
            let score = score(request, node)
            if answer.node == nil || score > answer.score {
                answer.node = node.id
                answer.score = score
            }
        }
        return answer
    }

    func on(_ node: NodeID) -> [Guest] { guests.filter { $0.node == node } }

    func all(_ node: NodeFacts) -> (cores: Int, memory: Int) {
        let cores = Double(max(0, node.cores - node.policy.reservedCores)) * node.policy.cpuRatio
        let memory =
            Double(max(0, node.memoryMiB - node.policy.reservedMemoryMiB))
            * node.policy.memoryRatio
        let more = extra[node.id] ?? (0, 0, 0)
        return (Int(cores) + more.cores, Int(memory) + more.memory)
    }

    func free(_ node: NodeFacts) -> (cores: Int, memory: Int) {
        let running = on(node.id).filter(\.isRunning)
        return (
            all(node).cores - running.reduce(0) { $0 + $1.request.cores },
            all(node).memory - running.reduce(0) { $0 + $1.request.memoryMiB }
        )
    }

    /// The rules that speak of the node alone.
    func nodeRule(_ request: PlacementRequest, _ node: NodeFacts) -> Constraint? {
        let rules = request.rules
        if node.state != .ready { return .state(node.state) }
        if !rules.requiredNodes.isEmpty, !rules.requiredNodes.contains(node.id) {
            return .requiredNodes
        }
        if rules.excludedNodes.contains(node.id) { return .excludedNodes }
        if !rules.requiredLabels.matches(node.labels) { return .requiredLabels }
        let bad = node.taints.contains { taint in
            taint.effect == .noSchedule && !rules.tolerations.contains { $0.covers(taint) }
        }
        if bad { return .taints }
        for (index, rule) in rules.localities.enumerated()
        where rule.strength == .required && !node.artifacts.contains(rule.artifact) {
            return .locality(index)
        }
        return nil
    }

    func broken(_ request: PlacementRequest, _ vm: VMID?, _ node: NodeFacts) -> Constraint? {
        if let asked = request.node, asked != node.id { return .explicitNode }
        if let rule = nodeRule(request, node) { return rule }
        let free = free(node)
        if free.cores < request.cores { return .cores }
        if free.memory < request.memoryMiB { return .memory }
        let disk = on(node.id).reduce(0) { $0 + $1.request.diskGiB }
        if let all = node.diskGiB, request.diskGiB > 0 {
            let more = extra[node.id]?.disk ?? 0
            if all + more - disk < request.diskGiB { return .disk }
        }
        for guest in on(node.id) {
            for rule in guest.request.rules.affinities
            where rule.kind == .apart && rule.strength == .required {
                if rule.group.contains(vm, request.labels) { return .repelled }
            }
        }
        for (index, rule) in request.rules.affinities.enumerated()
        where rule.strength == .required {
            let members = guests.filter { rule.group.contains($0.vm, $0.request.labels) }
            let isHere = members.contains { $0.node == node.id }
            let mayBeFirst = members.isEmpty && rule.group.contains(nil, request.labels)
            if rule.kind == .apart && isHere { return .affinity(index) }
            if rule.kind == .together && !isHere && !mayBeFirst { return .affinity(index) }
        }
        for (index, rule) in request.rules.spreads.enumerated() where rule.strength == .required {
            if over(rule, request, node) > 0 { return .spread(index) }
        }
        return nil
    }

    /// How far beyond its skew `node`'s value would be.
    func over(_ rule: SpreadRule, _ request: PlacementRequest, _ node: NodeFacts) -> Int {
        guard let value = node.labels[rule.over] else { return 16 }
        func count(_ value: String) -> Int {
            guests.count { guest in
                rule.among.matches(guest.request.labels)
                    && nodes.contains { $0.id == guest.node && $0.labels[rule.over] == value }
            }
        }
        let values = Set(
            nodes.filter { nodeRule(request, $0) == nil }.compactMap { $0.labels[rule.over] }
        )
        let least = values.map(count).min() ?? 0
        let own = rule.among.matches(request.labels) ? 1 : 0
        return count(value) + own - least - rule.maxSkew
    }

    func score(_ request: PlacementRequest, _ node: NodeFacts) -> Int {
        var score = 0
        for wish in request.rules.preferredNodes where wish.node == node.id {
            score += 10_000 * wish.weight
        }
        for taint in node.taints where taint.effect == .preferNoSchedule {
            if !request.rules.tolerations.contains(where: { $0.covers(taint) }) { score -= 500_000 }
        }
        for rule in request.rules.localities where node.artifacts.contains(rule.artifact) {
            score += 10_000 * (rule.strength.weight ?? 0)
        }
        for rule in request.rules.affinities {
            let here = on(node.id).count { rule.group.contains($0.vm, $0.request.labels) }
            let weight = 10_000 * (rule.strength.weight ?? 0)
            score += rule.kind == .together ? (here > 0 ? weight : 0) : -weight * min(here, 16)
        }
        for rule in request.rules.spreads {
            let over = min(max(0, over(rule, request, node)), 16)
            score -= 10_000 * (rule.strength.weight ?? 0) * over
        }
        let free = free(node)
        var room = 0
        if all(node).cores > 0 {
            room += (free.cores - request.cores) * 500_000 / all(node).cores
        }
        if all(node).memory > 0 {
            room += (free.memory - request.memoryMiB) * 500_000 / all(node).memory
        }
        return score + (strategy == .spread ? room : 1_000_000 - room)
    }
}
