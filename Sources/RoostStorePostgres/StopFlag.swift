import Glibc
import Synchronization

/// Tells threads that wait in `poll` that the store is being closed. Rises once and stays.
final class StopFlag: Sendable {
    /// Readable once the flag is up.
    let descriptor: Int32
    private let other: Int32
    private let raised = Atomic<Bool>(false)

    /// Without descriptors left the flag works all the same; who waits then hears of it late.
    init() {
        var pair: [Int32] = [-1, -1]
        let kind =
            Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            | Int32(SOCK_NONBLOCK.rawValue)
        if socketpair(AF_UNIX, kind, 0, &pair) != 0 { pair = [-1, -1] }
        (descriptor, other) = (pair[0], pair[1])
    }

    deinit {
        for end in [descriptor, other] where end >= 0 { close(end) }
    }

    var isUp: Bool { raised.load(ordering: .acquiring) }

    func raise() {
        raised.store(true, ordering: .releasing)
        // The hang-up of the other end is readable for ever.
        if other >= 0 { shutdown(other, Int32(SHUT_RDWR)) }
    }

    /// Blocks this thread until the flag is up or `duration` is over.
    func wait(_ duration: Duration) {
        let end = ContinuousClock.now + duration
        while !isUp {
            let left = end - ContinuousClock.now
            guard left > .zero else { return }
            var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            _ = poll(&watched, descriptor >= 0 ? 1 : 0, left.pollMilliseconds)
        }
    }
}

extension Duration {
    /// For `poll`: rounded up, 0 … one hour.
    var pollMilliseconds: Int32 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        guard seconds < 3_600 else { return 3_600_000 }
        return Int32(seconds * 1_000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
    }
}

/// Longer and longer pauses between tries: 50 ms, doubled up to 2 s, each a little longer or
/// shorter so that many clients do not come back at the same moment.
struct BackOff {
    private var next: Duration = .milliseconds(50)

    /// The pause before the next try.
    mutating func pause() -> Duration {
        defer { next = min(next * 2, .seconds(2)) }
        return next * Double.random(in: 0.75...1.25)
    }
}
