import RoostModel

/// What was tried for a VM of a fleet and did not settle it yet: it is tried again, ever more slowly.
struct FleetAttempt: Sendable {
    /// One kind of thing to do to one VM.
    struct Key: Hashable, Sendable {
        var project: String
        var fleet: String
        var name: String
        var verb: String
    }

    /// How often it was tried.
    var count = 0
    /// When it was tried last.
    var begunAt = Timestamp(milliseconds: 0)
    /// How long after that it is left alone, in seconds.
    private var pause: Int64 = 0
    /// Why it was refused, if it was.
    var fault: Fault?

    /// Seconds between the first and the second time, doubled each time.
    private static let firstPause: Int64 = 2
    private static let longestPause: Int64 = 60

    /// Whether it may be tried at `now`. A clock that was set back makes nobody wait longer.
    func isDue(at now: Timestamp) -> Bool {
        count == 0 || now < begunAt || begunAt.adding(seconds: pause) <= now
    }

    /// Notes that it is tried at `now`.
    mutating func begin(at now: Timestamp) {
        pause = min(Self.firstPause << Int64(min(count, 5)), Self.longestPause)
        begunAt = now
        count += 1
        fault = nil
    }
}
