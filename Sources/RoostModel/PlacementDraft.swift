/// Placement rules as they came in: nodes and VMs by whatever people call them, selectors as text.
package struct PlacementDraft: Hashable, Sendable, Codable {
    /// Names, ids or unique id prefixes.
    package var requiredNodes: [String] = []
    /// Likewise.
    package var excludedNodes: [String] = []
    package var preferredNodes: [NodeWish] = []
    /// A selector.
    package var requiredLabels = ""
    package var tolerations: [Toleration] = []
    package var affinities: [AffinityWish] = []
    package var spreads: [SpreadWish] = []

    package init() {}

    package var isEmpty: Bool { self == PlacementDraft() }

    /// A node that would be welcome.
    package struct NodeWish: Hashable, Sendable, Codable {
        package var node: String
        /// 1 … 100; 0 stands for 50.
        package var weight: Int

        package init(_ node: String, weight: Int = 0) {
            self.node = node
            self.weight = weight
        }
    }

    /// With or without other VMs.
    package struct AffinityWish: Hashable, Sendable, Codable {
        package var kind: AffinityRule.Kind
        /// A name, id or unique id prefix; empty when `selector` says which.
        package var vm: String
        package var selector: String
        /// 0: required; 1 … 100: wished.
        package var weight: Int

        package init(
            _ kind: AffinityRule.Kind,
            vm: String = "",
            selector: String = "",
            weight: Int = 0
        ) {
            self.kind = kind
            self.vm = vm
            self.selector = selector
            self.weight = weight
        }
    }

    /// Even numbers over a label's values.
    package struct SpreadWish: Hashable, Sendable, Codable {
        package var over: String
        /// Empty: the VMs that have all labels of this one.
        package var selector: String
        /// 1 … 1,000; 0 stands for 1.
        package var maxSkew: Int
        /// 0: required; 1 … 100: wished.
        package var weight: Int

        package init(over: String, selector: String = "", maxSkew: Int = 0, weight: Int = 0) {
            self.over = over
            self.selector = selector
            self.maxSkew = maxSkew
            self.weight = weight
        }
    }

    /// What a preferred node weighs when nothing is said.
    package static let usualWeight = 50
}

extension PlacementDraft {
    /// Everything that is wrong with its text and its numbers, in the order of the fields. What the
    /// rules say to each other is judged when they are resolved: ``PlacementRules/violations(field:)``.
    package func violations(field: String = "spec.placement") -> [FieldViolation] {
        var found: [FieldViolation] = []
        let lists = [
            ("required_nodes", requiredNodes.count, PlacementLimits.nodes),
            ("excluded_nodes", excludedNodes.count, PlacementLimits.nodes),
            ("preferred_nodes", preferredNodes.count, PlacementLimits.nodes),
            ("tolerations", tolerations.count, PlacementLimits.tolerations),
            ("affinities", affinities.count, PlacementLimits.affinities),
            ("spreads", spreads.count, PlacementLimits.spreads),
        ]
        for (name, count, limit) in lists where count > limit {
            found.append(.init("\(field).\(name)", "\(count) of them; at most \(limit)"))
        }
        // Longer lists are not read through.
        guard found.isEmpty else { return found }
        for (index, node) in requiredNodes.enumerated() {
            found += nodeViolations(node, "\(field).required_nodes[\(index)]")
        }
        for (index, node) in excludedNodes.enumerated() {
            found += nodeViolations(node, "\(field).excluded_nodes[\(index)]")
        }
        for (index, wish) in preferredNodes.enumerated() {
            found += nodeViolations(wish.node, "\(field).preferred_nodes[\(index)].node")
            found += weightViolations(wish.weight, "\(field).preferred_nodes[\(index)]")
        }
        found += selectorViolations(requiredLabels, "\(field).required_labels")
        for (index, toleration) in tolerations.enumerated() {
            let label = [toleration.key ?? "key": toleration.value ?? ""]
            found += labelViolations(label, field: "\(field).tolerations[\(index)]")
        }
        for (index, wish) in affinities.enumerated() {
            found += affinityViolations(wish, "\(field).affinities[\(index)]")
        }
        for (index, wish) in spreads.enumerated() {
            let path = "\(field).spreads[\(index)]"
            found += weightViolations(wish.weight, path)
            found += selectorViolations(wish.selector, "\(path).selector")
            if !(0...PlacementLimits.skew.upperBound).contains(wish.maxSkew) {
                found.append(.init("\(path).max_skew", "\(wish.maxSkew) is outside 0 … 1000"))
            }
            if !labelViolations([wish.over: ""], field: path).isEmpty {
                found.append(.init("\(path).over", "'\(shown(wish.over))' is not a label key"))
            }
        }
        return found
    }

    private func affinityViolations(_ wish: AffinityWish, _ path: String) -> [FieldViolation] {
        var found = weightViolations(wish.weight, path)
        switch (wish.vm.isEmpty, wish.selector.isEmpty) {
        case (true, true):
            found.append(.init(path, "names nobody: set vm or selector"))
        case (false, false):
            found.append(.init(path, "has both vm and selector; one of them says which VMs"))
        case (false, true):
            if let problem = referenceProblem(wish.vm) {
                found.append(.init("\(path).vm", problem))
            }
        case (true, false): found += selectorViolations(wish.selector, "\(path).selector")
        }
        return found
    }

    private func nodeViolations(_ text: String, _ path: String) -> [FieldViolation] {
        if text.isEmpty { return [.init(path, "is empty: name a node")] }
        return referenceProblem(text).map { [.init(path, $0)] } ?? []
    }

    private func weightViolations(_ weight: Int, _ path: String) -> [FieldViolation] {
        (0...PlacementLimits.weight.upperBound).contains(weight)
            ? [] : [.init("\(path).weight", "\(weight) is outside 0 … 100")]
    }

    private func selectorViolations(_ text: String, _ path: String) -> [FieldViolation] {
        do throws(Fault) {
            _ = try Selector(text)
            return []
        } catch {
            return error.violations.map { FieldViolation(path, $0.problem) }
        }
    }
}

extension Strength {
    /// Required at 0, else wished as much.
    package init(weight: Int) { self = weight == 0 ? .required : .preferred(weight: weight) }
}
