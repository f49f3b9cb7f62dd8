/// Tells a guest that reboots from one that resets itself for ever. A value: time is an argument.
///
/// One reset is not one event: SeaBIOS, entered again, resets the machine up to six times more within
/// milliseconds until its own memory is clean (seen with QEMU 7.2 under load). So what follows within
/// half a second counts as the same reset; only a flood of them counts by itself.
struct ResetCount: Sendable {
    /// More resets than this within a minute are a loop.
    static let limit = 5
    /// Likewise for events, however close together.
    static let eventLimit = 60

    private var events: [ContinuousClock.Instant] = []
    private var resets: [ContinuousClock.Instant] = []

    /// Counts an event and returns whether the guest is looping.
    mutating func count(at now: ContinuousClock.Instant) -> Bool {
        events.removeAll { now - $0 > .seconds(60) }
        resets.removeAll { now - $0 > .seconds(60) }
        let isSameReset = events.last.map { now - $0 < .milliseconds(500) } ?? false
        events.append(now)
        if !isSameReset { resets.append(now) }
        return resets.count > Self.limit || events.count > Self.eventLimit
    }
}
