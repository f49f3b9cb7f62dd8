internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost image`: the root file systems that VMs are made from.
struct ImageGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "image",
        abstract: "Look after images.",
        discussion: """
            Examples:
              roost image import debian --rootfs ./rootfs.tar --default
              roost image ls
            """,
        subcommands: [ImageList.self, ImageImport.self, ImageRemove.self, ImageDefault.self],
        aliases: ["images"]
    )
}

struct ImageList: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List images.",
        discussion: """
            Examples:
              roost image ls -o wide
            """,
        aliases: ["list"]
    )

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            let found = try await daemon.images.listImages(.init()).images
            try Printer(invocation, output.output).write(found)
            return ExitStatus.ok
        }
    }
}

struct ImageImport: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Make an image of a directory or an archive.",
        discussion: """
            Examples:
              roost image import debian --rootfs ./rootfs
              roost image import debian:12 --rootfs rootfs.tar.gz --default
              roost image import tool --oci image.tar
            """
    )

    @Argument(help: "The name to give it, with or without :tag.")
    var name: String

    @Option(help: ArgumentHelp("A root file system: a directory or a tar.", valueName: "path"))
    var rootfs: String?

    @Option(help: ArgumentHelp("An OCI layout or a docker save archive.", valueName: "path"))
    var oci: String?

    @Option(help: ArgumentHelp("A raw disk image with one ext4.", valueName: "path"))
    var disk: String?

    @Flag(name: .customLong("default"), help: "Make it the default image too.")
    var isDefault = false

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Change") var change: OperationOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        guard [rootfs, oci, disk].compactMap(\.self).count == 1 else {
            throw ValidationError("Name one of --rootfs, --oci and --disk.")
        }
    }

    func run(in invocation: Invocation) async throws -> Int32 {
        let operation = try change.operation()
        let begun = ContinuousClock.now
        let request = Roost_Image_V1_ImportImageRequest.with {
            $0.name = name
            $0.path = absolutePath(rootfs ?? oci ?? disk ?? "")
            $0.source = oci != nil ? .oci : disk != nil ? .disk : .unspecified
            $0.setDefault = isDefault
        }
        return try await withDaemon(invocation) { daemon in
            let image = try await daemon.images.importImage(
                request,
                metadata: metadata(operation)
            )
            let took = secondsText(ContinuousClock.now - begun)
            invocation.remark("\(operation.short)  imported \(name)  \(took)")
            try Printer(invocation, output.output == .table ? .name : output.output).write(image)
            return ExitStatus.ok
        }
    }
}

struct ImageRemove: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Remove images that no VM uses.",
        discussion: """
            Examples:
              roost image rm debian:11
            """
    )

    @Argument(help: ArgumentHelp("Names, digests or unique digest prefixes.", valueName: "image"))
    var images: [String]

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        try await removeEach(images, in: invocation) { daemon, reference, metadata in
            _ = try await daemon.images.deleteImage(
                .with { $0.reference = reference },
                metadata: metadata
            )
        }
    }
}

struct ImageDefault: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "default",
        abstract: "Choose the image of VMs that name none.",
        discussion: """
            Examples:
              roost image default debian
            """
    )

    @Argument(help: "A name, digest or unique digest prefix.")
    var image: String

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let operation = try operation()
        return try await withDaemon(invocation) { daemon in
            let request = Roost_Image_V1_SetDefaultRequest.with { $0.image = image }
            _ = try await daemon.images.setDefault(request, metadata: metadata(operation))
            invocation.remark("\(operation.short)  the default image is \(image)")
            return ExitStatus.ok
        }
    }
}

extension RoostCommand {
    /// Removes each of `references`, and goes on when one cannot be.
    func removeEach(
        _ references: [String],
        in invocation: Invocation,
        _ remove: (Daemon, String, Metadata) async throws -> Void
    ) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            var statuses: [Int32] = []
            for reference in references {
                let operation = try operation()
                do {
                    try await remove(daemon, reference, metadata(operation))
                    invocation.remark("\(operation.short)  removed \(reference)")
                    statuses.append(ExitStatus.ok)
                } catch {
                    statuses.append(report(error, subject: shown(reference), in: invocation))
                }
            }
            return ExitStatus.ofAll(statuses)
        }
    }
}

/// A path for the daemon, which does not know where this program runs.
func absolutePath(_ path: String) -> String {
    path.hasPrefix("/") || path.isEmpty ? path : "\(workingDirectory())/\(path)"
}
