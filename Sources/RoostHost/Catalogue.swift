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

    package init(digest: String, names: [String], size: ByteCount, createdAt: Timestamp) {
        self.digest = digest
        self.names = names
        self.size = size
        self.createdAt = createdAt
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
