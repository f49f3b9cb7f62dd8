/// A small fact about a stream.
package enum Message: Hashable, Sendable {
    /// Guest: the session runs (or ran) as `pid`; its output begins at byte `from`. `attached`
    /// says that it was there before this request.
    case started(pid: UInt32, from: UInt64, attached: Bool)
    /// Guest: the process ended. Output comes before it.
    case exited(CommandEnd)
    /// Guest: refused, or broken off.
    case failed(GuestFailure)
    /// Guest: what a file is, before its bytes.
    case file(FileFacts)
    /// Guest: done; `bytes` were written or read.
    case done(bytes: UInt64)
    /// Host: the terminal's new size.
    case resize(TerminalSize)
    /// Host: a signal for the process group.
    case signal(UInt8)
}

/// How a process ended.
package struct CommandEnd: Hashable, Sendable {
    /// The exit code, or the signal's number.
    package enum Cause: Hashable, Sendable {
        case code(UInt8)
        case signal(UInt8)
        /// Its status was lost (the agent was replaced).
        case unknown
    }

    package var cause: Cause
    /// Whether the request's timeout ended it.
    package var timedOut: Bool

    package init(_ cause: Cause, timedOut: Bool = false) {
        self.cause = cause
        self.timedOut = timedOut
    }
}

/// Why the guest refused or broke off. The text is the guest's: show it sanitised.
package struct GuestFailure: Hashable, Sendable, Error {
    /// The kinds a host acts upon.
    package enum Kind: UInt8, CaseIterable, Hashable, Sendable {
        /// No such command (a shell's 127).
        case commandNotFound = 1
        /// There, but not executable (a shell's 126).
        case notExecutable = 2
        case pathNotFound = 3
        case permissionDenied = 4
        case diskFull = 5
        case sessionNotFound = 6
        case userNotFound = 7
        case invalidRequest = 8
        case archiveInvalid = 9
        case limitExceeded = 10
        case unsupported = 11
        case failed = 12
        /// Another stream reads this session now.
        case takenOver = 13
        /// A hook of the image refused a renewal, or did not end in time.
        case hookFailed = 14
    }

    package var kind: Kind
    /// The system's error number, or 0.
    package var errno: Int32
    /// One sentence, lowercase, at most 480 bytes.
    package var text: String

    package init(_ kind: Kind, errno: Int32 = 0, _ text: String) {
        self.kind = kind
        self.errno = errno
        self.text = text
    }
}

/// What a file is.
package struct FileFacts: Hashable, Sendable {
    /// Type and permission bits, as `st_mode`.
    package var mode: UInt32
    package var uid: UInt32
    package var gid: UInt32
    /// The size in bytes.
    package var size: UInt64
    /// Seconds since 1970 of the last change of content.
    package var modified: Int64

    package init(mode: UInt32, uid: UInt32, gid: UInt32, size: UInt64, modified: Int64) {
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = size
        self.modified = modified
    }
}

extension Message {
    func encode(into writer: inout ByteWriter) {
        switch self {
        case .started(let pid, let from, let attached):
            writer.number(UInt8(1))
            writer.number(pid)
            writer.number(from)
            writer.flag(attached)
        case .exited(let status):
            writer.number(UInt8(2))
            status.encode(into: &writer)
        case .failed(let failure):
            writer.number(UInt8(3))
            writer.number(failure.kind.rawValue)
            writer.number(failure.errno)
            writer.text(failure.text, limit: WireLimits.sentence)
        case .file(let facts):
            writer.number(UInt8(4))
            // The mode's zero byte parts fields whose bytes a user of the guest can choose.
            writer.number(facts.modified)
            writer.number(facts.mode)
            writer.number(facts.uid)
            writer.number(facts.gid)
            writer.number(facts.size)
        case .done(let bytes):
            writer.number(UInt8(5))
            writer.number(bytes)
        case .resize(let size):
            writer.number(UInt8(6))
            size.encode(into: &writer)
        case .signal(let number):
            writer.number(UInt8(7))
            writer.number(number)
        }
    }

    init(from reader: inout ByteReader) throws(WireError) {
        let tag = try reader.number(UInt8.self)
        switch tag {
        case 1:
            self = .started(
                pid: try reader.number(),
                from: try reader.number(),
                attached: try reader.flag()
            )
        case 2: self = .exited(try CommandEnd(from: &reader))
        case 3:
            let kind = try reader.number(UInt8.self)
            let errno = try reader.number(Int32.self)
            let text = try reader.text(limit: WireLimits.sentence)
            guard let kind = GuestFailure.Kind(rawValue: kind) else { throw .unknownTag(kind) }
            self = .failed(GuestFailure(kind, errno: errno, text))
        case 4:
            let modified = try reader.number(Int64.self)
            let mode = try reader.number(UInt32.self)
            self = .file(
                FileFacts(
                    mode: mode,
                    uid: try reader.number(),
                    gid: try reader.number(),
                    size: try reader.number(),
                    modified: modified
                )
            )
        case 5: self = .done(bytes: try reader.number())
        case 6: self = .resize(try TerminalSize(from: &reader))
        case 7: self = .signal(try reader.number())
        default: throw .unknownTag(tag)
        }
    }

    /// Whether the guest may say it; the others are the host's.
    var isFromGuest: Bool {
        switch self {
        case .started, .exited, .failed, .file, .done: true
        case .resize, .signal: false
        }
    }
}

extension CommandEnd {
    func encode(into writer: inout ByteWriter) {
        switch cause {
        case .code(let code):
            writer.number(UInt8(0))
            writer.number(code)
        case .signal(let number):
            writer.number(UInt8(1))
            writer.number(number)
        case .unknown:
            writer.number(UInt8(2))
            writer.number(UInt8(0))
        }
        writer.flag(timedOut)
    }

    init(from reader: inout ByteReader) throws(WireError) {
        let tag = try reader.number(UInt8.self)
        let value = try reader.number(UInt8.self)
        switch tag {
        case 0: cause = .code(value)
        case 1: cause = .signal(value)
        case 2: cause = .unknown
        default: throw .unknownTag(tag)
        }
        timedOut = try reader.flag()
    }
}
