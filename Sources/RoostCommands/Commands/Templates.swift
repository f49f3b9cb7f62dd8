internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost template`: prepared disks that VMs begin as copies of.
struct TemplateGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "template",
        abstract: "Make, list and remove what VMs begin as copies of.",
        discussion: """
            A template is a VM's disk, with its memory where it is a checkpoint of one that ran. It \
            never changes. roost run --template NAME makes a VM from it, which goes on from the \
            memory, or boots. These are other than the templates that images get by themselves.

            Examples:
              roost template create built --from box@1a2b
              roost run --template built -- make test
              roost template ls
              roost template rm built
            """,
        subcommands: [TemplateCreate.self, TemplateList.self, TemplateRemove.self]
    )
}

struct TemplateCreate: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make a template of a stopped VM, or of a checkpoint.",
        discussion: """
            Examples:
              roost template create base --from box
              roost template create built --from box@1a2b
            """
    )

    @Argument(help: "The template's name.")
    var name: String

    @Option(
        help: ArgumentHelp("VM or VM@CHECKPOINT, such as box@1a2b.", valueName: "vm"),
        completion: Candidates.vms.completion
    )
    var from: String

    @OptionGroup var time: TimeoutOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Change") var change: ChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let options = CallOptions.limited(to: try time.duration())
        let operation = try change.operation()
        let (isDryRun, project) = (change.dryRun, project)
        let place = try CheckpointPlace(reading: from)
        let request = Roost_Compute_V1_CreateTemplateRequest.with {
            $0.id = place.vm
            $0.checkpoint = place.checkpoint
            $0.project = project
            $0.validateOnly = isDryRun
            $0.name = name
        }
        return try await withDaemon(invocation) { daemon in
            let begun = ContinuousClock.now
            let made = try await daemon.templates.createTemplate(
                request,
                metadata: metadata(operation),
                options: options
            )
            let did = isDryRun ? "would be made of" : "made of"
            let took = secondsText(ContinuousClock.now - begun)
            invocation.remark("\(operation.short)  \(made.name) \(did) \(from)  \(took)")
            let format = output.output == .table ? .name : output.output
            try Printer(invocation, format).write(made)
            return ExitStatus.ok
        }
    }
}

struct TemplateList: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List templates.",
        discussion: """
            USERS counts the VMs whose disks lie over it, also in the trash; -o wide names them.

            Examples:
              roost template ls
              roost template ls -o json
            """,
        aliases: ["list"]
    )

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let project = project
        return try await withDaemon(invocation) { daemon in
            let found = try await daemon.templates.listTemplates(
                .with { $0.project = project }
            ).templates
            try Printer(invocation, output.output).write(found)
            return ExitStatus.ok
        }
    }
}

struct TemplateRemove: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Remove a template; refused while a VM's disk lies over it.",
        discussion: """
            Examples:
              roost template rm built
            """,
        aliases: ["remove"]
    )

    @Argument(help: "The template's name or id.")
    var template: String

    @OptionGroup var time: TimeoutOptions
    @OptionGroup(title: "Change") var change: ChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let options = CallOptions.limited(to: try time.duration())
        let operation = try change.operation()
        let (isDryRun, project) = (change.dryRun, project)
        return try await withDaemon(invocation) { daemon in
            let gone = try await daemon.templates.deleteTemplate(
                .with {
                    $0.id = template
                    $0.project = project
                    $0.validateOnly = isDryRun
                },
                metadata: metadata(operation),
                options: options
            )
            let did = isDryRun ? "would be removed" : "removed"
            invocation.remark("\(operation.short)  \(gone.name) \(did)")
            return ExitStatus.ok
        }
    }
}
