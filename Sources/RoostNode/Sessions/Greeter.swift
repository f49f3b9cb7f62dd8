package import RoostModel
import RoostOperations

/// Connects to a guest until it answers.
///
/// A greeting that reached a guest which was just being reset is lost with it, and nobody says so. What
/// is not answered in time is said again over a connection of its own, which the guest takes for the
/// only one.
package struct Greeter: Sendable {
    private let clock: any Clock<Duration>
    private let patience: Duration

    /// - Parameters:
    ///   - clock: Measures how long a guest takes.
    ///   - patience: How long the first greeting may stay unanswered; each next one twice as long, up to
    ///     a minute.
    package init(clock: any Clock<Duration>, patience: Duration = .seconds(4)) {
        self.clock = clock
        self.patience = patience
    }

    /// A connection that the guest has answered, of those that `connect` makes and runs. The others are
    /// closed.
    ///
    /// - Throws: what connecting throws; ``Reason/guestUnreachable`` when a connection is closed by
    ///   somebody; ``Reason/opCancelled``. A guest that never answers is the caller's to give up.
    package func greeted(
        _ connect: () async throws(Fault) -> GuestConnection
    ) async throws(Fault) -> GuestConnection {
        var patience = patience
        while true {
            let fresh = try await connect()
            let late = Fault(.deadline, "the guest has not answered a greeting yet")
            do throws(Fault) {
                _ = try await within(patience, on: clock, onTimeout: late) {
                    () async throws(Fault) in
                    try await fresh.ready()
                }
                return fresh
            } catch {
                await fresh.close()
                guard error.reason == .deadline, !Task.isCancelled else { throw error }
                patience = min(patience * 2, .seconds(60))
            }
        }
    }
}
