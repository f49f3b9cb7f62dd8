internal import Glibc
package import RoostModel

/// Runs `work`, which may block, on a thread kept for that, and waits for it without holding one of
/// Swift's few threads. Cancellation does not interrupt it: give the work a deadline of its own.
package func onItsOwnThread<Value: Sendable>(
    _ work: @escaping @Sendable () throws(Fault) -> Value
) async throws(Fault) -> Value {
    let result: Result<Value, Fault> = await withCheckedContinuation { continuation in
        BlockingThreads.shared.run {
            continuation.resume(returning: Result { () throws(Fault) in try work() })
        }
    }
    return try result.get()
}

/// Threads for calls that block: at most 64, each ended after ten idle seconds.
///
/// Unchecked: `queue`, `idle` and `count` are touched under `mutex` only. The standard library's
/// Mutex has no condition variable, so POSIX's is used.
final class BlockingThreads: @unchecked Sendable {
    static let shared = BlockingThreads(limit: 64, idleSeconds: 10)

    private let limit: Int
    private let idleSeconds: Int
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var queue: [@Sendable () -> Void] = []
    private var idle = 0
    private var count = 0

    init(limit: Int, idleSeconds: Int) {
        self.limit = limit
        self.idleSeconds = idleSeconds
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(wake, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    /// The threads that exist now.
    var threadCount: Int {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return count
    }

    /// Queues `job`; a thread takes it as soon as one is free.
    func run(_ job: @escaping @Sendable () -> Void) {
        pthread_mutex_lock(mutex)
        queue.append(job)
        let grows = queue.count > idle && count < limit
        if grows { count += 1 }
        pthread_cond_signal(wake)
        pthread_mutex_unlock(mutex)
        if grows { startThread() }
    }

    private func startThread() {
        let started = startDetachedThread { [self] in serve() }
        guard !started else { return }
        pthread_mutex_lock(mutex)
        count -= 1
        // With no thread at all the job would wait for ever; here it blocks its caller instead.
        let stranded = count == 0 ? queue : []
        if count == 0 { queue = [] }
        pthread_mutex_unlock(mutex)
        for job in stranded { job() }
    }

    private func serve() {
        pthread_mutex_lock(mutex)
        while true {
            if !queue.isEmpty {
                let job = queue.removeFirst()
                pthread_mutex_unlock(mutex)
                job()
                pthread_mutex_lock(mutex)
                continue
            }
            var until = timespec()
            clock_gettime(CLOCK_MONOTONIC, &until)
            until.tv_sec += idleSeconds
            idle += 1
            let outcome = pthread_cond_timedwait(wake, mutex, &until)
            idle -= 1
            if outcome == ETIMEDOUT && queue.isEmpty { break }
        }
        count -= 1
        pthread_mutex_unlock(mutex)
    }
}

/// Starts a thread that nobody joins. Returns whether it could be started.
func startDetachedThread(_ body: @escaping @Sendable () -> Void) -> Bool {
    let box = Unmanaged.passRetained(ThreadBody(body))
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_attr_setstacksize(&attributes, 512 << 10)
    defer { pthread_attr_destroy(&attributes) }
    var thread = pthread_t()
    let problem = pthread_create(
        &thread,
        &attributes,
        { raw in
            guard let raw else { return nil }
            Unmanaged<ThreadBody>.fromOpaque(raw).takeRetainedValue().body()
            return nil
        },
        box.toOpaque()
    )
    if problem != 0 { box.release() }
    return problem == 0
}

private final class ThreadBody: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}
