package import RoostModel
import Synchronization

/// Lets one piece of work at a time through for each key, in the order of arrival.
///
/// What an actor does not give: an actor re-enters at every `await`, and a lifecycle operation
/// awaits all the time. Work under different keys never waits for each other.
package final class KeyedQueue<Key: Hashable & Sendable>: Sendable {
    /// A key that is held has an entry: those who wait, first come first.
    private let waiting = Mutex<[Key: [CheckedContinuation<Void, Never>]]>([:])

    package init() {}

    /// Whether somebody holds `key`.
    package func isHeld(_ key: Key) -> Bool {
        waiting.withLock { $0[key] != nil }
    }

    /// Runs `work` when it is its turn.
    package func withTurn<T: Sendable>(
        _ key: Key,
        _ work: () async throws(Fault) -> T
    ) async throws(Fault) -> T {
        await enter(key)
        do throws(Fault) {
            let value = try await work()
            leave(key)
            return value
        } catch {
            leave(key)
            throw error
        }
    }

    private func enter(_ key: Key) async {
        await withCheckedContinuation { continuation in
            let isFree = waiting.withLock { table in
                guard table[key] != nil else {
                    table[key] = []
                    return true
                }
                table[key]?.append(continuation)
                return false
            }
            if isFree { continuation.resume() }
        }
    }

    private func leave(_ key: Key) {
        let next: CheckedContinuation<Void, Never>? = waiting.withLock { table in
            guard let first = table[key]?.first else {
                table[key] = nil
                return nil
            }
            table[key]?.removeFirst()
            return first
        }
        next?.resume()
    }
}
