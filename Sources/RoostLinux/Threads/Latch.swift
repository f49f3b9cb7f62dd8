internal import Synchronization

/// A value that comes once and that any number of tasks may wait for.
package final class Latch<Value: Sendable>: Sendable {
    private struct State {
        var value: Value?
        var nextToken = 0
        var waiters: [Int: CheckedContinuation<Value?, Never>] = [:]
        var cancelled: Set<Int> = []
    }

    private let state = Mutex(State())

    package init() {}

    /// The value, if it has come.
    package var value: Value? { state.withLock(\.value) }

    /// Gives the value and wakes everybody. The first call wins; returns whether it was this one.
    @discardableResult
    package func set(_ value: Value) -> Bool {
        let woken = state.withLock { state -> [CheckedContinuation<Value?, Never>]? in
            guard state.value == nil else { return nil }
            state.value = value
            defer { state.waiters = [:] }
            return Array(state.waiters.values)
        }
        for waiter in woken ?? [] { waiter.resume(returning: value) }
        return woken != nil
    }

    /// Waits for the value; `nil` when the deadline passes or the task is cancelled first.
    package func wait(until deadline: ContinuousClock.Instant? = nil) async -> Value? {
        if let value { return value }
        let token = state.withLock { state in
            state.nextToken += 1
            return state.nextToken
        }
        let timer = deadline.map { deadline in
            Task { [weak self] in
                if await Reactor.shared.sleep(until: deadline) == .timedOut { self?.giveUp(token) }
            }
        }
        defer { timer?.cancel() }
        let value = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let now = state.withLock { state -> Value?? in
                    if let value = state.value { return .some(value) }
                    if state.cancelled.contains(token) { return .some(nil) }
                    state.waiters[token] = continuation
                    return nil
                }
                if let now { continuation.resume(returning: now) }
            }
        } onCancel: {
            giveUp(token)
        }
        state.withLock { _ = $0.cancelled.remove(token) }
        return value
    }

    private func giveUp(_ token: Int) {
        let waiter = state.withLock { state -> CheckedContinuation<Value?, Never>? in
            if let waiter = state.waiters.removeValue(forKey: token) { return waiter }
            if state.value == nil { state.cancelled.insert(token) }
            return nil
        }
        waiter?.resume(returning: nil)
    }
}
