import CRoostLinux
import Glibc
import RoostGuestWire

/// A started process and our ends of its pipes.
struct SpawnedProcess {
    var pid: Int32
    /// Its stdin, or the terminal's master; -1 without input.
    var input: Int32
    /// Its stdout, or the terminal's master.
    var output: Int32
    /// Its stderr; -1 on a terminal.
    var error: Int32
}

private let defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/// The environment of a command: defaults, then the request's entries over them.
func environment(for request: ExecRequest, account: Account) -> [String] {
    var entries = ["PATH=\(defaultPath)", "HOME=\(account.home)", "USER=\(account.name)"]
    if request.terminal != nil { entries.append("TERM=xterm-256color") }
    for entry in request.environment {
        guard let end = entry.firstIndex(of: "="), end > entry.startIndex else { continue }
        let prefix = entry[...end]
        entries.removeAll { $0.hasPrefix(prefix) }
        entries.append(entry)
    }
    return entries
}

/// Where a command may lie: itself when it has a slash, else below each directory of PATH.
func candidates(for command: String, environment: [String]) -> [String] {
    if command.contains("/") { return [command] }
    let path = environment.last { $0.hasPrefix("PATH=") }.map { String($0.dropFirst(5)) }
    return (path ?? defaultPath).split(separator: ":", omittingEmptySubsequences: false)
        .map { $0.isEmpty ? command : "\($0)/\(command)" }
}

/// Starts the request's command.
///
/// - Throws: ``GuestFailure`` when it cannot start; then nothing runs and nothing is open.
func spawn(_ request: ExecRequest) throws(GuestFailure) -> SpawnedProcess {
    guard let command = request.arguments.first, !command.isEmpty else {
        throw GuestFailure(.invalidRequest, "exec without a command")
    }
    let account = try Account.resolve(
        request.user,
        passwd: text(of: "/etc/passwd") ?? "",
        group: text(of: "/etc/group") ?? ""
    )
    var ends = try ProcessEnds(request)
    var stage: Int32 = 0
    let pid = start(request, account, ends, &stage)
    ends.closeTheirs()
    guard pid < 0 else { return ends.spawned(pid) }
    ends.closeOurs()
    throw failure(of: command, request, errno: -pid, stage: stage)
}

private func start(
    _ request: ExecRequest,
    _ account: Account,
    _ ends: ProcessEnds,
    _ stage: inout Int32
) -> Int32 {
    let entries = environment(for: request, account: account)
    let paths = candidates(for: request.arguments[0], environment: entries)
    var directory = request.directory
    if directory.isEmpty { directory = access(account.home, X_OK) == 0 ? account.home : "/" }
    var reached: Int32 = 0
    let pid = withCStrings(paths) { paths in
        withCStrings(request.arguments) { arguments in
            withCStrings(entries) { entries in
                directory.withCString { directory in
                    account.groups.withUnsafeBufferPointer { groups in
                        var record = roost_spawn_request()
                        record.candidates = UnsafeRawPointer(paths)
                            .assumingMemoryBound(to: UnsafePointer<CChar>?.self)
                        record.argv = UnsafePointer(arguments)
                        record.envp = UnsafePointer(entries)
                        record.directory = directory
                        record.uid = account.uid
                        record.gid = account.gid
                        record.groups = groups.baseAddress
                        record.group_count = groups.count
                        record.change_user = geteuid() == 0 ? 1 : 0
                        record.input = ends.theirInput
                        record.output = ends.theirOutput
                        record.error = ends.theirError
                        record.terminal = request.terminal == nil ? 0 : 1
                        return roost_spawn(&record, &reached)
                    }
                }
            }
        }
    }
    stage = reached
    return pid
}

private func failure(
    of command: String,
    _ request: ExecRequest,
    errno: Int32,
    stage: Int32
) -> GuestFailure {
    let system: (String, String) -> GuestFailure = { call, subject in
        SystemFailure(call: call, subject: subject, errno: errno).asGuestFailure
    }
    switch UInt32(bitPattern: stage) {
    case ROOST_SPAWN_DIRECTORY.rawValue: return system("chdir", request.directory)
    case ROOST_SPAWN_USER.rawValue: return system("become", request.user)
    case ROOST_SPAWN_EXEC.rawValue:
        if errno == ENOENT || errno == ENOTDIR {
            return GuestFailure(.commandNotFound, errno: errno, "\(command): command not found")
        }
        let text = SystemFailure(call: "exec", subject: command, errno: errno).text
        return GuestFailure(.notExecutable, errno: errno, text)
    default: return system("start", command)
    }
}

/// The pipes or the terminal of one process, both ends.
private struct ProcessEnds {
    private var ours: [Int32] = []
    private var theirs: [Int32] = []
    private(set) var theirInput: Int32 = -1
    private(set) var theirOutput: Int32 = -1
    private(set) var theirError: Int32 = -1
    private var input: Int32 = -1
    private var output: Int32 = -1
    private var error: Int32 = -1

    init(_ request: ExecRequest) throws(GuestFailure) {
        do throws(SystemFailure) {
            if let size = request.terminal {
                try openTerminal(size)
            } else {
                try openPipes(input: request.hasInput)
            }
        } catch {
            closeTheirs()
            closeOurs()
            throw error.asGuestFailure
        }
    }

    private mutating func openTerminal(_ size: TerminalSize) throws(SystemFailure) {
        var master: Int32 = -1
        var slave: Int32 = -1
        let result = roost_open_terminal(size.rows, size.columns, &master, &slave)
        try checkShim(result, "open", "terminal")
        ours = [master]
        theirs = [slave]
        (input, output) = (master, master)
        (theirInput, theirOutput, theirError) = (slave, slave, slave)
    }

    private mutating func openPipes(input wanted: Bool) throws(SystemFailure) {
        if wanted {
            (theirInput, input) = try pipe()
            theirs.append(theirInput)
            ours.append(input)
            setNonBlocking(input)
        } else {
            theirInput = try check(open("/dev/null", O_RDONLY | O_CLOEXEC), "open", "/dev/null")
            theirs.append(theirInput)
        }
        (output, theirOutput) = try pipe()
        ours.append(output)
        theirs.append(theirOutput)
        setNonBlocking(output)
        (error, theirError) = try pipe()
        ours.append(error)
        theirs.append(theirError)
        setNonBlocking(error)
    }

    private func pipe() throws(SystemFailure) -> (reader: Int32, writer: Int32) {
        var pair: [Int32] = [-1, -1]
        try checkShim(roost_pipe(&pair), "pipe")
        return (pair[0], pair[1])
    }

    mutating func closeTheirs() {
        for descriptor in theirs { close(descriptor) }
        theirs = []
    }

    mutating func closeOurs() {
        for descriptor in ours { close(descriptor) }
        ours = []
    }

    func spawned(_ pid: Int32) -> SpawnedProcess {
        SpawnedProcess(pid: pid, input: input, output: output, error: error)
    }
}
