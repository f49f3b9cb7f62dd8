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

    /// Takes the lock; waits while its holder is dead.
    ///
    /// A process that the holder was just starting has the lock's descriptor until it has become
    /// another program: a moment on a busy host, in which a daemon that follows a killed one comes.
    ///
    /// - Parameters:
    ///   - directory: Has the file `lock` in it.
    ///   - pause: What happens between two tries, of which there are at most 250.
    /// - Returns: the lock, held.
    /// - Throws: as ``init(_:)`` does, at once when the holder lives.
    package static func taken(
        _ directory: String,
        pause: () async throws -> Void = { try await Task.sleep(for: .milliseconds(20)) }
    ) async throws(Fault) -> DirectoryLock {
        var tries = 0
        while true {
            do throws(Fault) {
                return try DirectoryLock(directory)
            } catch  where error.reason == .stateDirectoryLocked && tries < 250 {
                guard let holder = error.metadata["pid"].flatMap(pid_t.init), isGone(holder) else {
                    throw error
                }
                tries += 1
                do { try await pause() } catch is CancellationError { throw error } catch {}
            }
        }
    }

    /// A zombie is gone too: its other threads may take a while to let go of what they held.
    private static func isGone(_ process: pid_t) -> Bool { ProcessIdentity(pid: process) == nil }

    /// Lets go. May be called twice.
    package func release() { file.close() }
}
