package import RoostModel

/// What came of one question.
package enum Placement: Hashable, Sendable {
    case placed(Decision)
    case refused(Refusal)

    /// The chosen node, if one was.
    package var node: NodeID? {
        if case .placed(let decision) = self { decision.node } else { nil }
    }

    package var explanation: Explanation {
        switch self {
        case .placed(let decision): decision.explanation
        case .refused(let refusal): refusal.explanation
        }
    }
}

/// A node, why it, and under which condition it may be taken.
package struct Decision: Hashable, Sendable {
    package var node: NodeID
    package var explanation: Explanation
    package var reservation: Reservation
}

/// No node, and why none.
package struct Refusal: Hashable, Sendable {
    package var request: PlacementRequest
    package var explanation: Explanation
}

/// Why a decision is what it is: enough to store beside it. What happened to one node is worked
/// out on demand, by ``Fleet/verdict(_:on:)``.
package struct Explanation: Hashable, Sendable, Codable {
    /// The fleet's revision that it was decided at.
    package var revision: UInt64
    /// How many nodes there were.
    package var nodes: Int
    /// How many nodes each constraint removed, in the order of the checks. A node counts for the
    /// first that it failed; the counts and ``fitting`` add up to ``nodes``.
    package var removed: [Removal]
    /// How many nodes would do.
    package var fitting: Int
    /// The best of them, at most five, best first.
    package var best: [Scored]

    package struct Removal: Hashable, Sendable, Codable {
        package var constraint: Constraint
        package var nodes: Int

        package init(constraint: Constraint, nodes: Int) {
            self.constraint = constraint
            self.nodes = nodes
        }
    }
}

/// A node with its score and what the score is made of.
package struct Scored: Hashable, Sendable, Codable {
    package var node: NodeID
    /// The sum of the parts; the largest wins, then the smallest node id.
    package var score: Int
    package var parts: ScoreParts
}

/// The parts of a score, in points: 10,000 are one unit of weight, all of a node's room is
/// worth 1,000,000.
package struct ScoreParts: Hashable, Sendable, Codable {
    /// What is left of the node's room (spread), or what is not (pack).
    package var room = 0
    package var preferredNode = 0
    /// Taints that say "better not".
    package var taints = 0
    /// Images, pools and checkpoints.
    package var locality = 0
    /// VMs that it had better be with, or apart from.
    package var affinity = 0
    /// Values of labels that have too many already.
    package var spread = 0

    package var sum: Int { room + preferredNode + taints + locality + affinity + spread }

    /// Each with its name, in this order.
    package var named: [(name: String, points: Int)] {
        [
            ("room", room), ("preferred node", preferredNode), ("taints", taints),
            ("locality", locality), ("affinity", affinity), ("spread", spread),
        ]
    }
}

/// What must be unchanged for a decision to hold: decided on a snapshot, it is committed only if
/// neither the node nor any group it depends upon has changed since.
package struct Reservation: Hashable, Sendable, Codable {
    package var node: NodeID
    /// The revision of the node's latest change.
    package var nodeVersion: UInt64
    /// The groups of all required rules about other VMs, each once, in the order of the rules.
    package var groups: [GroupCondition]
}

/// A group that a decision depends upon.
package struct GroupCondition: Hashable, Sendable, Codable {
    package var group: VMGroup
    /// The revision of its latest change.
    package var version: UInt64
    package var reach: Reach

    /// Where a change can break the rule.
    package enum Reach: String, Sendable, Codable {
        /// On the chosen node only: whoever compares the node's version has compared this too.
        case node
        /// Anywhere: a spread, or being the first of a group.
        case fleet
    }

    package init(group: VMGroup, version: UInt64, reach: Reach) {
        self.group = group
        self.version = version
        self.reach = reach
    }
}

// MARK: For people

extension Explanation {
    /// The explanation in lines, for `why`.
    package func text(_ rules: PlacementRules, names: (NodeID) -> String) -> String {
        var lines = ["\(fitting) of \(nodes) nodes fit, at revision \(revision)"]
        for removal in removed {
            lines.append("  \(removal.nodes) × \(removal.constraint.text(rules))")
        }
        for (index, scored) in best.enumerated() {
            let parts = scored.parts.named.filter { $0.points != 0 }
                .map { "\($0.name) \($0.points)" }.joined(separator: ", ")
            lines.append("  \(index + 1). \(names(scored.node)): \(scored.score) (\(parts))")
        }
        return lines.joined(separator: "\n")
    }
}

extension Refusal {
    /// The refusal as a fault, with the constraint that removed most nodes first: no capacity if that
    /// is room, else no fitting node, with `change` as the remedy.
    package func fault(change: String? = nil) -> Fault {
        let counts = explanation.removed.sorted {
            ($0.nodes, $1.constraint.code) > ($1.nodes, $0.constraint.code)
        }
        let said = counts.map { "\($0.nodes) × \($0.constraint.text(request.rules))" }
            .joined(separator: ", ")
        if explanation.nodes == 0 { return Fault(.nodeNotFound, "no node has joined") }
        let foremost = counts.first { $0.constraint != .explicitNode }
        let isRoom = foremost?.constraint.isRoom ?? false
        var metadata = ["change": change ?? "add a node, or ask for less"]
        for count in counts { metadata["removed.\(count.constraint.name)"] = "\(count.nodes)" }
        return Fault(
            isRoom ? .noCapacity : .noNodeFits,
            "none of \(explanation.nodes) nodes fits \(request.cores) cores and "
                + "\(request.memoryMiB) MiB: \(said)",
            metadata: metadata
        )
    }
}
