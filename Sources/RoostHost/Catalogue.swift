package import RoostModel

/// The images and kernels of this node.
package protocol Catalogue: Sendable {
    /// What `reference` (a name, `name:tag`, a digest or a unique prefix of one; empty for the
    /// default) means now.
    func image(_ reference: String) async throws(Fault) -> ImageEntry
    /// Likewise for kernels.
    func kernel(_ reference: String) async throws(Fault) -> KernelEntry
    func images() async throws(Fault) -> [ImageEntry]
    func kernels() async throws(Fault) -> [KernelEntry]
}

/// One image in the catalogue.
package struct ImageEntry: Sendable, Hashable, Codable {
    /// `sha256:` and 64 digits, over the canonical manifest.
    package var digest: String
    package var names: [String]
    /// Bytes of its root file system's virtual disk.
    package var size: ByteCount
    package var createdAt: Timestamp
    /// Where it was pulled from, as `host/name@sha256:…`, sorted.
    package var origins: [String]
    /// What its maker says about running it.
    package var launch: ImageLaunch

    package init(
        digest: String,
        names: [String],
        size: ByteCount,
        createdAt: Timestamp,
        origins: [String] = [],
        launch: ImageLaunch = ImageLaunch()
    ) {
        self.digest = digest
        self.names = names
        self.size = size
        self.createdAt = createdAt
        self.origins = origins
        self.launch = launch
    }
}

/// How commands run in a guest of an image, where the request does not say.
package struct ImageLaunch: Sendable, Hashable, Codable {
    /// What a command is an argument of; empty for none.
    package var entrypoint: [String]
    /// What runs when no command is given; empty for none.
    package var command: [String]
    /// `NAME=VALUE`, each name once.
    package var environment: [String]
    /// Absolute; empty for the user's home.
    package var workingDirectory: String
    /// A name or `uid[:gid]`; empty for root.
    package var user: String

    package init(
        entrypoint: [String] = [],
        command: [String] = [],
        environment: [String] = [],
        workingDirectory: String = "",
        user: String = ""
    ) {
        self.entrypoint = entrypoint
        self.command = command
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.user = user
    }
}

/// One kernel in the catalogue.
package struct KernelEntry: Sendable, Hashable, Codable {
    package var digest: String
    package var names: [String]
    /// As `uname -r` says it.
    package var release: String
    /// The least memory with which it was seen to boot; 128 where unknown.
    package var memoryFloorMiB: Int

    package init(digest: String, names: [String], release: String, memoryFloorMiB: Int) {
        self.digest = digest
        self.names = names
        self.release = release
        self.memoryFloorMiB = memoryFloorMiB
    }
}
