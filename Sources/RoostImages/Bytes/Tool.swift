import Glibc
import RoostModel

/// A program of the host that is run to its end: exact arguments, no shell, closed environment.
struct Tool {
    /// The program's absolute path.
    let path: String

    /// Finds `name` where distributions put programs; nil if it is not installed.
    static func find(_ name: String) -> Tool? {
        ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].lazy.map { "\($0)/\(name)" }
            .first { access($0, X_OK) == 0 }.map(Tool.init(path:))
    }

    /// Finds `name`, or says which package has it.
    static func require(_ name: String, package: String) throws(Fault) -> Tool {
        if let tool = find(name) { return tool }
        throw Fault(.hostNotReady, "\(name) is missing: apt-get install \(package)")
    }

    /// Runs it with its output in the new file `output` and its complaints in `output`.log.
    /// Blocks until it ends; after `seconds` it is killed.
    ///
    /// The child opens both files itself, so that no pipe of ours leaks into another child.
    ///
    /// - Throws: `reason` with the first complaint if it fails, `deadline` if it takes too long.
    func run(
        _ arguments: [String],
        output: String,
        seconds: Int,
        failure reason: Reason
    ) throws(Fault) {
        let timer = try Tool.require("timeout", package: "coreutils")
        let line = [timer.path, "--kill-after=5", String(seconds), path] + arguments
        let pid = try Self.spawn(line, output: output)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 {
            guard errno == EINTR else { throw systemFault(errno, "wait for", path) }
        }
        // 124 and 137 are timeout's own.
        let code = status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F)
        guard code != 0 else { return }
        guard code != 124, code != 137 else {
            throw Fault(.deadline, "\(path) took longer than \(seconds) s")
        }
        let log = try? DiskFile.reading("\(output).log").read(2000, at: 0)
        let complaint = (log ?? []).split(separator: 0x0A).first ?? []
        throw Fault(reason, "\(path) ended with \(code): \(printable(complaint))")
    }

    private static func spawn(_ line: [String], output: String) throws(Fault) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        let flags = O_WRONLY | O_CREAT | O_TRUNC
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, flags, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, "\(output).log", flags, 0o600)
        let environment = ["PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C"]
        var argv = line.map { strdup($0) } + [nil]
        var envp = environment.map { strdup($0) } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        var pid: pid_t = 0
        let result = posix_spawn(&pid, line[0], &actions, nil, &argv, &envp)
        guard result == 0 else { throw systemFault(result, "start", line[0]) }
        return pid
    }
}
