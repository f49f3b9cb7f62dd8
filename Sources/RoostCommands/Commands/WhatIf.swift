internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost whatif`: what would come of a change.
struct WhatIfGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "whatif",
        abstract: "Say what would come of a change; nothing happens.",
        discussion: """
            The status is 7 when a VM would find no place.

            Examples:
              roost whatif add 40 --shape 2c4g
              roost whatif drain node3
              roost whatif lose node2
              roost whatif resize db --shape 8c16g
              roost whatif rebalance
            """,
        subcommands: [
            WhatIfAdd.self, WhatIfDrain.self, WhatIfLose.self, WhatIfResize.self,
            WhatIfRebalance.self,
        ]
    )
}

/// A question of `roost whatif`.
protocol WhatIfCommand: RoostCommand {
    var output: OutputOptions { get }
    func question() throws(Fault) -> Roost_Ops_V1_WhatIfRequest
}

extension WhatIfCommand {
    func run(in invocation: Invocation) async throws -> Int32 {
        let question = try question()
        return try await withDaemon(invocation) { daemon in
            let answer = try await daemon.explanations.whatIf(question)
            switch output.output {
            case .json: try invocation.write(indentedJSON(try answer.orderedJSON()) + "\n")
            case .yaml: try invocation.write(try yamlText(json: answer.orderedJSON()))
            case .name:
                try invocation.write(answer.arrivals.map { $0.nodeName + "\n" }.joined())
            case .table, .wide: try invocation.write(answer.text(wide: output.output == .wide))
            }
            return answer.refused == 0 ? ExitStatus.ok : ExitStatus.of(.noCapacity)
        }
    }
}

struct WhatIfAdd: WhatIfCommand {
    static let configuration = CommandConfiguration(
        commandName: "add",
        abstract: "So many VMs more, all alike.",
        discussion: """
            Examples:
              roost whatif add 40 --shape 2c4g
              roost whatif add 3 --shape 1c512m -l app=web --anti-affinity app=web
            """
    )

    @Argument(help: "How many, 1 to 100000.")
    var count: Int64

    @Option(help: ArgumentHelp("Cores and memory of each.", valueName: "2c4g"))
    var shape = "1c512m"

    @Option(name: .shortAndLong, help: ArgumentHelp("Set a label.", valueName: "key=value"))
    var label: [String] = []

    @Option(
        help: ArgumentHelp("Their image; the default without.", valueName: "ref"),
        completion: Candidates.images.completion
    )
    var image = ""

    @OptionGroup(title: "Placement") var placement: PlacementOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func question() throws(Fault) -> Roost_Ops_V1_WhatIfRequest {
        let (cores, memory) = try RoostCommands.shape(shape)
        let labels = try RoostCommands.labels(label)
        let rules = try placement.rules()
        let node = placement.node ?? ""
        return .with {
            $0.add = .with {
                $0.count = count
                $0.cores = cores
                $0.memoryMib = memory
                $0.labels = labels
                $0.placement = rules
                $0.node = node
                $0.image = image
            }
        }
    }
}

struct WhatIfDrain: WhatIfCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain",
        abstract: "A node is to be empty: where would its VMs have room?",
        discussion: """
            Examples:
              roost whatif drain node3
            """
    )

    @Argument(help: "The node.", completion: Candidates.nodes.completion)
    var node: String

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func question() throws(Fault) -> Roost_Ops_V1_WhatIfRequest { .with { $0.drain = node } }
}

struct WhatIfLose: WhatIfCommand {
    static let configuration = CommandConfiguration(
        commandName: "lose",
        abstract: "A node is gone: where would its VMs have room?",
        discussion: """
            Examples:
              roost whatif lose node2
            """
    )

    @Argument(help: "The node.", completion: Candidates.nodes.completion)
    var node: String

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func question() throws(Fault) -> Roost_Ops_V1_WhatIfRequest { .with { $0.lose = node } }
}

struct WhatIfResize: WhatIfCommand {
    static let configuration = CommandConfiguration(
        commandName: "resize",
        abstract: "A VM becomes larger or smaller: does it stay?",
        discussion: """
            Examples:
              roost whatif resize db --shape 8c16g
            """
    )

    @Argument(help: "The VM.", completion: Candidates.vms.completion)
    var vm: String

    @Option(help: ArgumentHelp("Its cores and memory then.", valueName: "2c4g"))
    var shape: String

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func question() throws(Fault) -> Roost_Ops_V1_WhatIfRequest {
        let (cores, memory) = try RoostCommands.shape(shape)
        let project = project
        return .with {
            $0.resize = .with {
                $0.vm = vm
                $0.project = project
                $0.cores = cores
                $0.memoryMib = memory
            }
        }
    }
}

extension Roost_Ops_V1_WhatIfResponse {
    /// The answer in lines; each step only when wide.
    func text(wide: Bool) -> String {
        var lines = ["\(placed) would have a place, \(refused) would have none"]
        for node in arrivals { lines.append("  \(node.vms) to \(node.nodeName)") }
        let names = Dictionary(
            arrivals.map { ($0.nodeID, $0.nodeName) },
            uniquingKeysWith: { first, _ in first }
        )
        for step in steps {
            let vm = step.vmName.isEmpty ? "the next" : step.vmName
            switch step.outcome {
            case .refused:
                lines.append("  \(vm) finds none: \(step.reason)")
                if !step.change.isEmpty { lines.append("hint: \(step.change)") }
            case .goes where wide && !step.vmID.isEmpty:
                lines.append("  \(vm) goes to \(names[step.toNodeID] ?? step.toNodeID)")
            case .stays where wide: lines.append("  \(vm) stays")
            case .goes, .stays, .unspecified, .UNRECOGNIZED: break
            }
        }
        if omittedSteps > 0 { lines.append("  and \(omittedSteps) more") }
        return lines.map { $0 + "\n" }.joined()
    }
}
