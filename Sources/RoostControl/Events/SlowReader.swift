import RoostModel
import Synchronization

/// Whoever watches must take what it is sent: one that does not is told so and dropped, and never goes
/// on with a gap. Nothing is kept for it meanwhile but the one message that it does not take.
package struct SlowReader: Sendable {
    /// How long a message may wait to be taken, at least; at most twice that.
    package static let patience = Duration.seconds(15)

    private let patience: Duration
    private let clock: any Clock<Duration>

    package init(patience: Duration = Self.patience, clock: any Clock<Duration>) {
        self.patience = patience
        self.clock = clock
    }

    /// Which message is on its way; `nil`: none.
    private final class Sending: Sendable {
        private let state = Mutex<(count: UInt64, isUnderWay: Bool)>((0, false))

        func begin() { state.withLock { $0 = ($0.count + 1, true) } }
        func end() { state.withLock { $0.isUnderWay = false } }
        var current: UInt64? { state.withLock { $0.isUnderWay ? $0.count : nil } }
    }

    /// Runs `watch` with a `send` that is looked after.
    ///
    /// - Throws: ``Reason/watchTooSlow``, with `watch` cancelled, when one message is not taken in time;
    ///   else what `watch` throws.
    package func run<Message: Sendable>(
        _ send: @escaping @Sendable (Message) async throws -> Void,
        _ watch:
            @escaping @Sendable (@escaping @Sendable (Message) async throws -> Void) async throws
            -> Void
    ) async throws {
        let sending = Sending()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await watch { message in
                    sending.begin()
                    defer { sending.end() }
                    try await send(message)
                }
            }
            group.addTask {
                var last: UInt64?
                while true {
                    // Cancelled when the watch has ended, or whoever awaits it has gone.
                    do { try await clock.sleep(for: patience) } catch { return }
                    let current = sending.current
                    if let current, current == last {
                        throw Fault(
                            .watchTooSlow,
                            "what was sent was not read for \(patience.components.seconds) s or more"
                        )
                    }
                    last = current
                }
            }
            _ = try await group.next()
            group.cancelAll()
            try await group.waitForAll()
        }
    }
}
