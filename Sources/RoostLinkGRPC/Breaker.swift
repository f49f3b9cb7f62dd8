/// Whether calls to one node are tried: after a failure not before a pause has passed, then one at a
/// time until one succeeds.
///
/// ```text
///  closed ──failure──▶ open ──pause──▶ probing ──success──▶ closed
///                        ▲                │
///                        └───failure──────┘  the pause doubles, up to the longest
/// ```
/// A value: time and chance are arguments.
struct Breaker: Sendable, Equatable {
    enum State: Sendable, Equatable {
        case closed
        case open(until: Duration)
        /// One call is on its way to find out. It may take long, so that another is let through then.
        case probing(until: Duration)
    }

    private(set) var state = State.closed
    private(set) var pause = Duration.zero

    /// How long the others wait for one probe.
    static let probeTime = Duration.seconds(1)
    /// The pause after the first failure.
    static let shortest = Duration.milliseconds(100)
    /// No pause is longer, before jitter.
    static let longest = Duration.seconds(5)

    /// Whether a call may be tried at `now`. If so and it was open, this call is the probe.
    mutating func admits(at now: Duration) -> Bool {
        switch state {
        case .closed: return true
        case .probing(let until), .open(let until):
            guard now >= until else { return false }
            state = .probing(until: now + Self.probeTime)
            return true
        }
    }

    /// A call was answered, whatever the answer.
    mutating func succeeded() {
        state = .closed
        pause = .zero
    }

    /// A call found nobody. `chance` is 0 … 1: pauses of many callers spread over half to the whole.
    mutating func failed(at now: Duration, chance: Double) {
        pause = pause == .zero ? Self.shortest : min(pause * 2, Self.longest)
        state = .open(until: now + pause * (0.5 + 0.5 * chance))
    }

    /// The probe ended without a word about the node: its caller left.
    mutating func leftOpen(at now: Duration) {
        if case .probing = state { state = .open(until: now) }
    }
}
