import CRoostLinux
import Glibc
import RoostGuestWire

/// The port that takes the guest's log; behind it is a bounded file of the host's, so the log outlives
/// the guest and needs no daemon that listens.
///
///     sessions that outlive their client ─┐
///     /dev/kmsg ──────────────────────────┼─▶ LogPort ─▶ roost.log.0 ─▶ guest.log on the host
///     the agent's own words ──────────────┘
///
/// While ``hasRoom`` is false a writer waits: nothing is dropped, and memory is bounded.
final class LogPort {
    /// Bytes that wait for the port before writers wait themselves.
    static let limit = 262_144

    private let descriptor: Int32
    private let loop: EventLoop
    private var output: [UInt8] = []
    private var sent = 0
    private var isWatched = false
    /// Called when there is room again.
    var onRoom: () -> Void = {}

    /// Takes over `descriptor`.
    init(_ descriptor: Int32, on loop: EventLoop) {
        self.descriptor = descriptor
        self.loop = loop
        setNonBlocking(descriptor)
    }

    deinit {
        loop.forget(descriptor)
        close(descriptor)
    }

    /// Whether more may be written now.
    var hasRoom: Bool { output.count - sent < Self.limit }

    /// Writes one record, stamped now. The text has no newline.
    func write(_ stream: GuestLogRecord.Stream, _ text: ArraySlice<UInt8>, isPartial: Bool = false)
    {
        let record = GuestLogRecord(
            time: timestamp(),
            stream: stream,
            isPartial: isPartial,
            text: text
        )
        output += record.encoded
    }

    /// Hands the port what it takes.
    func flush() {
        let wasFull = !hasRoom
        while sent < output.count {
            let end = min(output.count, sent + 32_768)
            let count = output[sent..<end].withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress, $0.count)
            }
            if count >= 0 {
                sent += count
            } else if errno != EINTR {
                break
            }
        }
        if sent == output.count {
            output = []
            sent = 0
        } else if sent > Self.limit {
            output.removeFirst(sent)
            sent = 0
        }
        watch(sent < output.count)
        if wasFull, hasRoom { onRoom() }
    }

    /// Waits until the port has taken everything, at most so long.
    func drain(milliseconds: UInt64) {
        let deadline = bootNanoseconds() + milliseconds * 1_000_000
        flush()
        while sent < output.count, bootNanoseconds() < deadline {
            var poller = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            _ = poll(&poller, 1, 50)
            flush()
        }
    }

    private func watch(_ wanted: Bool) {
        guard wanted != isWatched else { return }
        isWatched = wanted
        if wanted {
            loop.watch(descriptor, EventLoop.writable) { [weak self] _ in self?.flush() }
        } else {
            loop.forget(descriptor)
        }
    }
}

/// Cuts one stream of bytes into records.
struct LineCutter {
    private let stream: GuestLogRecord.Stream
    private var line: [UInt8] = []

    init(_ stream: GuestLogRecord.Stream) { self.stream = stream }

    /// Writes the lines that `bytes` complete.
    mutating func append(_ bytes: [UInt8], to log: LogPort) {
        for piece in bytes.split(separator: 10, omittingEmptySubsequences: false).enumerated() {
            if piece.offset > 0 {
                log.write(stream, line[...])
                line = []
            }
            line += piece.element
            while line.count >= GuestLogRecord.textLimit {
                log.write(stream, line.prefix(GuestLogRecord.textLimit), isPartial: true)
                line.removeFirst(GuestLogRecord.textLimit)
            }
        }
    }

    /// Writes what has no newline yet, as a line.
    mutating func finish(to log: LogPort) {
        guard !line.isEmpty else { return }
        log.write(stream, line[...])
        line = []
    }
}

/// Copies the kernel's messages, from the first of this boot on.
final class KernelLog {
    private let descriptor: Int32
    private let loop: EventLoop
    private let log: LogPort
    private var isWatched = false

    /// `nil` where the kernel keeps no messages for us.
    init?(to log: LogPort, on loop: EventLoop) {
        descriptor = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        self.loop = loop
        self.log = log
    }

    deinit {
        loop.forget(descriptor)
        close(descriptor)
    }

    /// Reads what is there, and then whatever comes, as far as the log has room.
    func read() {
        while log.hasRoom {
            if let record = readSome(descriptor, 8_192) {
                if let line = Self.line(of: record) { log.write(.kernel, line[...]) }
            } else if errno != EPIPE {
                // EPIPE: the kernel has overwritten what was not read, and goes on with the oldest.
                break
            }
        }
        if log.hasRoom != isWatched {
            isWatched = log.hasRoom
            if isWatched {
                loop.watch(descriptor, EventLoop.readable) { [weak self] _ in self?.read() }
            } else {
                loop.forget(descriptor)
            }
        }
        log.flush()
    }

    /// `6,339,5140900,-;NET: …` as `[    5.140900] NET: …`, as dmesg shows it.
    static func line(of record: [UInt8]) -> [UInt8]? {
        let parts = record.split(separator: 59, maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        let fields = parts[0].split(separator: 44, omittingEmptySubsequences: false)
        guard fields.count >= 3, let time = UInt64(String(decoding: fields[2], as: UTF8.self))
        else {
            return nil
        }
        let seconds = "\(time / 1_000_000)"
        let fraction = "\(time % 1_000_000)"
        let margin = String(repeating: " ", count: max(0, 5 - seconds.utf8.count))
        let zeros = String(repeating: "0", count: 6 - fraction.utf8.count)
        return Array("[\(margin)\(seconds).\(zeros)\(fraction)] ".utf8)
            + parts[1].prefix { $0 != 10 }
    }
}
