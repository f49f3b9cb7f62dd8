internal import Glibc
package import RoostModel

/// Holds a directory for one process: an exclusive flock(2) on `<directory>/lock`, which the kernel
/// gives back when the holder dies, however it dies.
package final class DirectoryLock: Sendable {
    private let file: Descriptor

    /// Takes the lock at once, or throws ``Reason/stateDirectoryLocked`` with the holder's `pid`.
    package init(_ directory: String) throws(Fault) {
        let path = "\(directory)/lock"
        let number = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard number >= 0 else { throw systemFault("open", path, errno) }
        let file = Descriptor(number)
        guard retrying({ flock(file.number, LOCK_EX | LOCK_NB) }) == 0 else {
            guard errno == EWOULDBLOCK else { throw systemFault("lock", path, errno) }
            let text = (try? DurableFile.read(path, limit: 64)) ?? []
            let holder = String(decoding: text, as: UTF8.self).prefix { $0.isNumber }
            throw Fault(
                .stateDirectoryLocked,
                "'\(directory)' is held by process \(holder)",
                metadata: ["pid": String(holder), "path": directory]
            )
        }
        let pid = Array("\(getpid())\n".utf8)
        _ = ftruncate(file.number, 0)
        _ = pid.withUnsafeBytes { pwrite(file.number, $0.baseAddress, $0.count, 0) }
        self.file = file
    }

    /// Lets go. May be called twice.
    package func release() { file.close() }
}
