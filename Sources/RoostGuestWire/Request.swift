/// What a host wants of a new stream.
package enum Request: Hashable, Sendable {
    /// Run a command, or attach to the session of that id if it exists. Never runs twice.
    case exec(ExecRequest)
    /// Attach to a session; its output from byte `from` on (all that is kept: 0).
    case attach(session: [UInt8], from: UInt64, killOnDetach: Bool)
    /// The sessions: answered with ``SessionSummary`` values.
    case listSessions
    /// Sends signal `number` to the process group of a session.
    case signal(session: [UInt8], number: UInt8)
    /// One file's metadata (message) and bytes.
    case readFile(path: String)
    /// What a path leads to: its metadata (message).
    case facts(path: String)
    /// Writes one file atomically from the stream's data.
    case writeFile(WriteFileRequest)
    /// A tar of the tree at `path`; entry names are relative, the root's is its base name or `.`.
    case tarOut(path: String, contentsOnly: Bool)
    /// Unpacks a tar below the directory `path`, which is made if it is missing.
    case tarIn(path: String, ownersFromArchive: Bool)
    /// Answered with ``GuestStats``.
    case stats
    /// The listening ports: answered with ``ListeningPort`` values.
    case ports
    /// Sets the host name (kernel and /etc/hostname).
    case setHostname(String)
    /// Sets the wall clock, in nanoseconds since 1970.
    case setClock(Int64)
    /// Makes a copy into its own machine: entropy, machine-id, host name, SSH host keys, clock,
    /// generation and optionally the addresses; runs the image's hooks; then thaws it. Done before it
    /// answers.
    case renewIdentity(RenewRequest)
    /// Makes every process but the agent stand still, before it answers. May be repeated.
    case freeze
    /// Lets what ``freeze`` holds go on. Fine when nothing is held.
    case thaw
    /// Readies this machine for copies of it: what their renewal writes is on memory, everything else
    /// is on the disk. Done before it answers.
    case settle
    /// Ends every process, unmounts and powers off or reboots.
    case shutdown(reboot: Bool, graceMilliseconds: UInt32)

    /// Whether it is the host's own, not that of somebody who uses the guest.
    package var isControl: Bool {
        switch self {
        case .setHostname, .setClock, .renewIdentity, .freeze, .thaw, .settle, .shutdown: true
        case .exec, .attach, .listSessions, .signal, .readFile, .facts, .writeFile, .tarOut, .tarIn,
            .stats, .ports:
            false
        }
    }

    /// The name in messages.
    package var name: String {
        switch self {
        case .exec: "exec"
        case .attach: "attach"
        case .listSessions: "list-sessions"
        case .signal: "signal"
        case .readFile: "read-file"
        case .facts: "facts"
        case .writeFile: "write-file"
        case .tarOut: "tar-out"
        case .tarIn: "tar-in"
        case .stats: "stats"
        case .ports: "ports"
        case .setHostname: "set-hostname"
        case .setClock: "set-clock"
        case .renewIdentity: "renew-identity"
        case .freeze: "freeze"
        case .thaw: "thaw"
        case .settle: "settle"
        case .shutdown: "shutdown"
        }
    }
}

/// A command to run.
package struct ExecRequest: Hashable, Sendable {
    /// What becomes of a process whose stream goes away.
    package enum DetachPolicy: UInt8, Hashable, Sendable {
        /// It goes on and blocks when its kept output (256 KiB) is full.
        case block = 0
        /// It goes on; the oldest kept output is dropped.
        case drop = 1
        /// Its process group is killed.
        case kill = 2
    }

    /// The operation's id: 16 bytes. A repeat attaches.
    package var session: [UInt8]
    /// The command and its arguments; the command is looked up in PATH. Not empty.
    package var arguments: [String]
    /// `NAME=value` entries that override the defaults (PATH, HOME, USER, TERM on a terminal).
    package var environment: [String]
    /// The directory to start in; empty: the user's home, or `/`.
    package var directory: String
    /// A name or uid, optionally `:group` or `:gid`; empty: root.
    package var user: String
    /// Milliseconds until the process group is ended; 0: never.
    package var timeoutMilliseconds: UInt64
    /// The terminal's size, or `nil` for pipes.
    package var terminal: TerminalSize?
    /// Whether stdin is a pipe from the host; otherwise it is /dev/null.
    package var hasInput: Bool
    /// What becomes of it when the host goes away.
    package var onDetach: DetachPolicy
    /// The output byte to go on from when the session exists already.
    package var from: UInt64

    /// A command with pipes and no input, as root.
    package init(session: [UInt8], arguments: [String]) {
        self.session = session
        self.arguments = arguments
        environment = []
        directory = ""
        user = ""
        timeoutMilliseconds = 0
        terminal = nil
        hasInput = false
        onDetach = .block
        from = 0
    }
}

/// A terminal's size in characters.
package struct TerminalSize: Hashable, Sendable {
    package var rows: UInt16
    package var columns: UInt16

    package init(rows: UInt16, columns: UInt16) {
        self.rows = rows
        self.columns = columns
    }
}

/// One file to write.
package struct WriteFileRequest: Hashable, Sendable {
    /// Where. Its directory must exist.
    package var path: String
    /// Permission bits, at most 0o7777.
    package var mode: UInt32
    package var uid: UInt32
    package var gid: UInt32
    /// The bytes that follow, or `nil` when only the stream's end tells.
    package var size: UInt64?

    package init(path: String, mode: UInt32, uid: UInt32, gid: UInt32, size: UInt64?) {
        self.path = path
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = size
    }
}

/// What a fork becomes.
package struct RenewRequest: Hashable, Sendable {
    /// Fresh random bytes from the host, 16 to 512: credited as entropy, then the pool reseeds.
    package var entropy: [UInt8]
    /// The new machine-id, 16 bytes; `nil`: it is the same machine at an earlier time, and keeps its
    /// SSH host keys too.
    package var machineID: [UInt8]?
    /// The new host name; empty: leave it.
    package var hostname: String
    /// The wall clock in nanoseconds since 1970; 0: leave it.
    package var wallClock: Int64
    /// The Ethernet address of the first interface, 6 bytes; `nil` leaves it.
    package var ethernet: [UInt8]?
    /// `address/prefix` for the first interface; empty: leave it.
    package var address: String
    /// The gateway; empty: none.
    package var gateway: String
    /// The name server; empty: leave it.
    package var nameserver: String
    /// What /run/roost/generation says from now on, 16 bytes; `nil`: nothing new. Only for agents with
    /// ``Hello/Capability/generations``.
    package var generation: [UInt8]?
    /// The VM's id, 16 bytes; goes with ``generation``.
    package var vm: [UInt8]

    package init(entropy: [UInt8]) {
        self.entropy = entropy
        generation = nil
        vm = Array(repeating: 0, count: 16)
        machineID = nil
        hostname = ""
        wallClock = 0
        ethernet = nil
        address = ""
        gateway = ""
        nameserver = ""
    }
}
