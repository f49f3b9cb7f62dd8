/// Where chance comes from. A simulation gives a seeded one.
package protocol Entropy: Sendable {
    /// 64 unpredictable bits.
    func next() -> UInt64
}

/// Where the time of day comes from, for records that people read.
package protocol WallClock: Sendable {
    /// Now, in milliseconds since 1970 (UTC).
    func now() -> Timestamp
}

/// Everything ambient that a deciding part may use, passed in.
package struct Surroundings: Sendable {
    /// Monotonic time and sleeping. Nothing else sleeps.
    package let clock: any Clock<Duration>
    package let wall: any WallClock
    package let entropy: any Entropy

    package init(clock: any Clock<Duration>, wall: any WallClock, entropy: any Entropy) {
        self.clock = clock
        self.wall = wall
        self.entropy = entropy
    }

    /// A new random identifier.
    package func identifier<Subject>() -> Identifier<Subject> {
        Identifier(bits: UInt128(entropy.next()) << 64 | UInt128(entropy.next()))
    }

    /// A new op id that begins now.
    package func operationID() -> OperationID {
        var generator = Drawing(entropy: entropy)
        return OperationID(at: wall.now(), using: &generator)
    }
}

private struct Drawing: RandomNumberGenerator {
    let entropy: any Entropy
    mutating func next() -> UInt64 { entropy.next() }
}
