package import RoostModel

/// Tells when guests no longer know the time: their clocks stand still while the host sleeps, and do
/// not follow when its clock is set. A value: what the clocks say is an argument.
package struct ClockWatch: Sendable {
    /// What the host's clocks say at one moment.
    package struct Reading: Sendable, Hashable {
        /// The time of day.
        package var wall: Timestamp
        /// Time awake: CLOCK_MONOTONIC, which stands still while the host sleeps. Guests go by it.
        package var awake: Duration

        package init(wall: Timestamp, awake: Duration) {
            self.wall = wall
            self.awake = awake
        }

        /// The wall time at which the host would have been awake for no time at all.
        fileprivate var origin: Duration { .milliseconds(wall.milliseconds) - awake }
    }

    /// How far guests may be off.
    package static let tolerance = Duration.seconds(1)

    /// Where guests believe that the time began.
    private var origin: Duration

    /// Guests have the right time at `now`.
    package init(_ now: Reading) { origin = now.origin }

    /// Whether the clocks of guests are to be set: they are off, by the sum of all that happened since
    /// they were set last. Taken as done when the answer is `true`.
    package mutating func isOff(at now: Reading) -> Bool {
        let difference = now.origin - origin
        guard difference > Self.tolerance || difference < .zero - Self.tolerance else {
            return false
        }
        origin = now.origin
        return true
    }
}
