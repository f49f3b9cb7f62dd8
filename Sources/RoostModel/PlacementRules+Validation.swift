/// The bounds of what a placement may ask for. They bound what one decision can cost, too.
package enum PlacementLimits {
    package static let nodes = 64
    package static let tolerations = 64
    package static let affinities = 16
    package static let spreads = 4
    package static let localities = 8
    package static let taints = 32
    package static let artifacts = 10_000
    package static let weight = 1...100
    package static let skew = 1...1000
    package static let nodeCores = 1...65_536
    package static let nodeMemoryMiB = 1...1_073_741_824
    package static let nodeDiskGiB = 0...1_073_741_824
    package static let ratio = 0.01...1000.0
}

extension PlacementRules {
    /// Everything that is wrong with them, in the order of the fields, each with its path below
    /// `field`. Empty means they can be used, which does not mean that a node will do.
    package func violations(field: String = "spec.placement") -> [FieldViolation] {
        var found: [FieldViolation] = []
        found += count(requiredNodes, PlacementLimits.nodes, "\(field).required_nodes")
        found += count(excludedNodes, PlacementLimits.nodes, "\(field).excluded_nodes")
        found += count(preferredNodes, PlacementLimits.nodes, "\(field).preferred_nodes")
        found += count(tolerations, PlacementLimits.tolerations, "\(field).tolerations")
        found += count(affinities, PlacementLimits.affinities, "\(field).affinities")
        found += count(spreads, PlacementLimits.spreads, "\(field).spreads")
        found += count(localities, PlacementLimits.localities, "\(field).localities")
        guard found.isEmpty else { return found }
        found += nodeViolations(field)
        for (index, rule) in affinities.enumerated() {
            found += weight(rule.strength, "\(field).affinities[\(index)]")
            let opposite = AffinityRule(
                rule.kind == .apart ? .together : .apart,
                rule.group,
                .required
            )
            if rule.strength == .required, rule.kind == .apart, affinities.contains(opposite) {
                found.append(
                    .init(
                        "\(field).affinities[\(index)]",
                        "the same VMs are to be together with it and apart from it"
                    )
                )
            }
        }
        found += spreadViolations(field)
        for (index, rule) in localities.enumerated() {
            let path = "\(field).localities[\(index)]"
            found += weight(rule.strength, path)
            if rule.artifact.name.isEmpty {
                found.append(.init("\(path).name", "is empty"))
            } else if let problem = referenceProblem(rule.artifact.name) {
                found.append(.init("\(path).name", problem))
            }
        }
        return found
    }

    private func nodeViolations(_ field: String) -> [FieldViolation] {
        var found: [FieldViolation] = []
        for (index, node) in excludedNodes.enumerated() where requiredNodes.contains(node) {
            found.append(
                .init("\(field).excluded_nodes[\(index)]", "\(node) is required as well")
            )
        }
        for (index, wish) in preferredNodes.enumerated() {
            let path = "\(field).preferred_nodes[\(index)]"
            found += weight(.preferred(weight: wish.weight), path)
            if preferredNodes[..<index].contains(where: { $0.node == wish.node }) {
                found.append(.init("\(path).node", "\(wish.node) is named twice"))
            }
        }
        return found
    }

    private func spreadViolations(_ field: String) -> [FieldViolation] {
        var found: [FieldViolation] = []
        for (index, rule) in spreads.enumerated() {
            let path = "\(field).spreads[\(index)]"
            found += weight(rule.strength, path)
            if !labelViolations([rule.over: ""], field: path).isEmpty {
                found.append(.init("\(path).over", "'\(shown(rule.over))' is not a label key"))
            }
            if !PlacementLimits.skew.contains(rule.maxSkew) {
                found.append(.init("\(path).max_skew", "\(rule.maxSkew) is outside 1 … 1000"))
            }
            let isTwice = spreads[..<index].contains {
                $0.over == rule.over && $0.among == rule.among
            }
            if isTwice {
                found.append(.init(path, "'\(shown(rule.over))' is spread over twice"))
            }
        }
        return found
    }

    private func weight(_ strength: Strength, _ path: String) -> [FieldViolation] {
        guard let weight = strength.weight, !PlacementLimits.weight.contains(weight) else {
            return []
        }
        return [.init("\(path).weight", "\(weight) is outside 1 … 100")]
    }

    private func count<Element>(
        _ list: [Element],
        _ limit: Int,
        _ field: String
    ) -> [FieldViolation] {
        list.count > limit ? [.init(field, "\(list.count) of them; at most \(limit)")] : []
    }
}

extension NodeFacts {
    /// Everything in a node's facts that cannot be: what a node says of itself comes from outside.
    package var violations: [FieldViolation] {
        var found: [FieldViolation] = []
        func check(_ value: Int, _ range: ClosedRange<Int>, _ field: String) {
            if !range.contains(value) {
                found.append(
                    .init(field, "\(value) is outside \(range.lowerBound) … \(range.upperBound)")
                )
            }
        }
        check(cores, PlacementLimits.nodeCores, "node.cores")
        check(memoryMiB, PlacementLimits.nodeMemoryMiB, "node.memory_mib")
        if let diskGiB { check(diskGiB, PlacementLimits.nodeDiskGiB, "node.disk_gib") }
        check(policy.reservedCores, 0...PlacementLimits.nodeCores.upperBound, "node.reserved_cores")
        check(
            policy.reservedMemoryMiB,
            0...PlacementLimits.nodeMemoryMiB.upperBound,
            "node.reserved_memory_mib"
        )
        for (ratio, field) in [
            (policy.cpuRatio, "node.cpu_ratio"), (policy.memoryRatio, "node.memory_ratio"),
        ] where !PlacementLimits.ratio.contains(ratio) {
            found.append(.init(field, "\(ratio) is outside 0.01 … 1000"))
        }
        found += labelViolations(labels, field: "node.labels")
        if taints.count > PlacementLimits.taints {
            found.append(
                .init("node.taints", "\(taints.count) of them; at most \(PlacementLimits.taints)")
            )
        }
        for (index, taint) in taints.prefix(PlacementLimits.taints).enumerated() {
            found += labelViolations([taint.key: taint.value], field: "node.taints[\(index)]")
        }
        if artifacts.count > PlacementLimits.artifacts {
            found.append(
                .init(
                    "node.artifacts",
                    "\(artifacts.count) of them; at most \(PlacementLimits.artifacts)"
                )
            )
        }
        return found
    }
}
