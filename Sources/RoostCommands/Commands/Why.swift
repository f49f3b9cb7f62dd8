internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost why`: why a VM is where it is and as it is.
struct Why: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say why a VM is where it is and as it is.",
        discussion: """
            What was decided is what was known then; --not-on asks a node what it says now, and what \
            would have to change.

            Examples:
              roost why web-3
              roost why web-3 --not-on node1
              roost why web-3 -o json
            """,
        aliases: ["explain"]
    )

    @Argument(
        help: "The VM's name, id or unique id prefix.",
        completion: Candidates.vms.completion
    )
    var vm: String

    @Option(
        help: ArgumentHelp("Why not on this node?", valueName: "node"),
        completion: Candidates.nodes.completion
    )
    var notOn: String?

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            let answer = try await daemon.explanations.explainVM(
                .with {
                    $0.vm = vm
                    $0.project = project
                    $0.notOn = notOn ?? ""
                }
            )
            switch output.output {
            case .json: try invocation.write(indentedJSON(try answer.orderedJSON()) + "\n")
            case .yaml: try invocation.write(try yamlText(json: answer.orderedJSON()))
            case .name: try invocation.write(answer.nodeName + "\n")
            case .table, .wide: try invocation.write(answer.text)
            }
            return ExitStatus.ok
        }
    }
}

extension Roost_Ops_V1_ExplainVMResponse {
    /// The explanation in lines.
    var text: String {
        var lines = ["\(vmName) is \(state): \(reason)"]
        if !remedy.isEmpty { lines.append("hint: \(remedy)") }
        if !nodeID.isEmpty { lines.append("on \(nodeName)\(hasDecision ? decision.why : "")") }
        if hasDecision {
            for removal in decision.removed {
                lines.append("  \(removal.nodes) × \(removal.text)")
            }
            for (index, scored) in decision.best.enumerated() {
                lines.append("  \(index + 1). \(scored.text)")
            }
        }
        if hasNotOn {
            lines.append(notOn.text)
            if !notOn.change.isEmpty { lines.append("hint: \(notOn.change)") }
        }
        return lines.map { $0 + "\n" }.joined()
    }
}

extension Roost_Ops_V1_Decision {
    fileprivate var why: String {
        let when = "decided \(timeText(decideTime)) at revision \(revision)"
        let asked = isExplicit ? ", as asked for" : ""
        return "\(asked): \(fitting) of \(nodes) nodes fit, \(when)"
    }
}

extension Roost_Ops_V1_ScoredNode {
    /// The node with its score and the parts of that.
    fileprivate var text: String {
        let said = parts.map { "\($0.name) \($0.points)" }.joined(separator: ", ")
        return "\(nodeName): \(score)\(said.isEmpty ? "" : " (\(said))")"
    }
}
