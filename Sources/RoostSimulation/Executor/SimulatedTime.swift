import RoostModel

/// Monotonic virtual time: a sleep parks in the scheduler's timers.
struct SimulatedClock: Clock {
    struct Instant: InstantProtocol {
        var nanoseconds: Int64

        func advanced(by duration: Duration) -> Instant {
            Instant(nanoseconds: nanoseconds + duration.nanoseconds)
        }
        func duration(to other: Instant) -> Duration {
            .nanoseconds(other.nanoseconds - nanoseconds)
        }
        static func < (left: Instant, right: Instant) -> Bool {
            left.nanoseconds < right.nanoseconds
        }
    }

    let scheduler: Scheduler

    var now: Instant { Instant(nanoseconds: scheduler.now) }
    var minimumResolution: Duration { .nanoseconds(1) }

    func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        let sleeper = Sleeper(scheduler)
        await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                sleeper.park(continuation, for: now.duration(to: deadline))
            }
        } onCancel: {
            sleeper.cancel()
        }
        try Task.checkCancellation()
    }
}

/// One sleep. Unchecked, because the scheduler's one thread is all that touches it.
private final class Sleeper: @unchecked Sendable {
    private let scheduler: Scheduler
    private var ticket: Int?
    private var isCancelled = false

    init(_ scheduler: Scheduler) { self.scheduler = scheduler }

    func park(_ continuation: UnsafeContinuation<Void, Never>, for duration: Duration) {
        guard !isCancelled else {
            continuation.resume()
            return
        }
        ticket = scheduler.after(duration) { continuation.resume() }
    }

    func cancel() {
        isCancelled = true
        if let ticket, let wake = scheduler.cancel(ticket) { wake() }
    }
}

/// The time of day of one host: virtual time plus an offset that jumps.
final class SimulatedWallClock: WallClock, @unchecked Sendable {
    /// In milliseconds.
    var offset: Int64 = 1_790_000_000_000
    private let scheduler: Scheduler

    init(_ scheduler: Scheduler) { self.scheduler = scheduler }

    func now() -> Timestamp {
        Timestamp(milliseconds: offset + scheduler.now / 1_000_000)
    }
}
