import RoostModel

/// A seeded generator (SplitMix64; Steele, Lea & Flood 2014, figure 16).
struct Chance: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    /// A generator of its own for `purpose`, so that drawing more for one thing moves no other.
    init(seed: UInt64, _ purpose: String) {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in purpose.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        state = seed &* 0x9E37_79B9_7F4A_7C15 ^ hash
        _ = next()
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number in `0 ..< bound`. The bias is nothing that a simulation would notice.
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

    /// Whether something of this many in 10,000 happens.
    mutating func hits(_ perTenThousand: Int) -> Bool { below(10_000) < perTenThousand }

    /// A duration up to `limit`, small ones likelier.
    mutating func duration(upTo limit: Duration) -> Duration {
        let part = Double(below(1_000_000)) / 1_000_000
        return limit * (part * part)
    }

    mutating func pick<T>(_ choices: [T]) -> T { choices[below(choices.count)] }
}

/// One seeded source that many share. Everything runs on one thread, so there is no lock.
final class SharedChance: Entropy, @unchecked Sendable {
    var chance: Chance

    init(_ chance: Chance) { self.chance = chance }

    func next() -> UInt64 { chance.next() }
}
