internal import Glibc
internal import RoostLinux
internal import RoostModel
internal import Synchronization

/// The signals that this process gets while a guest's command runs, handed to whoever is in charge
/// at the time: a handler that ends the preparations, then the stream of a session, then nobody.
final class SignalRelay: Sendable {
    typealias Handler = @Sendable (Int32) -> Void

    /// Those that are handed on to the command. SIGWINCH only says that the size has changed.
    static let caught = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH]

    /// Where the C handler writes, for it may do little else.
    private static let pipe = Atomic<Int32>(-1)

    private let handler = Mutex<Handler?>(nil)

    /// Catches the signals from now on, for good.
    init() throws(Fault) {
        let (reading, writing) = try streamPair()
        // A full pipe must never hold up a handler: the signals in it say enough.
        _ = fcntl(writing.number, F_SETFL, O_NONBLOCK)
        Self.pipe.store(writing.number, ordering: .releasing)
        for number in Self.caught {
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { number in
                var byte = UInt8(truncatingIfNeeded: number)
                let before = errno
                _ = write(SignalRelay.pipe.load(ordering: .acquiring), &byte, 1)
                errno = before
            }
            action.sa_flags = Int32(SA_RESTART)
            sigaction(number, &action, nil)
        }
        // Ends with the process: signals are caught until then.
        Task {
            while let bytes = try? await reading.read(upTo: 64), !bytes.isEmpty {
                for byte in bytes { handler.withLock { $0 }?(Int32(byte)) }
            }
            writing.close()
        }
    }

    /// Gives the signals that come from now on to `body` alone; `nil`: to nobody.
    func handle(with body: Handler?) { handler.withLock { $0 = body } }

    /// Gives the signals that come from now on to a stream.
    func stream() -> AsyncStream<Int32> {
        let (stream, continuation) = AsyncStream<Int32>.makeStream()
        handle { continuation.yield($0) }
        return stream
    }
}

/// What a forwarded signal means here: the second Ctrl-C within two seconds gives up.
struct InterruptCounter {
    private var last: ContinuousClock.Instant?

    static let span = Duration.seconds(2)

    /// Notes a Ctrl-C at `now`, and says whether to give up.
    mutating func note(at now: ContinuousClock.Instant) -> Bool {
        defer { last = now }
        return last.map { now - $0 < Self.span } ?? false
    }
}
