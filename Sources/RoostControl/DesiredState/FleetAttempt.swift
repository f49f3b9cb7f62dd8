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
    /// When it may be tried again.
    var notBefore: Timestamp
    /// Why it was refused, if it was.
    var fault: Fault?

    /// Seconds between the first and the second time, doubled each time.
    private static let pause: Int64 = 2
    private static let longestPause: Int64 = 60

    /// Notes that it is tried at `now`.
    mutating func begin(at now: Timestamp) {
        let pause = min(Self.pause << Int64(min(count, 5)), Self.longestPause)
        notBefore = now.adding(seconds: pause)
        count += 1
        fault = nil
    }
}
