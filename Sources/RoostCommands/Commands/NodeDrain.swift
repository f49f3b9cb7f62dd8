internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// A command that does something to the VMs of a node.
protocol NodeVMsCommand: RoostCommand {
    /// What has been done to the node, such as `drained`.
    static var verb: String { get }
    var options: NodeChangeOptions { get }
    func call(_ daemon: Daemon, _ metadata: Metadata) async throws -> Roost_Fleet_V1_NodeChange
}

extension NodeVMsCommand {
    var connection: ConnectionOptions { options.connection }

    func run(in invocation: Invocation) async throws -> Int32 {
        let operation = try options.change.operation()
        return try await withDaemon(invocation) { daemon in
            let answer = try await call(daemon, metadata(operation))
            let isDryRun = options.change.dryRun
            switch options.output.output {
            case .json: try invocation.write(indentedJSON(try answer.orderedJSON()) + "\n")
            case .yaml: try invocation.write(try yamlText(json: answer.orderedJSON()))
            case .name: for vm in answer.vms { try invocation.write(vm.vmName + "\n") }
            case .table, .wide:
                let project = project
                for vm in answer.vms {
                    try invocation.write(
                        invocation.isQuiet
                            ? "\(vm.vmName)\n" : vm.line(isDryRun: isDryRun, in: project)
                    )
                }
            }
            for vm in answer.vms where vm.outcome == .failed {
                invocation.talk("error: \(vm.vmName): \(vm.message)\nhint: \(vm.remedy)")
            }
            let statuses = answer.vms.filter { $0.outcome == .failed }
                .map { Reason(rawValue: $0.reason).map(ExitStatus.of) ?? ExitStatus.failed }
            let name = answer.node.name.isEmpty ? options.node : answer.node.name
            let did =
                isDryRun
                ? "would be \(Self.verb)"
                : !statuses.isEmpty
                    ? "not wholly \(Self.verb)"
                    : answer.changed ? Self.verb : "already \(Self.verb)"
            invocation.remark("\(operation.short)  \(did) \(name)")
            return ExitStatus.ofAll(statuses)
        }
    }
}

struct NodeDrain: NodeVMsCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain",
        abstract: "Empty a node of what runs: cordon it, and stop its VMs or suspend them.",
        discussion: """
            Disks stay on the node, so no VM moves: none is started there, by anybody,
            until roost node uncordon, which starts again what the drain took down. It
            goes on when this command ends; roost node inspect tells how far it is. The
            status is not 0 when a VM could not be seen to.

            Examples:
              roost node drain node2 --dry-run
              roost node drain node2 --reason "new disks"
              roost node drain node2 --suspend
            """
    )
    static let verb = "drained"

    @Option(help: "Why, for whoever reads it later.")
    var reason = ""

    @Flag(help: "Keep the VMs' memory on disk; their processes go on after uncordon.")
    var suspend = false

    @Option(
        name: [.customShort("t"), .customLong("grace")],
        help: ArgumentHelp("How long a guest may take, such as 30s.", valueName: "duration")
    )
    var grace: String?

    @Flag(help: "Also when no other node takes VMs.")
    var force = false

    @OptionGroup var options: NodeChangeOptions

    func call(_ daemon: Daemon, _ metadata: Metadata) async throws -> Roost_Fleet_V1_NodeChange {
        let seconds = try grace.map { text throws(Fault) in
            try duration(text, flag: "-t").wholeSeconds
        }
        return try await daemon.nodes.drainNode(
            .with {
                $0.node = options.node
                $0.reason = reason
                $0.suspend = suspend
                if let seconds { $0.timeoutSeconds = seconds }
                $0.force = force
                $0.validateOnly = options.change.dryRun
            },
            metadata: metadata
        )
    }
}

struct NodeUncordon: NodeVMsCommand {
    static let configuration = CommandConfiguration(
        commandName: "uncordon",
        abstract: "Let VMs come to a node again, and start what its drain took down.",
        discussion: """
            A VM that somebody has stopped, deleted or otherwise seen to since its node
            was drained is left as it is.

            Examples:
              roost node uncordon node2
            """
    )
    static let verb = "uncordoned"

    @OptionGroup var options: NodeChangeOptions

    func call(_ daemon: Daemon, _ metadata: Metadata) async throws -> Roost_Fleet_V1_NodeChange {
        try await daemon.nodes.uncordonNode(
            .with {
                $0.node = options.node
                $0.validateOnly = options.change.dryRun
            },
            metadata: metadata
        )
    }
}

extension Roost_Fleet_V1_DrainedVM {
    /// A line for people: the VM, what became of it, and what to know about that.
    func line(isDryRun: Bool, in project: String) -> String {
        let own = project.isEmpty ? "default" : project
        let who = self.project == own ? vmName : "\(vmName) (project \(self.project))"
        guard !isDryRun else { return "\(who)  \(plan)\n" }
        let note =
            switch outcome {
            case .stopped where !fleet.isEmpty, .suspended where !fleet.isEmpty:
                "; the fleet \(fleet) makes no other in its place: its disk is here"
            case .already: "; nothing was to be done"
            case .left: message.isEmpty ? "; its owner has seen to it since" : "; \(message)"
            case .failed: "; \(message)"
            default: ""
            }
        return "\(who)  \(outcome.word)\(note)\n"
    }

    /// What would be done to it, and where there would be room for it.
    private var plan: String {
        if !roomOn.isEmpty {
            return "would be taken down; \(roomOn) has room, but its disk is here"
        }
        if !noRoom.isEmpty { return "would be taken down; no other node would do: \(noRoom)" }
        return "would be started again"
    }
}

extension Roost_Fleet_V1_DrainedVM.Outcome {
    /// As people read it.
    var word: String {
        switch self {
        case .pending: "pending"
        case .stopped: "stopped"
        case .suspended: "suspended"
        case .started: "started"
        case .already: "already done"
        case .gone: "gone"
        case .left: "left as it is"
        case .failed: "failed"
        case .unspecified, .UNRECOGNIZED: "unknown"
        }
    }
}
