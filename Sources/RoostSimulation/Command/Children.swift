import Glibc

/// Processes of this program that run a share of the seeds each.
struct Children {
    /// How one ended.
    struct Ended {
        var words: String
        /// As `wait` says it: 0 when all is well.
        var status: Int32
        var output: [Substring]
    }

    private struct Child {
        var words: [String]
        /// A file without a name that takes its output.
        var output: Int32
    }

    private let limit: Int
    private var running: [pid_t: Child] = [:]

    init(limit: Int) { self.limit = limit }

    var haveRoom: Bool { running.count < limit }

    /// Starts this program with `words`. `false`: it could not be started.
    mutating func start(_ words: [String]) -> Bool {
        guard let output = Self.namelessFile() else { return false }
        var arguments: [UnsafeMutablePointer<CChar>?] = (["roost-sim"] + words).map { strdup($0) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        defer { posix_spawn_file_actions_destroy(&actions) }
        var pid: pid_t = 0
        guard posix_spawn(&pid, "/proc/self/exe", &actions, nil, arguments, environ) == 0 else {
            close(output)
            return false
        }
        running[pid] = Child(words: words, output: output)
        return true
    }

    /// Waits for the next one to end; `nil` when none runs.
    mutating func next() -> Ended? {
        guard !running.isEmpty else { return nil }
        var status: Int32 = 0
        let pid = wait(&status)
        guard pid > 0, let child = running.removeValue(forKey: pid) else { return nil }
        defer { close(child.output) }
        return Ended(
            words: child.words.joined(separator: " "),
            status: status,
            output: Self.text(of: child.output).split(separator: "\n")
        )
    }

    private static func namelessFile() -> Int32? {
        var path = Array("/tmp/roost-sim-XXXXXX".utf8CString)
        let descriptor = mkstemp(&path)
        guard descriptor >= 0 else { return nil }
        unlink(path)
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        return descriptor
    }

    private static func text(of descriptor: Int32) -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = pread(descriptor, &buffer, buffer.count, off_t(bytes.count))
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += buffer[..<count]
        }
    }
}
