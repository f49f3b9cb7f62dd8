import Testing

@testable import RoostLinkGRPC

@Suite("Breaker")
struct BreakerTests {
    @Test("after a failure nothing is tried until the pause has passed, then one call at a time")
    func probe() {
        var breaker = Breaker()
        #expect(breaker.admits(at: .zero))
        breaker.failed(at: .zero, chance: 1)
        #expect(!breaker.admits(at: .milliseconds(99)))
        #expect(breaker.admits(at: .milliseconds(100)))
        #expect(!breaker.admits(at: .milliseconds(101)), "one probe is on its way")
        breaker.succeeded()
        #expect(breaker.admits(at: .milliseconds(102)))
        #expect(breaker.admits(at: .milliseconds(102)))
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
        #expect(breaker.admits(at: .seconds(1)))
        breaker.leftOpen(at: .seconds(1))
        #expect(breaker.admits(at: .seconds(1)))
    }
}
