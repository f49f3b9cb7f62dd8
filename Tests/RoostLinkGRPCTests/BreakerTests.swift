import Testing

@testable import RoostLinkGRPC

@Suite("Breaker")
struct BreakerTests {
    /// Whether `breaker` lets a call through at `milliseconds`.
    private func admits(_ breaker: inout Breaker, at milliseconds: Int) -> Bool {
        breaker.admits(at: .milliseconds(milliseconds))
    }

    @Test("after a failure nothing is tried until the pause has passed, then one call at a time")
    func probe() {
        var breaker = Breaker()
        var seen = [admits(&breaker, at: 0)]
        breaker.failed(at: .zero, chance: 1)
        for time in [99, 100, 101, 1_099, 1_100, 1_101] { seen.append(admits(&breaker, at: time)) }
        // The second probe goes when the first has taken a second.
        #expect(seen == [true, false, true, false, false, true, false])
        breaker.succeeded()
        seen = [admits(&breaker, at: 1_102), admits(&breaker, at: 1_102)]
        #expect(seen == [true, true])
    }

    @Test("pauses double up to the longest, are never under half of it, and begin anew")
    func pauses() {
        var breaker = Breaker()
        var seen: [Duration] = []
        for _ in 0..<8 {
            breaker.failed(at: .zero, chance: 0)
            seen.append(breaker.pause)
        }
        #expect(seen.first == Breaker.shortest && seen.last == Breaker.longest)
        #expect(zip(seen, seen.dropFirst()).allSatisfy { $0 <= $1 })
        #expect(breaker.state == .open(until: Breaker.longest * 0.5))
        breaker.succeeded()
        breaker.failed(at: .zero, chance: 1)
        #expect(breaker.pause == Breaker.shortest)
    }

    @Test("a probe whose caller left lets the next one try")
    func abandoned() {
        var breaker = Breaker()
        breaker.failed(at: .zero, chance: 0)
        let first = admits(&breaker, at: 1_000)
        breaker.leftOpen(at: .seconds(1))
        let second = admits(&breaker, at: 1_000)
        #expect(first && second)
    }
}
