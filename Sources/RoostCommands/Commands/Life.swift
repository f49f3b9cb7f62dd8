internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost rm`: removes VMs.
struct Remove: BulkCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Remove VMs; their disks go to the trash.",
        discussion: """
            Examples:
              roost rm box
              roost rm -f --purge box
              roost rm -f -l app=web
            """,
        aliases: ["delete"]
    )
    static let verb = "removed"

    @Flag(name: .shortAndLong, help: "Kill a VM that runs.")
    var force = false

    @Flag(help: "Free the disks at once instead of keeping them in the trash.")
    var purge = false

    @OptionGroup var time: TimeoutOptions
    @OptionGroup var options: BulkOptions

    func limit() throws(Fault) -> Duration? { try time.duration() }

    func call(_ daemon: Daemon, _ call: OneCall) async throws -> Bulk.Change {
        try await daemon.vms.deleteVM(
            .with {
                $0.id = call.vm
                $0.project = call.project
                $0.validateOnly = call.isDryRun
                $0.force = force
                $0.purge = purge
            },
            metadata: call.metadata,
            options: call.options
        )
    }
}

/// `roost undelete`: brings VMs back from the trash.
struct Undelete: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring removed VMs back, stopped.",
        discussion: """
            Examples:
              roost undelete box
              roost undelete box --name box2
              roost undelete -l app=web
            """
    )

    @OptionGroup var targets: TrashOptions

    @Option(help: "Another name for it; with one VM only.")
    var name: String?

    @OptionGroup var time: TimeoutOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Change") var change: ChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        guard targets.vms.isEmpty == (targets.selector != nil) else {
            throw ValidationError("Name the VMs, or select them with -l; one of the two.")
        }
        guard name == nil || targets.vms.count == 1 else {
            throw ValidationError("--name goes with one VM.")
        }
    }

    func run(in invocation: Invocation) async throws -> Int32 {
        let options = CallOptions.limited(to: try time.duration())
        let (project, isDryRun, name) = (project, change.dryRun, name ?? "")
        let bulk = Bulk(
            invocation: invocation,
            project: project,
            operation: try change.operation(),
            verb: "undeleted",
            format: output.output,
            isDryRun: isDryRun
        )
        return try await withDaemon(invocation) { daemon in
            let removed = try await bulk.targets(
                named: targets.vms,
                selector: targets.selector,
                of: daemon,
                deleted: true
            )
            return try await bulk.run(removed) { vm, metadata in
                try await daemon.vms.undeleteVM(
                    .with {
                        $0.id = vm
                        $0.project = project
                        $0.validateOnly = isDryRun
                        $0.newName = name
                    },
                    metadata: metadata,
                    options: options
                )
            }
        }
    }
}

/// Which removed VMs a command is about.
struct TrashOptions: ParsableArguments {
    @Argument(
        help: ArgumentHelp("Names they had, ids or unique id prefixes.", valueName: "vm"),
        completion: Candidates.removedVMs.completion
    )
    var vms: [String] = []

    @Option(
        name: [.customShort("l"), .customLong("selector")],
        help: "All in the trash whose labels match, such as app=web,tier!=cache."
    )
    var selector: String?
}

/// `roost purge`: frees what removed VMs still hold.
struct Purge: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Free the disks of removed VMs for good.",
        discussion: """
            Examples:
              roost purge box
              roost purge -l app=web
              roost purge --all
            """
    )

    @OptionGroup var targets: TrashOptions

    @Flag(help: "All that are in the trash.")
    var all = false

    @OptionGroup var time: TimeoutOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Change") var change: ChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        let ways = [!targets.vms.isEmpty, targets.selector != nil, all]
        guard ways.filter(\.self).count == 1 else {
            throw ValidationError("Name the VMs, select them with -l, or say --all; one of these.")
        }
    }

    func run(in invocation: Invocation) async throws -> Int32 {
        let options = CallOptions.limited(to: try time.duration())
        let (project, isDryRun) = (project, change.dryRun)
        let bulk = Bulk(
            invocation: invocation,
            project: project,
            operation: try change.operation(),
            verb: "purged",
            format: output.output,
            isDryRun: isDryRun
        )
        return try await withDaemon(invocation) { daemon in
            let removed = try await bulk.targets(
                named: targets.vms,
                selector: all ? "" : targets.selector,
                of: daemon,
                deleted: true
            )
            return try await bulk.run(removed) { vm, metadata in
                try await daemon.vms.purgeVM(
                    .with {
                        $0.id = vm
                        $0.project = project
                        $0.validateOnly = isDryRun
                    },
                    metadata: metadata,
                    options: options
                )
            }
        }
    }
}
