package import RoostModel

/// How a guest made from an image runs.
package struct ImageConfiguration: Codable, Hashable, Sendable {
    /// Who is process 1.
    package enum InitMode: String, Codable, Hashable, Sendable {
        /// The agent stays process 1 and starts what it is told to.
        case agent
        /// The agent hands over to the image's own `/sbin/init`.
        case system
    }

    /// What a command is an argument of; nil for none.
    package var entrypoint: [String]?
    /// What runs when no command is given; empty for none.
    package var command: [String]
    /// `NAME=VALUE`, each name once.
    package var environment: [String]
    /// Where commands run; absolute.
    package var workingDirectory: String
    /// Who commands run as: a name or number, with `:GROUP` after it if wanted.
    package var user: String
    /// Who is process 1.
    package var initMode: InitMode

    /// Makes a configuration; by default a root shell under the agent.
    package init(
        entrypoint: [String]? = nil,
        command: [String] = [],
        environment: [String] = [],
        workingDirectory: String = "/",
        user: String = "0:0",
        initMode: InitMode = .agent
    ) {
        self.entrypoint = entrypoint
        self.command = command
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.user = user
        self.initMode = initMode
    }
}

/// What an image is: its id is the digest of this.
package struct ImageManifest: CatalogueManifest {
    /// The version of this form and of the writer; another one is another image.
    package var formatVersion: Int
    /// SHA-256 over the tree of files, 64 hexadecimal digits.
    package var treeDigest: String
    /// The size of the root disk in bytes.
    package var diskBytes: UInt64
    /// How it runs.
    package var configuration: ImageConfiguration

    package static let files = ["root.ext4"]
    package static let noun = "image"
    package static let missing = Reason.imageNotFound

    /// Makes a manifest of the present version.
    package init(treeDigest: String, diskBytes: UInt64, configuration: ImageConfiguration) {
        formatVersion = 1
        self.treeDigest = treeDigest
        self.diskBytes = diskBytes
        self.configuration = configuration
    }
}

/// The images of a host: `DIGEST/root.ext4`, a read-only raw disk with one ext4 file system.
package typealias ImageCatalogue = Catalogue<ImageManifest>

extension Catalogue<ImageManifest> {
    /// The disk that a VM's overlay stands on.
    package static func rootDisk(_ entry: CatalogueEntry<ImageManifest>) -> String {
        "\(entry.path)/root.ext4"
    }

    /// Makes an image whose files `fill` adds. Blocking.
    ///
    /// - Parameters:
    ///   - size: The root disk's size; a VM may have a larger one.
    ///   - configuration: How a guest made from it runs.
    ///   - fill: Adds the files.
    /// - Returns: The entry, which may have been there before.
    /// - Throws: What `fill` throws; `limitExceeded` if the files do not fit; `diskFull`.
    package func importImage(
        size: ByteCount,
        configuration: ImageConfiguration,
        fill: (Ext4Builder) throws(Fault) -> Void
    ) throws(Fault) -> CatalogueEntry<ImageManifest> {
        try assemble(size: size, configuration: configuration) { builder, _ throws(Fault) in
            try fill(builder)
        }
    }

    /// As ``importImage(size:configuration:fill:)``, with the private folder for scratch files,
    /// which `fill` removes again.
    func assemble(
        size: ByteCount,
        configuration: ImageConfiguration,
        fill: (Ext4Builder, _ folder: String) throws(Fault) -> Void
    ) throws(Fault) -> CatalogueEntry<ImageManifest> {
        try make { folder throws(Fault) in
            let file = try DiskFile.creating("\(folder)/root.ext4", mode: 0o444)
            let builder = try Ext4Builder(file: file, size: size)
            try fill(builder, folder)
            let summary = try builder.finish()
            return ImageManifest(
                treeDigest: hexadecimal(summary.treeDigest),
                diskBytes: size.bytes,
                configuration: configuration
            )
        }
    }

    /// Imports an uncompressed tar of a root file system, such as mmdebstrap writes.
    package func importArchive(
        _ source: ByteSource,
        limits: TarLimits = TarLimits(),
        size: ByteCount,
        configuration: ImageConfiguration = ImageConfiguration()
    ) throws(Fault) -> CatalogueEntry<ImageManifest> {
        try importImage(size: size, configuration: configuration) { builder throws(Fault) in
            try builder.add(TarReader(source, limits: limits))
        }
    }

    /// Imports a directory of the host as a root file system.
    package func importDirectory(
        _ path: String,
        owners: ImportedOwners = .asOnDisk,
        size: ByteCount,
        configuration: ImageConfiguration = ImageConfiguration()
    ) throws(Fault) -> CatalogueEntry<ImageManifest> {
        try importImage(size: size, configuration: configuration) { builder throws(Fault) in
            try builder.add(hostDirectory: path, owners: owners)
        }
    }
}
