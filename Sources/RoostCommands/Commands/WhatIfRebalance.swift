internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost whatif rebalance`: which VMs had better be elsewhere.
struct WhatIfRebalance: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "rebalance",
        abstract: "Which VMs had better be elsewhere, and where?",
        discussion: """
            Advice: nothing moves by itself, and a disk stays on its node. A VM moves by being made \
            anew: roost rm, then roost run --node.

            Rules that are broken by now come first, then what gains most. Each move is possible when \
            those before it were made. 100000 points are a tenth of a node's room.

            Examples:
              roost whatif rebalance
              roost whatif rebalance --min-gain 250000 --limit 5 -o json
            """
    )

    @Option(
        help: ArgumentHelp(
            "The least gain that is worth a move, 1 to 10000000 points; 0: 100000.",
            valueName: "points"
        )
    )
    var minGain: Int64 = 0

    @Option(help: "At most so many moves, 1 to 1000; 0: 100.")
    var limit: Int32 = 0

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            let answer = try await daemon.explanations.recommendMoves(
                .with {
                    $0.minimumGain = minGain
                    $0.limit = limit
                }
            )
            switch output.output {
            case .json: try invocation.write(indentedJSON(try answer.orderedJSON()) + "\n")
            case .yaml: try invocation.write(try yamlText(json: answer.orderedJSON()))
            case .name: try invocation.write(answer.moves.map { $0.vmName + "\n" }.joined())
            case .table, .wide: try invocation.write(answer.text)
            }
            return ExitStatus.ok
        }
    }
}

extension Roost_Ops_V1_RecommendMovesResponse {
    /// The advice in lines.
    var text: String {
        guard !moves.isEmpty else { return "every VM is well where it is\n" }
        let noun = moves.count == 1 ? "VM" : "VMs"
        let lines =
            ["\(moves.count) \(noun) had better be elsewhere"]
            + moves.map { "  \($0.vmName): \($0.fromNodeName) to \($0.toNodeName), \($0.text)" }
        return lines.map { $0 + "\n" }.joined()
    }
}
