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

/// `roost undelete`: brings a VM back from the trash.
struct Undelete: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring a removed VM back, stopped.",
        discussion: """
            Examples:
              roost undelete box
              roost undelete box --name box2
            """
    )

    @Argument(help: "The name it had, its id, or a unique id prefix.")
    var vm: String

    @Option(help: "Another name for it.")
    var name: String?

    @OptionGroup var time: TimeoutOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Change") var change: ChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let options = CallOptions.limited(to: try time.duration())
        let request = Roost_Compute_V1_UndeleteVMRequest.with {
            $0.id = vm
            $0.project = project
            $0.validateOnly = change.dryRun
            $0.newName = name ?? ""
        }
        let bulk = Bulk(
            invocation: invocation,
            project: project,
            operation: try change.operation(),
            verb: "undeleted",
            format: output.output,
            isDryRun: change.dryRun
        )
        return try await withDaemon(invocation) { daemon in
            try await bulk.run([vm]) { _, metadata in
                try await daemon.vms.undeleteVM(request, metadata: metadata, options: options)
            }
        }
    }
}

/// `roost purge`: frees what removed VMs still hold.
struct Purge: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Free the disks of removed VMs for good.",
        discussion: """
            Examples:
              roost purge box
              roost purge --all
            """
    )

    @Argument(help: ArgumentHelp("Names, ids or unique id prefixes.", valueName: "vm"))
    var vms: [String] = []

    @Flag(help: "All that are in the trash.")
    var all = false

    @OptionGroup var time: TimeoutOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Change") var change: ChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        guard vms.isEmpty == all else {
            throw ValidationError("Name the VMs, or say --all; one of the two.")
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
            var targets = vms
            if all {
                let found = try await daemon.everyVM(
                    .with {
                        $0.project = project
                        $0.showDeleted = true
                    }
                )
                targets = found.filter { $0.hasDeleteTime }.map(\.id)
            }
            return try await bulk.run(targets) { vm, metadata in
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
