/// Where a VM may be, should be and must not be, apart from the room it takes.
///
/// Everything in one list must hold (or is wished) at once; an empty list asks for nothing.
package struct PlacementRules: Hashable, Sendable, Codable {
    /// It must be one of these nodes. Empty: any.
    package var requiredNodes: [NodeID]
    /// It must be none of these.
    package var excludedNodes: [NodeID]
    /// It had better be one of these.
    package var preferredNodes: [NodePreference]
    /// The node's labels must match.
    package var requiredLabels: Selector
    /// Taints that do not keep it away.
    package var tolerations: [Toleration]
    /// Together with, or apart from, other VMs on one node.
    package var affinities: [AffinityRule]
    /// Even numbers over the values of a node label, such as racks.
    package var spreads: [SpreadRule]
    /// What the node should have already.
    package var localities: [LocalityRule]

    package init(
        requiredNodes: [NodeID] = [],
        excludedNodes: [NodeID] = [],
        preferredNodes: [NodePreference] = [],
        requiredLabels: Selector = .all,
        tolerations: [Toleration] = [],
        affinities: [AffinityRule] = [],
        spreads: [SpreadRule] = [],
        localities: [LocalityRule] = []
    ) {
        self.requiredNodes = requiredNodes
        self.excludedNodes = excludedNodes
        self.preferredNodes = preferredNodes
        self.requiredLabels = requiredLabels
        self.tolerations = tolerations
        self.affinities = affinities
        self.spreads = spreads
        self.localities = localities
    }
}

/// How much a rule binds.
package enum Strength: Hashable, Sendable, Codable {
    /// A node that breaks it will not do.
    case required
    /// A node that keeps it is better. `weight` is 1 … 100: 100 outweighs everything that the
    /// room of a node says, 1 is a hundredth of that.
    case preferred(weight: Int)

    /// The weight of a wish, or `nil` for what must be.
    package var weight: Int? {
        if case .preferred(let weight) = self { weight } else { nil }
    }
}

/// A node that would be welcome.
package struct NodePreference: Hashable, Sendable, Codable {
    package var node: NodeID
    /// 1 … 100, as in ``Strength``.
    package var weight: Int

    package init(_ node: NodeID, weight: Int) {
        self.node = node
        self.weight = weight
    }
}

/// Which VMs a rule speaks of.
package enum VMGroup: Hashable, Sendable, Codable {
    /// One VM, by its identifier.
    case vm(VMID)
    /// Every VM whose labels match. ``Selector/all`` is every VM.
    case labels(Selector)

    /// Whether a VM with `id` and `labels` belongs to it.
    package func contains(_ id: VMID?, _ labels: [String: String]) -> Bool {
        switch self {
        case .vm(let one): one == id
        case .labels(let selector): selector.matches(labels)
        }
    }
}

/// Be on one node with, or never on one node with, the VMs of a group.
///
/// A required `apart` also keeps later VMs of the group away, as long as the VM that asked for it
/// is there. The first VM of a group that a required `together` names may go anywhere if it
/// belongs to the group itself.
package struct AffinityRule: Hashable, Sendable, Codable {
    package enum Kind: String, CaseIterable, Sendable, Codable {
        case together
        case apart
    }

    package var kind: Kind
    package var group: VMGroup
    package var strength: Strength

    package init(_ kind: Kind, _ group: VMGroup, _ strength: Strength = .required) {
        self.kind = kind
        self.group = group
        self.strength = strength
    }
}

/// Keep the numbers of a group's VMs even over the values of a node label.
///
/// A value counts when at least one node with it passes all rules about nodes (state, labels,
/// taints, required and excluded nodes, localities). A node without the label never passes a
/// required spread.
package struct SpreadRule: Hashable, Sendable, Codable {
    /// The label's key: `rack`, `zone`.
    package var over: String
    /// Whose numbers count.
    package var among: Selector
    /// How much more than the emptiest value any value may have, 1 … 1,000.
    package var maxSkew: Int
    package var strength: Strength

    package init(
        over: String,
        among: Selector,
        maxSkew: Int = 1,
        _ strength: Strength = .required
    ) {
        self.over = over
        self.among = among
        self.maxSkew = maxSkew
        self.strength = strength
    }
}

/// Something large that a node may have and another lacks.
package struct Artifact: Hashable, Comparable, Sendable, Codable {
    package enum Kind: String, CaseIterable, Sendable, Codable {
        case image
        case pool
        case checkpoint
        /// A prepared machine of an image.
        case template
    }

    package var kind: Kind
    /// An image's digest or its name on the node, a checkpoint's id, a pool's or template's name; at
    /// most 255 characters.
    package var name: String

    package init(_ kind: Kind, _ name: String) {
        self.kind = kind
        self.name = name
    }

    package static func < (left: Artifact, right: Artifact) -> Bool {
        (left.kind.rawValue, left.name) < (right.kind.rawValue, right.name)
    }
}

/// The node should have `artifact`, or must.
package struct LocalityRule: Hashable, Sendable, Codable {
    package var artifact: Artifact
    package var strength: Strength

    package init(_ artifact: Artifact, _ strength: Strength) {
        self.artifact = artifact
        self.strength = strength
    }
}

/// A mark on a node that keeps VMs away unless they tolerate it.
package struct Taint: Hashable, Comparable, Sendable, Codable {
    package enum Effect: String, CaseIterable, Sendable, Codable {
        /// Nothing new may come that does not tolerate it.
        case noSchedule
        /// Better not.
        case preferNoSchedule
    }

    package var key: String
    package var value: String
    package var effect: Effect

    package init(_ key: String, _ value: String = "", _ effect: Effect = .noSchedule) {
        self.key = key
        self.value = value
        self.effect = effect
    }

    package static func < (left: Taint, right: Taint) -> Bool {
        (left.key, left.value, left.effect.rawValue)
            < (right.key, right.value, right.effect.rawValue)
    }
}

/// Which taints do not matter to a VM. What is `nil` matches everything.
package struct Toleration: Hashable, Sendable, Codable {
    package var key: String?
    package var value: String?
    package var effect: Taint.Effect?

    package init(key: String? = nil, value: String? = nil, effect: Taint.Effect? = nil) {
        self.key = key
        self.value = value
        self.effect = effect
    }

    /// Whether `taint` does not matter.
    package func covers(_ taint: Taint) -> Bool {
        (key == nil || key == taint.key) && (value == nil || value == taint.value)
            && (effect == nil || effect == taint.effect)
    }
}
