internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost checkpoint`: moments of VMs that are kept.
struct CheckpointGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "checkpoint",
        abstract: "Keep a VM as it is now, or remove what was kept.",
        discussion: """
            Of a running VM memory and disk are kept: it stands still for a moment, and its \
            connections to elsewhere break. So with a paused one, which stays paused. Of a stopped \
            one the disk is kept. roost log lists checkpoints, roost back goes back to one, roost \
            fork VM@CHECKPOINT makes a VM of one.

            Examples:
              roost checkpoint box -m "before upgrade"
              roost checkpoint rm box@1a2b
            """,
        subcommands: [CheckpointCreate.self, CheckpointRemove.self],
        defaultSubcommand: CheckpointCreate.self
    )
}

struct CheckpointCreate: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Keep a VM as it is now. What roost checkpoint does by itself.",
        discussion: """
            Examples:
              roost checkpoint create box -m "before upgrade"
            """
    )

    @Argument(
        help: "The VM's name, id or unique id prefix.",
        completion: Candidates.vms.completion
    )
    var vm: String

    @Option(name: .shortAndLong, help: "What to say about it, in one line.")
    var message = ""

    @OptionGroup var time: TimeoutOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Change") var change: ChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let options = CallOptions.limited(to: try time.duration())
        let operation = try change.operation()
        let (isDryRun, project, message) = (change.dryRun, project, message)
        let request = Roost_Compute_V1_CreateCheckpointRequest.with {
            $0.id = vm
            $0.project = project
            $0.validateOnly = isDryRun
            $0.message = message
        }
        return try await withDaemon(invocation) { daemon in
            let begun = ContinuousClock.now
            let made = try await daemon.checkpoints.createCheckpoint(
                request,
                metadata: metadata(operation),
                options: options
            )
            if isDryRun {
                invocation.remark("\(request.id) would be kept")
                return ExitStatus.ok
            }
            let took = secondsText(ContinuousClock.now - begun)
            invocation.remark(
                "\(operation.short)  \(request.id)@\(made.shortID) kept \(made.kind)  \(took)"
            )
            let format = output.output == .table ? .name : output.output
            try Printer(invocation, format).write(made)
            return ExitStatus.ok
        }
    }
}

struct CheckpointRemove: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Remove a checkpoint; what others need of it stays.",
        discussion: """
            Its children become its parent's. The VM itself does not change.

            Examples:
              roost checkpoint rm box@1a2b
            """,
        aliases: ["remove"]
    )

    @Argument(help: ArgumentHelp("VM@CHECKPOINT, such as box@1a2b.", valueName: "checkpoint"))
    var place: String

    @OptionGroup var time: TimeoutOptions
    @OptionGroup(title: "Change") var change: ChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let options = CallOptions.limited(to: try time.duration())
        let operation = try change.operation()
        let target = try CheckpointPlace(requiredIn: place)
        let (isDryRun, project) = (change.dryRun, project)
        return try await withDaemon(invocation) { daemon in
            _ = try await daemon.checkpoints.deleteCheckpoint(
                .with {
                    $0.id = target.vm
                    $0.checkpoint = target.checkpoint
                    $0.project = project
                    $0.validateOnly = isDryRun
                },
                metadata: metadata(operation),
                options: options
            )
            let did = isDryRun ? "would be removed" : "removed"
            invocation.remark("\(operation.short)  \(target.vm)@\(target.checkpoint) \(did)")
            return ExitStatus.ok
        }
    }
}

/// `roost log`: the checkpoints of a VM.
struct CheckpointLog: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "log",
        abstract: "List the checkpoints of a VM, newest first, or as a tree.",
        discussion: """
            The one with the star is where the VM comes from: the next one's parent. SIZE is what a \
            checkpoint took on the disk when it was made; -o wide says how much of that is memory. \
            For what the guest wrote to its console: roost logs.

            Examples:
              roost log box
              roost log box --graph
              roost log box -o json
            """
    )

    @Argument(
        help: "The VM's name, id or unique id prefix.",
        completion: Candidates.vms.completion
    )
    var vm: String

    @Flag(help: "As a tree, the oldest first.")
    var graph = false

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        guard !graph || output.output == .table else {
            throw ValidationError("--graph and -o exclude each other.")
        }
    }

    func run(in invocation: Invocation) async throws -> Int32 {
        let project = project
        return try await withDaemon(invocation) { daemon in
            let found = try await daemon.checkpoints.listCheckpoints(
                .with {
                    $0.id = vm
                    $0.project = project
                }
            ).checkpoints
            if graph {
                try invocation.write(CheckpointGraph(found).text(now: secondsNow()))
            } else {
                try Printer(invocation, output.output).write(Array(found.reversed()))
            }
            return ExitStatus.ok
        }
    }
}

/// `roost back`: a VM becomes what it was.
struct Back: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring a VM back to one of its checkpoints, in place.",
        discussion: """
            It keeps its id, name, address and ports. It runs afterwards if it ran then, with what \
            ran in it, and is stopped if it was. What it has become since is lost unless it was \
            kept: roost checkpoint. Every byte is compared with its digest before anything is \
            dropped.

            Examples:
              roost back box@1a2b
              roost back box@1a2b --force
            """
    )

    @Argument(help: ArgumentHelp("VM@CHECKPOINT, such as box@1a2b.", valueName: "checkpoint"))
    var place: String

    @Flag(name: .shortAndLong, help: "Also while commands run in it; they are cut off.")
    var force = false

    @OptionGroup var time: TimeoutOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Change") var change: ChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let options = CallOptions.limited(to: try time.duration())
        let operation = try change.operation()
        let target = try CheckpointPlace(requiredIn: place)
        let (isDryRun, project, force) = (change.dryRun, project, force)
        return try await withDaemon(invocation) { daemon in
            let begun = ContinuousClock.now
            let answer = try await daemon.checkpoints.revertVM(
                .with {
                    $0.id = target.vm
                    $0.checkpoint = target.checkpoint
                    $0.project = project
                    $0.validateOnly = isDryRun
                    $0.force = force
                },
                metadata: metadata(operation),
                options: options
            )
            let did = isDryRun ? "would be back at" : "back at"
            let took = secondsText(ContinuousClock.now - begun)
            invocation.remark(
                "\(operation.short)  \(answer.vm.name) \(did) \(target.checkpoint)"
                    + "  \(answer.vm.status.state.word)  \(took)"
            )
            let format = output.output == .table ? .name : output.output
            try Printer(invocation, format).write(answer.vm)
            return ExitStatus.ok
        }
    }
}
