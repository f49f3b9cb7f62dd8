internal import CRoostLinux
internal import Glibc
internal import Synchronization

/// One thread that waits for every descriptor of this process and wakes the tasks that asked.
///
/// ```text
///  wait(fd, .read) ──▶ waiters[fd] ──▶ epoll (one shot) ──▶ thread ──▶ the task goes on
/// ```
/// A task that is cancelled, or whose deadline passes, is woken at once. A descriptor must be
/// forgotten (``forget(_:)``) before it is closed; that wakes its waiters too.
package final class Reactor: Sendable {
    /// The one for this process.
    package static let shared = Reactor()

    /// What a task waits for.
    package enum Interest: Sendable {
        /// Readable, at its end, or broken; for a pidfd: the process has ended.
        case read
        /// Writable or broken.
        case write
    }

    /// Why a wait ended.
    package enum Wake: Sendable {
        case ready
        case timedOut
        case cancelled
        /// The descriptor was forgotten, or cannot be waited for.
        case gone
    }

    private struct Waiter {
        let descriptor: Int32
        let interest: Interest
        let continuation: CheckedContinuation<Wake, Never>
    }

    private struct State {
        var nextToken: UInt64 = 1
        var waiters: [UInt64: Waiter] = [:]
        var tokens: [Int32: [UInt64]] = [:]
        var registered: Set<Int32> = []
        var deadlines: [UInt64: ContinuousClock.Instant] = [:]
        /// Waits that have a token and have not begun; a cancellation takes the token away.
        var pending: Set<UInt64> = []
        var handlers: [Int32: @Sendable () -> Void] = [:]
    }

    private let epoll: Int32
    private let bell: Int32
    private let state = Mutex(State())

    private init() {
        epoll = epoll_create1(O_CLOEXEC)
        bell = roost_host_bell()
        // Without these two descriptors no part of the daemon can work.
        precondition(epoll >= 0 && bell >= 0, "no descriptors left for the reactor")
        var event = epoll_event()
        event.events = roost_host_epoll_in
        event.data.fd = bell
        epoll_ctl(epoll, EPOLL_CTL_ADD, bell, &event)
        let started = startDetachedThread { [self] in loop() }
        precondition(started, "no thread left for the reactor")
    }

    /// Waits until `descriptor` is ready, or `deadline` passes, or the task is cancelled.
    package func wait(
        _ descriptor: Int32,
        for interest: Interest,
        until deadline: ContinuousClock.Instant? = nil
    ) async -> Wake {
        let token = state.withLock { state in
            defer { state.nextToken += 1 }
            state.pending.insert(state.nextToken)
            return state.nextToken
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let waiter = Waiter(
                    descriptor: descriptor,
                    interest: interest,
                    continuation: continuation
                )
                begin(token, waiter, deadline)
            }
        } onCancel: {
            finish(token, .cancelled)
        }
    }

    /// Waits until `deadline`. Returns early with `.cancelled` only.
    package func sleep(until deadline: ContinuousClock.Instant) async -> Wake {
        await wait(-1, for: .read, until: deadline)
    }

    /// Wakes all who wait for `descriptor` and stops watching it. Call before closing it.
    package func forget(_ descriptor: Int32) {
        let woken = state.withLock { state -> [Waiter] in
            if state.registered.remove(descriptor) != nil {
                epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, nil)
            }
            state.handlers[descriptor] = nil
            return (state.tokens.removeValue(forKey: descriptor) ?? []).compactMap { token in
                state.deadlines[token] = nil
                return state.waiters.removeValue(forKey: token)
            }
        }
        for waiter in woken { waiter.continuation.resume(returning: .gone) }
    }

    /// Calls `handler` on the reactor's thread whenever `descriptor` is readable. It must not block.
    func handle(_ descriptor: Int32, _ handler: @escaping @Sendable () -> Void) -> Bool {
        state.withLock { state in
            var event = epoll_event()
            event.events = roost_host_epoll_in
            event.data.fd = descriptor
            guard epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 else { return false }
            state.registered.insert(descriptor)
            state.handlers[descriptor] = handler
            return true
        }
    }

    private func begin(_ token: UInt64, _ waiter: Waiter, _ deadline: ContinuousClock.Instant?) {
        let outcome = state.withLock { state -> Wake? in
            guard state.pending.remove(token) != nil else { return .cancelled }
            state.waiters[token] = waiter
            if let deadline { state.deadlines[token] = deadline }
            if waiter.descriptor >= 0 {
                state.tokens[waiter.descriptor, default: []].append(token)
                if !arm(waiter.descriptor, &state) {
                    remove(token, &state)
                    return .gone
                }
            }
            return nil
        }
        if let outcome { waiter.continuation.resume(returning: outcome) }
        if outcome == nil, deadline != nil { ring() }
    }

    private func finish(_ token: UInt64, _ wake: Wake) {
        let waiter = state.withLock { state -> Waiter? in
            guard let waiter = state.waiters[token] else {
                state.pending.remove(token)
                return nil
            }
            remove(token, &state)
            return waiter
        }
        waiter?.continuation.resume(returning: wake)
    }

    private func remove(_ token: UInt64, _ state: inout State) {
        guard let waiter = state.waiters.removeValue(forKey: token) else { return }
        state.deadlines[token] = nil
        state.tokens[waiter.descriptor]?.removeAll { $0 == token }
        if state.tokens[waiter.descriptor]?.isEmpty == true {
            state.tokens[waiter.descriptor] = nil
        }
    }

    private func arm(_ descriptor: Int32, _ state: inout State) -> Bool {
        var event = epoll_event()
        event.data.fd = descriptor
        event.events = roost_host_epoll_oneshot
        for token in state.tokens[descriptor] ?? [] {
            switch state.waiters[token]?.interest {
            case .read: event.events |= roost_host_epoll_in
            case .write: event.events |= roost_host_epoll_out
            case nil: break
            }
        }
        if state.registered.contains(descriptor),
            epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event) == 0
        {
            return true
        }
        guard epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 else { return false }
        state.registered.insert(descriptor)
        return true
    }

    private func ring() {
        var one: UInt64 = 1
        _ = write(bell, &one, 8)
    }

    private func loop() {
        var events = [epoll_event](repeating: epoll_event(), count: 64)
        while true {
            let count = epoll_wait(epoll, &events, Int32(events.count), millisecondsToDeadline())
            for index in 0..<Int(max(count, 0)) {
                take(events[index].data.fd, events[index].events)
            }
            expire()
        }
    }

    private func millisecondsToDeadline() -> Int32 {
        guard let first = state.withLock({ $0.deadlines.values.min() }) else { return -1 }
        let left = ContinuousClock.now.duration(to: first) / .milliseconds(1)
        return Int32(min(max(left.rounded(.up), 0), 3_600_000))
    }

    private func take(_ descriptor: Int32, _ events: UInt32) {
        if descriptor == bell {
            var count: UInt64 = 0
            _ = read(bell, &count, 8)
            return
        }
        if let handler = state.withLock({ $0.handlers[descriptor] }) {
            handler()
            return
        }
        // An error or hang-up wakes both sides: their next call says what it is.
        let broken = events & ~(roost_host_epoll_in | roost_host_epoll_out) != 0
        let woken = state.withLock { state -> [Waiter] in
            var woken: [Waiter] = []
            for token in state.tokens[descriptor] ?? [] {
                guard let waiter = state.waiters[token] else { continue }
                let mask =
                    waiter.interest == .read ? roost_host_epoll_in : roost_host_epoll_out
                guard broken || events & mask != 0 else { continue }
                woken.append(waiter)
                remove(token, &state)
            }
            if state.tokens[descriptor] != nil { _ = arm(descriptor, &state) }
            return woken
        }
        for waiter in woken { waiter.continuation.resume(returning: .ready) }
    }

    private func expire() {
        let now = ContinuousClock.now
        let late = state.withLock { $0.deadlines.filter { $0.value <= now }.map(\.key) }
        for token in late { finish(token, .timedOut) }
    }
}
