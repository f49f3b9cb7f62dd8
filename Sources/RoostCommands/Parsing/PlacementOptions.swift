internal import ArgumentParser
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// Where a new VM may be, should be and must not be.
struct PlacementOptions: ParsableArguments {
    @Option(help: "The node to run on: this one or none.", completion: Candidates.nodes.completion)
    var node: String?

    @Option(help: "A node not to run on.", completion: Candidates.nodes.completion)
    var notNode: [String] = []

    @Option(
        help: ArgumentHelp("A node that had better be it, by weight.", valueName: "node[:1-100]"),
        completion: Candidates.nodes.completion
    )
    var preferNode: [String] = []

    @Option(help: ArgumentHelp("A label that the node must have.", valueName: "key=value"))
    var requireLabel: [String] = []

    @Option(
        help: ArgumentHelp(
            "On the node of a VM, or of VMs with these labels; with a weight: if it can be.",
            valueName: "vm|key=value[:1-100]"
        )
    )
    var affinity: [String] = []

    @Option(
        help: ArgumentHelp(
            "Never on the node of a VM, or of VMs with these labels.",
            valueName: "vm|key=value[:1-100]"
        )
    )
    var antiAffinity: [String] = []

    @Option(
        help: ArgumentHelp(
            "Even numbers over a node label, among VMs with the same labels as this one.",
            valueName: "key[:skew]"
        )
    )
    var spreadOver: [String] = []

    @Option(
        help: ArgumentHelp(
            "A taint that does not keep it away.",
            valueName: "key[=value][:effect]"
        )
    )
    var toleration: [String] = []

    /// The rules that the flags say.
    ///
    /// - Throws: ``Reason/invalidFields`` naming the flag.
    func rules() throws(Fault) -> Roost_Fleet_V1_Placement {
        var rules = Roost_Fleet_V1_Placement()
        rules.excludedNodes = notNode
        for text in preferNode {
            let (node, weight) = try weighted(text, flag: "--prefer-node")
            rules.preferredNodes.append(
                .with {
                    $0.node = node
                    $0.weight = weight
                }
            )
        }
        rules.requiredLabels = requireLabel.joined(separator: ",")
        for text in affinity {
            rules.affinities.append(try group(text, .together, flag: "--affinity"))
        }
        for text in antiAffinity {
            rules.affinities.append(try group(text, .apart, flag: "--anti-affinity"))
        }
        for text in spreadOver { rules.spreads.append(try spread(text)) }
        for text in toleration { rules.tolerations.append(try tolerated(text)) }
        return rules
    }

    /// `vm`, or a selector when there is `=`, `!` or `,` in it.
    private func group(
        _ text: String,
        _ kind: Roost_Fleet_V1_Affinity.Kind,
        flag: String
    ) throws(Fault) -> Roost_Fleet_V1_Affinity {
        let (group, weight) = try weighted(text, flag: flag)
        return .with {
            $0.kind = kind
            $0.weight = weight
            if group.contains(where: { "=!,".contains($0) }) {
                $0.selector = group
            } else {
                $0.vm = group
            }
        }
    }

    private func spread(_ text: String) throws(Fault) -> Roost_Fleet_V1_Spread {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        let skew = parts.count == 2 ? Int32(parts[1]) : 1
        guard parts.count <= 2, let over = parts.first, !over.isEmpty, let skew, skew > 0 else {
            throw .invalid("--spread-over", "'\(shown(text))' is not key or key:skew")
        }
        return .with {
            $0.over = String(over)
            $0.maxSkew = skew
        }
    }

    private func tolerated(_ text: String) throws(Fault) -> Roost_Fleet_V1_Toleration {
        let taint = try TaintFlag(text, flag: "--toleration")
        return .with {
            $0.key = taint.key
            if let value = taint.value { $0.value = value }
            $0.effect = taint.effect
        }
    }

    /// What stands before the last colon, and the weight after it; 0 without one.
    private func weighted(
        _ text: String,
        flag: String
    ) throws(Fault) -> (name: String, weight: Int32) {
        guard let colon = text.lastIndex(of: ":") else {
            guard !text.isEmpty else { throw .invalid(flag, "is empty") }
            return (text, 0)
        }
        let name = String(text[..<colon])
        guard !name.isEmpty, let weight = Int32(text[text.index(after: colon)...]),
            (1...100).contains(weight)
        else {
            throw .invalid(flag, "'\(shown(text))' ends in no weight of 1 to 100")
        }
        return (name, weight)
    }
}

/// A taint, or what tolerates one: `key`, `key=value`, either with `:noSchedule` or
/// `:preferNoSchedule`.
struct TaintFlag {
    var key: String
    /// `nil` when none was written.
    var value: String?
    /// Unspecified when none was written.
    var effect: Roost_Fleet_V1_Taint.Effect

    init(_ text: String, flag: String) throws(Fault) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        switch parts.count == 2 ? parts[1].lowercased() : "" {
        case "" where parts.count == 1: effect = .unspecified
        case "noschedule": effect = .noSchedule
        case "prefernoschedule": effect = .preferNoSchedule
        default:
            throw .invalid(
                flag,
                "'\(shown(text))' ends in neither :noSchedule nor :preferNoSchedule"
            )
        }
        let pair = parts[0].split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        key = String(pair[0])
        value = pair.count == 2 ? String(pair[1]) : nil
        guard !key.isEmpty else {
            throw .invalid(flag, "'\(shown(text))' is not key, key=value or key=value:effect")
        }
    }
}

/// Reads a shape such as `2c4g`: cores, then memory.
func shape(_ text: String) throws(Fault) -> (cores: Int32, memoryMiB: Int64) {
    let lowercase = text.lowercased()
    guard let mark = lowercase.firstIndex(of: "c"), let cores = Int32(lowercase[..<mark]),
        cores > 0,
        let memory = try? memoryMebibytes(String(lowercase[lowercase.index(after: mark)...]))
    else { throw .invalid("--shape", "'\(shown(text))' is not cores and memory, such as 2c4g") }
    return (cores, memory)
}
