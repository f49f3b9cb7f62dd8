internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel

/// The options of a command that changes VMs, each in the same way.
struct BulkOptions: ParsableArguments {
    @OptionGroup var targets: TargetOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Change") var change: ChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions
}

/// A command that changes VMs, each in the same way.
protocol BulkCommand: RoostCommand {
    /// What has been done to a VM, such as `stopped`.
    static var verb: String { get }
    var options: BulkOptions { get }
    /// How long a call may take.
    func limit() throws(Fault) -> Duration?
    /// The change of one VM.
    func call(_ daemon: Daemon, _ call: OneCall) async throws -> Bulk.Change
}

/// One call of a bulk command.
struct OneCall: Sendable {
    var vm: String
    var project: String
    var isDryRun: Bool
    var metadata: Metadata
    var options: CallOptions
}

extension BulkCommand {
    var connection: ConnectionOptions { options.connection }

    func run(in invocation: Invocation) async throws -> Int32 {
        let callOptions = CallOptions.limited(to: try limit())
        let isDryRun = options.change.dryRun
        let work = Bulk(
            invocation: invocation,
            project: project,
            operation: try options.change.operation(),
            verb: Self.verb,
            format: options.output.output,
            isDryRun: isDryRun
        )
        return try await withDaemon(invocation) { daemon in
            let targets = try await work.targets(
                named: options.targets.vms,
                selector: options.targets.selector,
                of: daemon
            )
            let project = project
            return try await work.run(targets) { vm, metadata in
                try await call(
                    daemon,
                    OneCall(
                        vm: vm,
                        project: project,
                        isDryRun: isDryRun,
                        metadata: metadata,
                        options: callOptions
                    )
                )
            }
        }
    }
}
