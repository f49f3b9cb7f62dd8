package import RoostModel

/// A command to run in a guest, or to attach to: the op id is the session's id.
package struct ExecRequest: Sendable, Hashable, Codable {
    package var session: OperationID
    /// Empty only when `attachOnly` or `isImageCommand`.
    package var arguments: [String]
    /// `NAME=value`, added to the agent's defaults and the image's.
    package var environment: [String]
    /// Empty: what the image says, else the user's home.
    package var workingDirectory: String
    /// A name or `uid[:gid]`; empty: what the image says, else root.
    package var user: String
    /// `nil`: no limit.
    package var timeoutSeconds: Int?
    /// Set for a terminal.
    package var terminal: TerminalSize?
    /// Whether there is standard input at all.
    package var hasInput: Bool
    /// End the command when the client goes away.
    package var killOnDetach: Bool
    /// Never start; fail when there is no such session.
    package var attachOnly: Bool
    /// The image's digest, whose settings stand where the request has none; empty for none.
    package var image: String
    /// Run the image's entrypoint with `arguments`, or, without any, with its own command.
    package var isImageCommand: Bool
    /// What runs when neither `arguments` nor the image names a command.
    package var fallback: [String]

    package init(session: OperationID, arguments: [String]) {
        self.session = session
        self.arguments = arguments
        environment = []
        workingDirectory = ""
        user = ""
        timeoutSeconds = nil
        terminal = nil
        hasInput = false
        killOnDetach = false
        attachOnly = false
        image = ""
        isImageCommand = false
        fallback = []
    }
}

/// A terminal's size in characters.
package struct TerminalSize: Sendable, Hashable, Codable {
    package var rows: Int
    package var columns: Int

    package init(rows: Int, columns: Int) {
        self.rows = rows
        self.columns = columns
    }
}

/// What a client sends into a running command.
package enum ExecInput: Sendable, Hashable {
    case input([UInt8])
    case endOfInput
    case resize(TerminalSize)
    case signal(Int32)
}

/// What a running command says.
package enum ExecOutput: Sendable, Hashable {
    case output([UInt8])
    case errorOutput([UInt8])
    /// The last one.
    case exited(code: Int32)
    /// The last one.
    case killed(signal: Int32)
}

/// A command in a guest. Sending and receiving go on at once; each has one caller.
package protocol ExecSession: Sendable {
    /// Waits while the guest does not read.
    func send(_ input: ExecInput) async throws(Fault)
    /// The next output; `nil` after the last. Not calling it holds the command back, nobody else.
    func next() async throws(Fault) -> ExecOutput?
    /// Lets go. The command goes on unless it was started with `killOnDetach`.
    func close() async
}

/// A file or a tree to copy in or out of a guest.
package struct CopyRequest: Sendable, Hashable, Codable {
    package enum Kind: String, Sendable, Hashable, Codable {
        /// Out: bytes of one file.
        case readFile
        /// In: bytes of one file; appears whole or not at all.
        case writeFile
        /// Out: a tar stream of the path.
        case readTree
        /// In: a tar stream unpacked into the directory.
        case writeTree
        /// Out: nothing; says what the path is.
        case stat
    }

    package var kind: Kind
    /// Absolute path in the guest.
    package var path: String
    /// Permission bits for `writeFile`.
    package var mode: Int
    package var uid: Int
    package var gid: Int
    /// Bytes of the file for `writeFile`, when known.
    package var size: Int64?

    package init(kind: Kind, path: String, mode: Int = 0o644, uid: Int = 0, gid: Int = 0) {
        self.kind = kind
        self.path = path
        self.mode = mode
        self.uid = uid
        self.gid = gid
        size = nil
    }
}

/// What a path in a guest is.
package struct GuestPath: Sendable, Hashable, Codable {
    package var isDirectory: Bool
    /// Permission bits.
    package var mode: Int
    /// Bytes.
    package var size: Int64

    package init(isDirectory: Bool, mode: Int, size: Int64) {
        self.isDirectory = isDirectory
        self.mode = mode
        self.size = size
    }
}

/// A copy on its way.
package protocol CopySession: Sendable {
    /// What the path is; for `readFile` and `stat`, before any byte.
    func information() async throws(Fault) -> GuestPath?
    /// The next bytes out; empty at the end. Throws when the guest said that it failed.
    func read() async throws(Fault) -> [UInt8]
    /// Bytes in; waits while the guest is slow.
    func write(_ bytes: [UInt8]) async throws(Fault)
    /// Ends the bytes in and waits until the guest says they are in place.
    func finish() async throws(Fault)
    /// Lets go; an unfinished `writeFile` leaves nothing.
    func close() async
}

/// Which piece of which log.
package struct LogRequest: Sendable, Hashable, Codable {
    /// `app`, `kernel`, `agent`, `console` or `vmm`. Empty: `app` when a command that outlived its
    /// client has written anything, else `console`.
    package var source: String
    package var offset: UInt64
    /// Wait for more when there is nothing after `offset`.
    package var follow: Bool
    /// The time before each line. `console` and `vmm` have none.
    package var timestamps: Bool

    package init(source: String, offset: UInt64, follow: Bool, timestamps: Bool = false) {
        self.source = source
        self.offset = offset
        self.follow = follow
        self.timestamps = timestamps
    }
}

/// A piece of a log.
package struct LogPiece: Sendable, Hashable, Codable {
    /// Which log it is of: the one asked for, or the one that was chosen. Ask for the next piece of it.
    package var source: String
    package var bytes: [UInt8]
    package var nextOffset: UInt64
    package var isEnd: Bool

    package init(source: String, bytes: [UInt8], nextOffset: UInt64, isEnd: Bool) {
        self.source = source
        self.bytes = bytes
        self.nextOffset = nextOffset
        self.isEnd = isEnd
    }
}

/// What a guest's agent says of its guest.
package struct GuestStatus: Sendable, Hashable, Codable {
    package var uptime: Duration
    package var memoryTotal: ByteCount
    package var memoryAvailable: ByteCount
    package var processes: Int
    package var agentVersion: String
    /// Listening ports, sorted.
    package var listening: [ListeningPort]

    package init(
        uptime: Duration,
        memoryTotal: ByteCount,
        memoryAvailable: ByteCount,
        processes: Int,
        agentVersion: String,
        listening: [ListeningPort]
    ) {
        self.uptime = uptime
        self.memoryTotal = memoryTotal
        self.memoryAvailable = memoryAvailable
        self.processes = processes
        self.agentVersion = agentVersion
        self.listening = listening
    }
}

/// A port that something in a guest listens on.
package struct ListeningPort: Sendable, Hashable, Codable {
    package var port: Int
    package var transport: PortTransport
    package var address: String

    package init(port: Int, transport: PortTransport, address: String) {
        self.port = port
        self.transport = transport
        self.address = address
    }
}
