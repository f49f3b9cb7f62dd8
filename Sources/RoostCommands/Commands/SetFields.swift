internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost set`: changes what a VM shall be.
struct SetFields: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Change VMs; their guests see it at the next start.",
        discussion: """
            Examples:
              roost set box -m 1024
              roost set box -c 4 --label app=web --label old-
              roost set box -p 8080:80 -p 8443:443
              roost set -l app=web --label tier=front
            """
    )

    @OptionGroup var targets: TargetOptions

    @Option(name: .shortAndLong, help: "Virtual CPUs.")
    var cpus: Int32?

    @Option(name: .shortAndLong, help: "Memory in MiB, or with a unit: 512, 2g.")
    var memory: String?

    @Option(help: ArgumentHelp("The root disk in GiB; it only grows.", valueName: "size"))
    var disk: String?

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("The published ports, in place of all.", valueName: "host:guest[/udp]")
    )
    var publish: [String] = []

    @Flag(help: "Publish no port any more.")
    var noPublish = false

    @Option(help: ArgumentHelp("Set a label; key- takes it away.", valueName: "key=value"))
    var label: [String] = []

    @OptionGroup var time: TimeoutOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Change") var change: ChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        let isEmpty = cpus == nil && memory == nil && disk == nil && publish.isEmpty
        guard !isEmpty || noPublish || !label.isEmpty else {
            throw ValidationError("Say what to change, such as -m 1024.")
        }
    }

    func run(in invocation: Invocation) async throws -> Int32 {
        let request = try request()
        let options = CallOptions.limited(to: try time.duration())
        let bulk = Bulk(
            invocation: invocation,
            project: project,
            operation: try change.operation(),
            verb: "changed",
            format: output.output,
            isDryRun: change.dryRun
        )
        return try await withDaemon(invocation) { daemon in
            let vms = try await bulk.targets(
                named: targets.vms,
                selector: targets.selector,
                of: daemon
            )
            let (label, project) = (label, project)
            return try await bulk.run(vms) { vm, metadata in
                var plan = request
                plan.id = vm
                if !label.isEmpty {
                    let now = try await daemon.vms.getVM(
                        .with {
                            $0.id = vm
                            $0.project = project
                        }
                    )
                    // Nobody else's change of the labels is lost.
                    plan.etag = now.etag
                    plan.vm.labels = try changed(now.labels, by: label)
                    plan.updateMask.paths.append("labels")
                }
                let vm = try await daemon.vms.updateVM(plan, metadata: metadata, options: options)
                return .with {
                    $0.vm = vm
                    $0.changed = true
                }
            }
        }
    }

    private func request() throws(Fault) -> Roost_Compute_V1_UpdateVMRequest {
        var request = Roost_Compute_V1_UpdateVMRequest()
        request.project = project
        request.validateOnly = change.dryRun
        if let cpus {
            request.vm.spec.cpu.cores = cpus
            request.updateMask.paths.append("spec.cpu")
        }
        if let memory {
            request.vm.spec.memory.sizeMib = try memoryMebibytes(memory)
            request.updateMask.paths.append("spec.memory")
        }
        if let disk {
            request.vm.spec.disk.sizeGib = try diskGibibytes(disk)
            request.updateMask.paths.append("spec.disk")
        }
        if !publish.isEmpty || noPublish {
            for text in publish { request.vm.spec.ports.append(try publishedPort(text)) }
            request.updateMask.paths.append("spec.ports")
        }
        return request
    }
}
