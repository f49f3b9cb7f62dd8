internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost node`: the hosts that VMs are placed on.
struct NodeGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node",
        abstract: "Look at nodes, and say what may come to them.",
        discussion: """
            Examples:
              roost node ls
              roost node cordon node2 --reason "new disks"
              roost node label node1 rack=r1
              roost node taint node3 gpu=yes:noSchedule
              roost node drain node2 --suspend
            """,
        subcommands: [
            NodeList.self, NodeInspect.self, NodeCordon.self, NodeUncordon.self, NodeDrain.self,
            NodeLabel.self, NodeTaint.self, NodeRemove.self,
        ],
        aliases: ["nodes"]
    )
}

struct NodeList: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List nodes.",
        discussion: """
            Examples:
              roost node ls
              roost node ls -l rack=r1 -o wide
            """,
        aliases: ["list"]
    )

    @Option(
        name: [.customShort("l"), .customLong("selector")],
        help: "Only those whose labels match, such as rack=r1,!old."
    )
    var selector: String?

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            let found = try await daemon.nodes.listNodes(.with { $0.selector = selector ?? "" })
            try Printer(invocation, output.output).write(found.nodes)
            return ExitStatus.ok
        }
    }
}

struct NodeInspect: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Show a node: room, labels, taints.",
        discussion: """
            Examples:
              roost node inspect node1
              roost node inspect node1 -o json
            """,
        aliases: ["get"]
    )

    @Argument(
        help: "The node's name, id or unique id prefix.",
        completion: Candidates.nodes.completion
    )
    var node: String

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            let found = try await daemon.nodes.getNode(.with { $0.node = node })
            try Printer(invocation, output.output).write(found)
            return ExitStatus.ok
        }
    }
}

/// What every command has that changes one node.
struct NodeChangeOptions: ParsableArguments {
    @Argument(
        help: "The node's name, id or unique id prefix.",
        completion: Candidates.nodes.completion
    )
    var node: String

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Change") var change: ChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions
}

/// A command that changes one node.
protocol NodeCommand: RoostCommand {
    /// What has been done to it, such as `cordoned`.
    static var verb: String { get }
    var options: NodeChangeOptions { get }
    func call(_ daemon: Daemon, _ metadata: Metadata) async throws -> Roost_Fleet_V1_NodeChange
}

extension NodeCommand {
    var connection: ConnectionOptions { options.connection }

    func run(in invocation: Invocation) async throws -> Int32 {
        let operation = try options.change.operation()
        return try await withDaemon(invocation) { daemon in
            let answer = try await call(daemon, metadata(operation))
            let name = answer.node.name.isEmpty ? options.node : answer.node.name
            let did =
                options.change.dryRun
                ? "would be \(Self.verb)" : answer.changed ? Self.verb : "already \(Self.verb)"
            invocation.remark("\(operation.short)  \(did) \(name)")
            if options.output.output != .table {
                try Printer(invocation, options.output.output).write(answer.node)
            }
            return ExitStatus.ok
        }
    }
}

struct NodeCordon: NodeCommand {
    static let configuration = CommandConfiguration(
        commandName: "cordon",
        abstract: "Let no new VM come to a node; what is there stays.",
        discussion: """
            Examples:
              roost node cordon node2
              roost node cordon node2 --reason "new disks"
            """
    )
    static let verb = "cordoned"

    @Option(help: "Why, for whoever reads it later.")
    var reason = ""

    @OptionGroup var options: NodeChangeOptions

    func call(_ daemon: Daemon, _ metadata: Metadata) async throws -> Roost_Fleet_V1_NodeChange {
        try await daemon.nodes.cordonNode(
            .with {
                $0.node = options.node
                $0.reason = reason
                $0.validateOnly = options.change.dryRun
            },
            metadata: metadata
        )
    }
}

struct NodeLabel: NodeCommand {
    static let configuration = CommandConfiguration(
        commandName: "label",
        abstract: "Set a node's labels; key- takes one away.",
        discussion: """
            Examples:
              roost node label node1 rack=r1 disk=ssd
              roost node label node1 old-
            """
    )
    static let verb = "labelled"

    @OptionGroup var options: NodeChangeOptions

    @Argument(help: ArgumentHelp("Labels to set or take away.", valueName: "key=value|key-"))
    var labels: [String]

    func call(_ daemon: Daemon, _ metadata: Metadata) async throws -> Roost_Fleet_V1_NodeChange {
        var request = Roost_Fleet_V1_SetNodeLabelsRequest.with {
            $0.node = options.node
            $0.validateOnly = options.change.dryRun
        }
        for text in labels {
            if let key = removedKey(text) {
                request.remove.append(key)
            } else {
                request.set.merge(try RoostCommands.labels([text], flag: "label")) { $1 }
            }
        }
        return try await daemon.nodes.setNodeLabels(request, metadata: metadata)
    }
}

struct NodeTaint: NodeCommand {
    static let configuration = CommandConfiguration(
        commandName: "taint",
        abstract: "Set what keeps VMs away from a node; key- takes one away.",
        discussion: """
            Examples:
              roost node taint node3 gpu=yes
              roost node taint node3 slow:preferNoSchedule
              roost node taint node3 gpu-
            """
    )
    static let verb = "tainted"

    @OptionGroup var options: NodeChangeOptions

    @Argument(
        help: ArgumentHelp("Taints to set or take away.", valueName: "key[=value][:effect]|key-")
    )
    var taints: [String]

    func call(_ daemon: Daemon, _ metadata: Metadata) async throws -> Roost_Fleet_V1_NodeChange {
        var request = Roost_Fleet_V1_SetNodeTaintsRequest.with {
            $0.node = options.node
            $0.validateOnly = options.change.dryRun
        }
        for text in taints {
            if let key = removedKey(text) {
                request.remove.append(key)
            } else {
                let taint = try TaintFlag(text, flag: "taint")
                request.set.append(
                    .with {
                        $0.key = taint.key
                        $0.value = taint.value ?? ""
                        $0.effect = taint.effect
                    }
                )
            }
        }
        return try await daemon.nodes.setNodeTaints(request, metadata: metadata)
    }
}

/// The key that `key-` takes away; `nil` for anything else.
private func removedKey(_ text: String) -> String? {
    guard text.count > 1, text.hasSuffix("-"), !text.contains("="), !text.contains(":") else {
        return nil
    }
    return String(text.dropLast())
}
