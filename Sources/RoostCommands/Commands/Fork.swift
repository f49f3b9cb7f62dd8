internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost fork`: copies of a VM that runs.
struct Fork: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Copy a running VM, with what runs in it, or one of its checkpoints.",
        discussion: """
            The copies share memory and disk with the VM until somebody writes. Each gets a host \
            name, machine-id, Ethernet address, SSH host keys and random numbers of its own before \
            anything in it goes on. The executables of its /etc/roost/on-fork.d run then, and when \
            one fails there is no copy; /run/roost/generation is another one in each. Its published ports lead to free host ports: roost ls. All \
            copies come to be, or none. Connections of the guests to elsewhere break; commands that \
            run in the VM do not notice.

            With a checkpoint, VM@CHECKPOINT, the VM need not run and does not notice anything; the \
            copies go on from there, or boot where the VM was stopped then.

            Examples:
              roost fork box --name box2
              roost fork box -n 8
              roost fork box --verify
              roost fork box@1a2b --name old
            """
    )

    @Argument(
        help: "The VM's name, id or unique id prefix; with @ and a checkpoint's, that.",
        completion: Candidates.vms.completion
    )
    var vm: String

    @Option(
        name: [.customShort("n"), .customLong("count")],
        help: "How many copies, at most 64; they are named VM-1, VM-2."
    )
    var count: Int32?

    @Option(help: "The copy's name; once for each copy.")
    var name: [String] = []

    @Flag(
        help: "Look into the VM and each copy afterwards, and fail when two have the same identity."
    )
    var verify = false

    @OptionGroup var time: TimeoutOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Change") var change: ChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let options = CallOptions.limited(to: try time.duration())
        let operation = try change.operation()
        let (isDryRun, project) = (change.dryRun, project)
        let place = try CheckpointPlace(reading: vm)
        let request = Roost_Compute_V1_ForkVMRequest.with {
            $0.id = place.vm
            $0.checkpoint = place.checkpoint
            $0.project = project
            $0.validateOnly = isDryRun
            if let count { $0.count = count }
            $0.names = name
        }
        return try await withDaemon(invocation) { daemon in
            let begun = ContinuousClock.now
            let answer = try await daemon.vms.forkVM(
                request,
                metadata: metadata(operation),
                options: options
            )
            let did = isDryRun ? "would be forked from" : "forked from"
            let names = answer.vms.map(\.name).joined(separator: " ")
            let took = secondsText(ContinuousClock.now - begun)
            invocation.remark("\(operation.short)  \(names) \(did) \(vm)  \(took)")
            let format = output.output == .table ? .name : output.output
            try Printer(invocation, format).write(answer.vms)
            guard verify, !isDryRun else { return ExitStatus.ok }
            let check = ForkCheck(daemon: daemon, project: project, operation: operation)
            let count = try await check.run(
                (place.checkpoint.isEmpty ? [request.id] : []) + answer.vms.map(\.id)
            )
            invocation.remark("verified: \(count) machines, each with an identity of its own")
            return ExitStatus.ok
        }
    }
}
