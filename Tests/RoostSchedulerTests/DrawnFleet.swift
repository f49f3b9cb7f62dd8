import RoostModel
import RoostScheduler
import RoostTestKit

/// Fleets, requests and changes drawn from a seed. Small and crowded, so that rules meet.
struct Draw {
    var chance: SplitMix64
    let racks = ["r1", "r2", "r3", "r4"]
    let zones = ["a", "b"]
    let apps = ["web", "db", "job"]

    init(seed: UInt64) { chance = SplitMix64(seed: seed) }

    mutating func under(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &chance) }
    mutating func oneIn(_ count: Int) -> Bool { under(count) == 0 }
    mutating func one<Element>(of list: [Element]) -> Element { list[under(list.count)] }

    mutating func node(_ number: Int) -> NodeFacts {
        var node = NodeFacts(
            id: NodeID(bits: UInt128(number)),
            name: "n\(number)",
            cores: 2 + under(4) * 2,
            memoryMiB: 2048 + under(4) * 1024,
            diskGiB: oneIn(3) ? nil : 20 + under(3) * 20
        )
        if oneIn(4) { node.policy.cpuRatio = 1.5 }
        if !oneIn(8) { node.labels["rack"] = one(of: racks) }
        if !oneIn(8) { node.labels["zone"] = one(of: zones) }
        if oneIn(3) { node.labels["ssd"] = "true" }
        if oneIn(6) { node.taints.append(Taint("gpu", "yes", .noSchedule)) }
        if oneIn(6) { node.taints.append(Taint("old", "", .preferNoSchedule)) }
        if oneIn(6) { node.state = one(of: NodeState.allCases) }
        if oneIn(2) { node.artifacts.insert(Artifact(.image, "debian")) }
        if oneIn(2) { node.artifacts.insert(Artifact(.pool, "fast")) }
        return node
    }

    mutating func strength() -> Strength {
        oneIn(2) ? .required : .preferred(weight: 1 + under(100))
    }

    mutating func selector() -> Selector {
        switch under(6) {
        case 0: .all
        case 1: Selector(terms: [.differs("app", one(of: apps))])
        case 2: Selector(terms: [.present("tier")])
        case 3: Selector(terms: [.equals("tier", "1"), .equals("app", one(of: apps))])
        default: Selector(terms: [.equals("app", one(of: apps))])
        }
    }

    mutating func request(nodes: [NodeFacts], vms: [VMID]) -> PlacementRequest {
        var request = PlacementRequest(
            cores: 1 + under(2),
            memoryMiB: 256 << under(3),
            diskGiB: oneIn(2) ? 0 : 4
        )
        if !oneIn(4) { request.labels["app"] = one(of: apps) }
        if oneIn(3) { request.labels["tier"] = oneIn(2) ? "1" : "2" }
        var rules = PlacementRules()
        if oneIn(8), let node = nodes.randomElement(using: &chance) {
            rules.requiredNodes = [node.id, one(of: nodes).id]
        }
        if oneIn(8), let node = nodes.randomElement(using: &chance),
            !rules.requiredNodes.contains(node.id)
        {
            rules.excludedNodes = [node.id]
        }
        if oneIn(6), let node = nodes.randomElement(using: &chance) {
            rules.preferredNodes = [NodePreference(node.id, weight: 1 + under(100))]
        }
        if oneIn(6) {
            rules.requiredLabels = Selector(terms: [
                one(of: [
                    .equals("zone", "a"), .differs("rack", "r1"), .present("ssd"), .absent("ssd"),
                ])
            ])
        }
        if oneIn(4) { rules.tolerations = [Toleration(key: oneIn(2) ? "gpu" : nil)] }
        while oneIn(3), rules.affinities.count < 4 {
            let group: VMGroup =
                oneIn(4) && !vms.isEmpty ? .vm(one(of: vms)) : .labels(selector())
            let rule = AffinityRule(oneIn(3) ? .together : .apart, group, strength())
            if !rules.affinities.contains(where: { $0.group == group }) {
                rules.affinities.append(rule)
            }
        }
        while oneIn(3), rules.spreads.count < 2 {
            let rule = SpreadRule(
                over: oneIn(2) ? "rack" : "zone",
                among: selector(),
                maxSkew: 1 + under(3),
                strength()
            )
            if !rules.spreads.contains(where: { $0.over == rule.over && $0.among == rule.among }) {
                rules.spreads.append(rule)
            }
        }
        if oneIn(5) { rules.localities.append(LocalityRule(Artifact(.pool, "fast"), strength())) }
        if oneIn(5) {
            rules.localities.append(LocalityRule(Artifact(.image, "debian"), strength()))
        }
        request.rules = rules
        if oneIn(12), let node = nodes.randomElement(using: &chance),
            !rules.excludedNodes.contains(node.id),
            rules.requiredNodes.isEmpty || rules.requiredNodes.contains(node.id)
        {
            request.node = node.id
        }
        return request
    }
}

/// The scheduler and its oracle, changed alike.
struct Twin {
    var draw: Draw
    var fleet: Fleet
    var naive: NaiveFleet
    /// Requests that come again, as they do.
    var shapes: [PlacementRequest] = []
    private var nextNode = 0
    private var nextVM = 0

    init(seed: UInt64, strategy: PlacementStrategy? = nil) {
        var draw = Draw(seed: seed)
        let chosen = strategy ?? draw.one(of: PlacementStrategy.allCases)
        // Few classes, so that some are dropped and made again.
        fleet = Fleet(strategy: chosen, classLimit: 1 + draw.under(6))
        naive = NaiveFleet(strategy: chosen)
        let count = 3 + draw.under(12)
        self.draw = draw
        for _ in 0..<count { join() }
    }

    var vms: [VMID] { naive.guests.map(\.vm) }

    mutating func join() {
        nextNode += 1
        // Ids in no order.
        let node = draw.node(nextNode * 7919 % 104_729)
        fleet.join([node])
        naive.nodes.append(node)
    }

    mutating func shape() -> PlacementRequest {
        if shapes.count < 8 || draw.oneIn(6) {
            shapes.append(draw.request(nodes: naive.nodes, vms: vms))
        }
        return draw.one(of: shapes)
    }

    mutating func newVM() -> VMID {
        nextVM += 1
        return VMID(bits: UInt128(nextVM * 7907 % 104_729))
    }

    mutating func put(
        _ vm: VMID,
        _ request: PlacementRequest,
        _ node: NodeID,
        isRunning: Bool = true
    ) throws {
        try fleet.add(vm, request, on: node, isRunning: isRunning)
        naive.guests.removeAll { $0.vm == vm }
        naive.guests.append(.init(vm: vm, request: request, node: node, isRunning: isRunning))
    }

    /// One change that is no placement.
    mutating func disturb() throws {
        switch draw.under(7) {
        case 0, 1, 2:
            guard let vm = vms.randomElement(using: &draw.chance) else { return }
            fleet.remove(vm)
            naive.guests.removeAll { $0.vm == vm }
        case 3:
            // What is, is: also where it does not fit.
            let request = shape()
            let vm = newVM()
            try put(vm, request, draw.one(of: naive.nodes).id, isRunning: !draw.oneIn(3))
        case 4:
            let index = draw.under(naive.nodes.count)
            var node = draw.node(index)
            node.id = naive.nodes[index].id
            if draw.oneIn(2) { node.labels = naive.nodes[index].labels }
            naive.nodes[index] = node
            fleet.join([node])
        case 5:
            guard naive.nodes.count < 20 else { return }
            join()
        default:
            guard naive.nodes.count > 3, draw.oneIn(2) else { return }
            let node = naive.nodes.remove(at: draw.under(naive.nodes.count))
            naive.guests.removeAll { $0.node == node.id }
            fleet.removeNode(node.id)
            shapes.removeAll { $0.node == node.id }
        }
    }
}
