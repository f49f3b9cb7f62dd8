internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost clone`: a stopped VM with another's disk.
struct Clone: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a VM with the disk of a stopped one, or of a checkpoint.",
        discussion: """
            The clone is stopped; it gets a host name, machine-id, SSH host keys and an Ethernet \
            address of its own when it first boots. It shares the disk until one of the two writes; \
            with --full it has every byte of its own. To copy a VM as it runs, memory and all: \
            roost fork.

            Examples:
              roost clone box box2
              roost clone box@1a2b old
              roost clone box backup --full
            """
    )

    @Argument(
        help: "The VM's name, id or unique id prefix; with @ and a checkpoint's, that.",
        completion: Candidates.vms.completion
    )
    var vm: String

    @Argument(help: "The clone's name.")
    var name: String

    @Flag(help: "Copy the whole disk.")
    var full = false

    @OptionGroup var time: TimeoutOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Change") var change: ChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let options = CallOptions.limited(to: try time.duration())
        let operation = try change.operation()
        let (isDryRun, project) = (change.dryRun, project)
        let place = try CheckpointPlace(reading: vm)
        let request = Roost_Compute_V1_CloneVMRequest.with {
            $0.id = place.vm
            $0.checkpoint = place.checkpoint
            $0.project = project
            $0.validateOnly = isDryRun
            $0.name = name
            $0.full = full
        }
        return try await withDaemon(invocation) { daemon in
            let begun = ContinuousClock.now
            let made = try await daemon.vms.cloneVM(
                request,
                metadata: metadata(operation),
                options: options
            )
            let did = isDryRun ? "would be cloned from" : "cloned from"
            let took = secondsText(ContinuousClock.now - begun)
            invocation.remark("\(operation.short)  \(made.name) \(did) \(vm)  \(took)")
            let format = output.output == .table ? .name : output.output
            try Printer(invocation, format).write(made)
            return ExitStatus.ok
        }
    }
}
