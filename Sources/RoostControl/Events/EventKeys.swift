import RoostModel
import Synchronization

/// Names the rows of events: by time, and so that no two are ever the same, whichever process of
/// whichever control plane writes them.
final class EventKeys: Sendable {
    private struct State {
        /// Drawn at the first use; tells this process from every other.
        var process: UInt64?
        var count: UInt64 = 0
    }

    private let entropy: any Entropy
    private let state = Mutex(State())

    init(_ entropy: any Entropy) { self.entropy = entropy }

    /// A new key for what happens `now`.
    func next(at now: Timestamp) -> String {
        let (process, count) = state.withLock { state in
            let process = state.process ?? entropy.next()
            state.process = process
            state.count += 1
            return (process, state.count)
        }
        let digits = String(process, radix: 16)
        return Self.first(at: now) + "-" + padded(digits, 16) + "-" + padded(String(count), 10)
    }

    /// The keys of everything that happened before `time` come before this one.
    static func first(at time: Timestamp) -> String {
        padded(String(UInt64(clamping: time.milliseconds)), 13)
    }

    private static func padded(_ digits: String, _ width: Int) -> String {
        String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }

    private func padded(_ digits: String, _ width: Int) -> String { Self.padded(digits, width) }
}
