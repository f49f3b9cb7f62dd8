import RoostModel

/// The rules of a request that speak of a node alone: not of its room, not of other VMs.
///
/// Their answer changes only when the node's facts change, so a class keeps it.
struct NodeRules: Sendable {
    private let selector: Selector
    private let required: Set<NodeID>
    private let excluded: Set<NodeID>
    private let preferred: [NodeID: Int]
    private let tolerations: [Toleration]
    private let localities: [LocalityRule]

    init(_ rules: PlacementRules) {
        selector = rules.requiredLabels
        required = Set(rules.requiredNodes)
        excluded = Set(rules.excludedNodes)
        preferred = Dictionary(
            rules.preferredNodes.map { ($0.node, $0.weight) },
            uniquingKeysWith: { first, _ in first }
        )
        tolerations = rules.tolerations
        localities = rules.localities
    }

    /// The code of the first rule that `node` breaks, or 0.
    func verdict(_ node: NodeFacts) -> UInt8 {
        verdict(node, isLabelled: selector.matches(node.labels))
    }

    private func verdict(_ node: NodeFacts, isLabelled: Bool) -> UInt8 {
        if node.state != .ready { return Constraint.state(node.state).code }
        if !required.isEmpty, !required.contains(node.id) { return Constraint.requiredNodes.code }
        if !excluded.isEmpty, excluded.contains(node.id) { return Constraint.excludedNodes.code }
        if !isLabelled { return Constraint.requiredLabels.code }
        for taint in node.taints where taint.effect == .noSchedule && !isTolerated(taint) {
            return Constraint.taints.code
        }
        for (index, rule) in localities.enumerated() where rule.strength == .required {
            if !node.artifacts.contains(rule.artifact) { return Constraint.locality(index).code }
        }
        return 0
    }

    /// Whether some toleration covers `taint`.
    func isTolerated(_ taint: Taint) -> Bool { tolerations.contains { $0.covers(taint) } }

    /// What a preferred node is worth.
    func preferredPoints(_ node: NodeFacts) -> Int {
        preferred.isEmpty ? 0 : (preferred[node.id] ?? 0) * Points.unit
    }

    /// What taints that say "better not" cost, as a negative number.
    func taintPoints(_ node: NodeFacts) -> Int {
        if node.taints.isEmpty { return 0 }
        let avoided = node.taints.count { $0.effect == .preferNoSchedule && !isTolerated($0) }
        return -avoided * Points.taintWeight * Points.unit
    }

    /// What images, pools and checkpoints that are there are worth.
    func localityPoints(_ node: NodeFacts) -> Int {
        var points = 0
        for rule in localities {
            if let weight = rule.strength.weight, node.artifacts.contains(rule.artifact) {
                points += weight * Points.unit
            }
        }
        return points
    }

    /// All that a node itself is worth.
    func points(_ node: NodeFacts) -> Int32 {
        Int32(preferredPoints(node) + taintPoints(node) + localityPoints(node))
    }

    /// ``verdict(_:)`` and ``points(_:)`` of every node. Labels are looked up a column at a time,
    /// which is ten times as fast as a node at a time.
    func all(_ world: inout World) -> [EquivalenceClass.Mark] {
        var isLabelled = [Bool](repeating: true, count: world.facts.count)
        for term in selector.terms { strike(term, &world, &isLabelled) }
        let isPlain = preferred.isEmpty && localities.isEmpty
        return world.facts.indices.map { slot in
            let hasPoints = !isPlain || !world.facts[slot].taints.isEmpty
            return EquivalenceClass.Mark(
                bonus: hasPoints ? points(world.facts[slot]) : 0,
                fixed: verdict(world.facts[slot], isLabelled: isLabelled[slot])
            )
        }
    }

    private func strike(_ term: Selector.Term, _ world: inout World, _ mask: inout [Bool]) {
        switch term {
        case .equals(let key, let value):
            let column = world.column(key)
            let wanted = column.numberOf[value] ?? -2
            for slot in mask.indices where column.domains[slot] != wanted { mask[slot] = false }
        case .differs(let key, let value):
            let column = world.column(key)
            let refused = column.numberOf[value] ?? -2
            for slot in mask.indices where column.domains[slot] == refused { mask[slot] = false }
        case .present(let key):
            let column = world.column(key)
            for slot in mask.indices where column.domains[slot] < 0 { mask[slot] = false }
        case .absent(let key):
            let column = world.column(key)
            for slot in mask.indices where column.domains[slot] >= 0 { mask[slot] = false }
        }
    }
}
