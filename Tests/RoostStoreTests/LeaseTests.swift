import RoostModel
import RoostStore
import RoostTestKit
import Synchronization
import Testing

@Suite("A lease")
struct LeaseTests {
    private let store = MemoryStore()
    private let clock = StepClock()

    private func keeper(_ holder: String) -> LeaseKeeper {
        LeaseKeeper(store: store, clock: clock, name: "loop", holder: holder, place: "at \(holder)")
    }

    private func taken(_ holder: String, patience: Duration = .zero) async throws -> Lease {
        try #require(try await keeper(holder).acquire(patience: patience).lease)
    }

    @Test("that is free is taken; another hears who has it, and after a release need not wait")
    func release() async throws {
        let lease = try await taken("a")
        #expect(lease.epoch == 1)
        let refused = try await keeper("b").acquire(patience: .zero)
        #expect(refused.lease == nil)
        #expect(refused.holder?.place == "at a")
        try await keeper("a").release(lease)
        #expect(try await taken("b").epoch == 2)
    }

    @Test("passes on when it is not renewed for a time to live, and not before")
    func expiry() async throws {
        let old = try await taken("a")
        let early = LeaseKeeper.timeToLive - .seconds(1)
        #expect(try await keeper("b").acquire(patience: early).lease == nil)
        let new = try await taken("b", patience: LeaseKeeper.timeToLive * 2)
        #expect(new.epoch == 2)
        #expect(clock.slept >= LeaseKeeper.timeToLive)
        for call in [keeper("a").renew, keeper("a").release] {
            let fault = await #expect(throws: Fault.self) { try await call(old) }
            #expect(fault?.reason == .staleEpoch)
        }
    }

    @Test("stays with a holder that renews it, however long another waits")
    func renewal() async throws {
        let lease = try await taken("a")
        let holder = keeper("a")
        clock.onSleep = { try? await holder.renew(lease) }
        #expect(try await keeper("b").acquire(patience: .seconds(100)).lease == nil)
        #expect(clock.slept >= .seconds(100))
    }

    @Test("comes back at once to a holder that was killed and started again")
    func restart() async throws {
        let before = try await taken("a")
        #expect(try await taken("a").epoch == before.epoch + 1)
        #expect(clock.slept == .zero)
    }

    @Test("of an older epoch lets no write through, whatever it would write")
    func fence() async throws {
        let old = try await taken("a")
        let fenced = FencedStore(store, old)
        let written = try await fenced.commit(.putting([SampleVM("1")]))
        try await keeper("a").renew(old)
        #expect(try await fenced.commit(.putting([SampleVM("2")])) == Revision(written.number + 2))
        // A conflict of the caller's own stays one.
        let conflict = await #expect(throws: Fault.self) {
            try await fenced.commit(.of { $0.insert(SampleVM("1")) })
        }
        #expect(conflict?.reason == .storeConflict)
        _ = try await taken("b", patience: .seconds(30))
        let before = store.revision()
        for batch in [
            Batch.putting([SampleVM("3")]), Batch(), .of { $0.delete(SampleVM.self, "1") },
        ] {
            let fault = await #expect(throws: Fault.self) { try await fenced.commit(batch) }
            #expect(fault?.reason == .staleEpoch)
        }
        #expect(store.revision() == before)
    }

    @Test("is won by one of many who want it at the same moment")
    func race() async throws {
        let winners = try await withThrowingTaskGroup(of: Lease?.self) { group in
            for number in 0..<16 {
                let keeper = keeper("\(number)")
                group.addTask { try await keeper.acquire(patience: .zero).lease }
            }
            var all: [Lease] = []
            for try await lease in group { if let lease { all.append(lease) } }
            return all
        }
        #expect(winners.count == 1)
    }
}

/// A clock on which sleeping takes no time.
private final class StepClock: Clock {
    struct Instant: InstantProtocol {
        var offset: Duration
        func advanced(by duration: Duration) -> Instant { Instant(offset: offset + duration) }
        func duration(to other: Instant) -> Duration { other.offset - offset }
        static func < (left: Instant, right: Instant) -> Bool { left.offset < right.offset }
    }

    private let state = Mutex((slept: Duration.zero, hook: (@Sendable () async -> Void)?.none))

    var slept: Duration { state.withLock { $0.slept } }
    var now: Instant { Instant(offset: slept) }
    var minimumResolution: Duration { .zero }

    /// Called at the end of each sleep.
    var onSleep: (@Sendable () async -> Void)? {
        get { state.withLock { $0.hook } }
        set { state.withLock { $0.hook = newValue } }
    }

    func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        let hook = state.withLock { state in
            state.slept = max(state.slept, deadline.offset)
            return state.hook
        }
        await hook?()
    }
}
