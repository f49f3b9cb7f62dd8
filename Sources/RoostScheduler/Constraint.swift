package import RoostModel

/// Why a node was removed. A node counts for the first of them that it fails, in this order.
package enum Constraint: Hashable, Sendable {
    /// The request names another node.
    case explicitNode
    /// The node's state takes no new VMs.
    case state(NodeState)
    case requiredNodes
    case excludedNodes
    case requiredLabels
    case taints
    /// The rule of this index in ``PlacementRules/localities``.
    case locality(Int)
    case cores
    case memory
    case disk
    /// A VM that is there wants to be apart from VMs like this one.
    case repelled
    /// The rule of this index in ``PlacementRules/affinities``.
    case affinity(Int)
    /// The rule of this index in ``PlacementRules/spreads``.
    case spread(Int)
}

extension Constraint {
    /// The order of the checks in small numbers; 0 is kept for "fits".
    var code: UInt8 {
        switch self {
        case .explicitNode: 1
        case .state(.ready): 2
        case .state(.cordoned): 3
        case .state(.draining): 4
        case .state(.notReady): 5
        case .state(.lost): 6
        case .requiredNodes: 7
        case .excludedNodes: 8
        case .requiredLabels: 9
        case .taints: 10
        case .locality(let index): 16 + UInt8(index)
        case .cores: 32
        case .memory: 33
        case .disk: 34
        case .repelled: 35
        case .affinity(let index): 48 + UInt8(index)
        case .spread(let index): 64 + UInt8(index)
        }
    }

    /// How many codes there may be.
    static let codes = 72

    /// The constraint of a code that ``code`` gave.
    init(code: UInt8) {
        switch code {
        case 1: self = .explicitNode
        case 2: self = .state(.ready)
        case 3: self = .state(.cordoned)
        case 4: self = .state(.draining)
        case 5: self = .state(.notReady)
        case 6: self = .state(.lost)
        case 7: self = .requiredNodes
        case 8: self = .excludedNodes
        case 9: self = .requiredLabels
        case 10: self = .taints
        case 16..<32: self = .locality(Int(code - 16))
        case 32: self = .cores
        case 33: self = .memory
        case 34: self = .disk
        case 35: self = .repelled
        case 48..<64: self = .affinity(Int(code - 48))
        case 64..<72: self = .spread(Int(code - 64))
        default: preconditionFailure("no constraint has the code \(code)")
        }
    }

    /// Whether it speaks of room, which time or another VM's end may bring.
    package var isRoom: Bool {
        switch self {
        case .cores, .memory, .disk: true
        case .explicitNode, .state, .requiredNodes, .excludedNodes, .requiredLabels, .taints,
            .locality, .repelled, .affinity, .spread:
            false
        }
    }

    /// What a node that fails it is or lacks, for people: `37 × too few cores`.
    package func text(_ rules: PlacementRules) -> String {
        switch self {
        case .explicitNode: "not the node that was asked for"
        case .state(let state): "\(state.rawValue)"
        case .requiredNodes: "not a required node"
        case .excludedNodes: "excluded"
        case .requiredLabels: "labels are not \(rules.requiredLabels.text)"
        case .taints: "a taint that is not tolerated"
        case .locality(let index):
            "has no \(rules.localities[index].artifact.kind.rawValue) "
                + "\(rules.localities[index].artifact.name)"
        case .cores: "too few cores left"
        case .memory: "too little memory left"
        case .disk: "too little disk left"
        case .repelled: "a VM there keeps apart from such VMs"
        case .affinity(let index):
            (rules.affinities[index].kind == .apart ? "has " : "has not ")
                + "\(rules.affinities[index].group.text)"
        case .spread(let index):
            "more than \(rules.spreads[index].maxSkew) ahead in its \(rules.spreads[index].over)"
        }
    }
}

extension VMGroup {
    /// The group for people.
    package var text: String {
        switch self {
        case .vm(let id): "VM \(id.short)"
        case .labels(let selector): selector.terms.isEmpty ? "any VM" : "VMs with \(selector.text)"
        }
    }
}

extension Constraint {
    /// A name for programs.
    package var name: String {
        switch self {
        case .explicitNode: "explicitNode"
        case .state(let state): "state.\(state.rawValue)"
        case .requiredNodes: "requiredNodes"
        case .excludedNodes: "excludedNodes"
        case .requiredLabels: "requiredLabels"
        case .taints: "taints"
        case .locality(let index): "locality.\(index)"
        case .cores: "cores"
        case .memory: "memory"
        case .disk: "disk"
        case .repelled: "repelled"
        case .affinity(let index): "affinity.\(index)"
        case .spread(let index): "spread.\(index)"
        }
    }

    /// Each constraint that there may be, by its code.
    private static let all: [Constraint] = {
        let lone: [Constraint] = [
            .explicitNode, .requiredNodes, .excludedNodes, .requiredLabels, .taints, .cores,
            .memory, .disk, .repelled,
        ]
        let numbered =
            (0..<PlacementLimits.localities).map(Constraint.locality)
            + (0..<PlacementLimits.affinities).map(Constraint.affinity)
            + (0..<PlacementLimits.spreads).map(Constraint.spread)
        return (lone + NodeState.allCases.map(Constraint.state) + numbered)
            .sorted { $0.code < $1.code }
    }()

    /// Reads what ``name`` wrote; `nil` for anything else.
    package init?(name: String) {
        guard let found = Self.all.first(where: { $0.name == name }) else { return nil }
        self = found
    }
}

// Stored by name: a number would change its meaning with the order of the checks.
extension Constraint: Codable {
    package init(from decoder: any Decoder) throws {
        let name = try decoder.singleValueContainer().decode(String.self)
        guard let found = Self(name: name) else {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: decoder.codingPath,
                    debugDescription: "not a constraint: \(shown(name))"
                )
            )
        }
        self = found
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(name)
    }
}
