import Crypto
import Glibc
import RoostImages
import RoostLinux
import RoostModel
import Synchronization

/// The initramfs that goes with a kernel and *this* build's agent.
///
/// A kernel's own holds the agent of the build that imported it. After an upgrade host and guest would
/// speak different versions, so another one is made beside it, once for each pair, and kept in
/// `initramfs/<kernel>-<agent>.cpio`.
final class AgentInitramfs: Sendable {
    private let directory: String
    private let agentPath: String
    private let known = Mutex<(stamp: String, digest: String)?>(nil)

    init(directory: String, agentPath: String) {
        self.directory = directory
        self.agentPath = agentPath
    }

    /// The path to boot `kernel` with. Blocks: for some milliseconds, once after an upgrade.
    func initramfs(of kernel: CatalogueEntry<KernelManifest>) throws(Fault) -> String {
        let stored = "\(kernel.path)/initramfs.cpio"
        let digest = try agentDigest()
        if kernel.manifest.agentDigest == digest { return stored }
        let path = "\(directory)/\(kernel.digest.prefix(16))-\(digest.prefix(16)).cpio"
        if access(path, R_OK) == 0 { return path }
        try makeDirectories(directory)
        let staging = "\(path).\(getpid())"
        unlink(staging)
        let file = try DiskFile.creating(staging, mode: 0o600)
        try Initramfs.write(
            try DiskFile.reading(stored).readAll(limit: .mebibytes(256)),
            withAgent: try DiskFile.reading(agentPath).readAll(limit: .mebibytes(64)),
            to: file
        )
        try file.sync()
        guard rename(staging, path) == 0 else {
            throw Fault(.ioFailed, "cannot publish \(path): \(String(cString: strerror(errno)))")
        }
        try DurableFile.syncDirectory(directory)
        return path
    }

    /// SHA-256 of the agent, computed anew when the file has changed.
    private func agentDigest() throws(Fault) -> String {
        var facts = stat()
        guard stat(agentPath, &facts) == 0 else {
            throw Fault(.hostNotReady, "the guest's agent is not at \(agentPath): make build")
        }
        let stamp =
            "\(facts.st_ino) \(facts.st_size) \(facts.st_mtim.tv_sec).\(facts.st_mtim.tv_nsec)"
        if let known = known.withLock({ $0 }), known.stamp == stamp { return known.digest }
        let bytes = try DiskFile.reading(agentPath).readAll(limit: .mebibytes(64))
        let digest = SHA256.hash(data: bytes).map { byte in
            String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
        }
        .joined()
        known.withLock { $0 = (stamp, digest) }
        return digest
    }
}
