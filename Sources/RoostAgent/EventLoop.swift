import CRoostLinux
import Glibc

/// One thread's epoll loop: descriptors and timers, each with what to do.
final class EventLoop {
    /// What a handler is told: `EPOLLIN`, `EPOLLOUT`, `EPOLLHUP`, `EPOLLERR` bits.
    typealias Events = UInt32

    static let readable: Events = 0x1
    static let writable: Events = 0x4
    static let edge: Events = 1 << 31

    private struct Watch {
        var generation: UInt32
        var events: Events
        var handler: (Events) -> Void
    }

    private struct Timer {
        var id: Int
        var deadline: UInt64
        var action: () -> Void
    }

    private let epoll: Int32
    private var watches: [Int32: Watch] = [:]
    private var timers: [Timer] = []
    private var nextTimer = 1
    private var generation: UInt32 = 0
    private var stopped = false
    /// Runs after each batch of events; answers whether it has more to do at once.
    var afterBatch: () -> Bool = { false }

    init() throws(SystemFailure) {
        epoll = try check(epoll_create1(Int32(EPOLL_CLOEXEC)), "epoll_create1")
    }

    deinit { close(epoll) }

    /// Calls `handler` whenever `descriptor` has one of `events`. Replaces an earlier watch.
    func watch(_ descriptor: Int32, _ events: Events, _ handler: @escaping (Events) -> Void) {
        generation += 1
        let known = watches[descriptor] != nil
        watches[descriptor] = Watch(generation: generation, events: events, handler: handler)
        control(known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, descriptor, events, generation)
    }

    /// Stops watching. Call it before closing the descriptor.
    func forget(_ descriptor: Int32) {
        guard watches.removeValue(forKey: descriptor) != nil else { return }
        control(EPOLL_CTL_DEL, descriptor, 0, 0)
    }

    /// Calls `action` once, `milliseconds` from now.
    func after(_ milliseconds: UInt64, _ action: @escaping () -> Void) -> Int {
        let id = nextTimer
        nextTimer += 1
        let span = milliseconds.multipliedReportingOverflow(by: 1_000_000)
        let end = bootNanoseconds().addingReportingOverflow(span.partialValue)
        let deadline = span.overflow || end.overflow ? UInt64.max : end.partialValue
        timers.append(Timer(id: id, deadline: deadline, action: action))
        return id
    }

    /// Forgets a timer. Does nothing when it ran already.
    func cancel(_ timer: Int) { timers.removeAll { $0.id == timer } }

    /// Ends ``run()`` after the present batch.
    func stop() { stopped = true }

    /// Serves until ``stop()``.
    func run() {
        var busy = afterBatch()
        while !stopped {
            wait(busy ? 0 : timeout())
            runTimers()
            busy = afterBatch()
        }
    }

    private func wait(_ timeout: Int32) {
        var events = [epoll_event](repeating: epoll_event(), count: 64)
        let count = epoll_wait(epoll, &events, 64, timeout)
        guard count > 0 else { return }
        for event in events.prefix(Int(count)) {
            let token = event.data.u64
            let descriptor = Int32(truncatingIfNeeded: token & 0xFFFF_FFFF)
            // The watch may have gone, or the number been reused, earlier in this batch.
            guard let watch = watches[descriptor], watch.generation == UInt32(token >> 32) else {
                continue
            }
            watch.handler(event.events)
        }
    }

    private func timeout() -> Int32 {
        guard let next = timers.map(\.deadline).min() else { return -1 }
        let now = bootNanoseconds()
        guard next > now else { return 0 }
        return Int32(clamping: (next - now) / 1_000_000 + 1)
    }

    private func runTimers() {
        guard !timers.isEmpty else { return }
        let now = bootNanoseconds()
        let due = timers.filter { $0.deadline <= now }
        timers.removeAll { $0.deadline <= now }
        for timer in due { timer.action() }
    }

    private func control(_ operation: Int32, _ fd: Int32, _ events: Events, _ mark: UInt32) {
        var event = epoll_event()
        event.events = events
        event.data.u64 = UInt64(mark) << 32 | UInt64(UInt32(bitPattern: fd))
        _ = epoll_ctl(epoll, operation, fd, &event)
    }
}
