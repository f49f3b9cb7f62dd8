internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost kernel`: the kernels that VMs boot.
struct KernelGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kernel",
        abstract: "Look after kernels.",
        discussion: """
            Examples:
              roost kernel import linux-image-6.1.0-13-cloud-amd64.deb --default
              roost kernel ls
            """,
        subcommands: [KernelList.self, KernelImport.self, KernelRemove.self, KernelDefault.self],
        aliases: ["kernels"]
    )
}

struct KernelList: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List kernels.",
        discussion: """
            Examples:
              roost kernel ls -o json
            """,
        aliases: ["list"]
    )

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            let found = try await daemon.images.listKernels(.init()).kernels
            try Printer(invocation, output.output).write(found)
            return ExitStatus.ok
        }
    }
}

struct KernelImport: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Take a kernel from a Debian package or a file.",
        discussion: """
            Examples:
              roost kernel import linux-image-6.1.0-13-cloud-amd64.deb
              roost kernel import /boot/vmlinuz-6.1.0-13-amd64 --modules /lib/modules/6.1.0-13-amd64
            """
    )

    @Argument(help: "A linux-image package, or a kernel.")
    var file: String

    @Option(help: "The name to give it; without one the file's.")
    var name: String?

    @Option(help: ArgumentHelp("The modules of a bare kernel.", valueName: "dir"))
    var modules: String?

    @Flag(name: .customLong("default"), help: "Make it the default kernel too.")
    var isDefault = false

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Change") var change: OperationOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let operation = try change.operation()
        let begun = ContinuousClock.now
        let request = Roost_Image_V1_ImportKernelRequest.with {
            $0.name = name ?? kernelName(of: file)
            $0.path = absolutePath(file)
            $0.modulesPath = absolutePath(modules ?? "")
            $0.setDefault = isDefault
        }
        return try await withDaemon(invocation) { daemon in
            let kernel = try await daemon.images.importKernel(
                request,
                metadata: metadata(operation)
            )
            let took = secondsText(ContinuousClock.now - begun)
            invocation.remark("\(operation.short)  imported \(request.name)  \(took)")
            try Printer(invocation, output.output == .table ? .name : output.output).write(kernel)
            return ExitStatus.ok
        }
    }
}

/// A kernel's name by its file: `6.1.0-13-amd64` for `linux-image-6.1.0-13-amd64_6.1.55_amd64.deb`
/// and for `vmlinuz-6.1.0-13-amd64`.
func kernelName(of file: String) -> String {
    var name = file.split(separator: "/").last.map(String.init) ?? file
    if name.hasSuffix(".deb") { name = String(name.dropLast(4).prefix { $0 != "_" }) }
    for prefix in ["linux-image-", "vmlinuz-"] where name.hasPrefix(prefix) {
        name.removeFirst(prefix.count)
    }
    return name
}

struct KernelRemove: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Remove kernels that no VM uses.",
        discussion: """
            Examples:
              roost kernel rm 6.1.0-13-amd64
            """
    )

    @Argument(help: ArgumentHelp("Names, digests or unique digest prefixes.", valueName: "kernel"))
    var kernels: [String]

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        try await removeEach(kernels, in: invocation) { daemon, reference, metadata in
            _ = try await daemon.images.deleteKernel(
                .with { $0.reference = reference },
                metadata: metadata
            )
        }
    }
}

struct KernelDefault: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "default",
        abstract: "Choose the kernel of VMs that name none.",
        discussion: """
            Examples:
              roost kernel default 6.1.0-13-cloud-amd64
            """
    )

    @Argument(help: "A name, digest or unique digest prefix.")
    var kernel: String

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let operation = try operation()
        return try await withDaemon(invocation) { daemon in
            let request = Roost_Image_V1_SetDefaultRequest.with { $0.kernel = kernel }
            _ = try await daemon.images.setDefault(request, metadata: metadata(operation))
            invocation.remark("\(operation.short)  the default kernel is \(kernel)")
            return ExitStatus.ok
        }
    }
}
