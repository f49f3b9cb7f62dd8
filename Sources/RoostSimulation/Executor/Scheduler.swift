import Glibc
import RoostModel

/// Runs every job of every simulated process on one thread, in an order that the seed chooses, in
/// virtual time.
///
/// Unchecked, because all of it is touched by the thread that calls ``run(until:)`` only;
/// ``add(_:_:)`` looks whether that is so, and the run fails if it is not.
final class Scheduler: @unchecked Sendable {
    /// Virtual time since the start, in nanoseconds.
    private(set) var now: Int64 = 0
    /// Jobs run so far.
    private(set) var jobs = 0
    /// A digest of everything that was chosen.
    private(set) var digest: UInt64 = 0xcbf2_9ce4_8422_2325
    /// How often a job came from another thread. Anything but 0 fails the run.
    private(set) var foreignJobs = 0
    /// Called after each job. `true` ends the run.
    var isOver: () -> Bool = { false }
    let trace: Trace

    private var chance: Chance
    private var runnable: [(job: UnownedJob, process: SimulatedProcess)] = []
    private var timers = TimerHeap()
    private let thread = pthread_self()

    init(seed: UInt64, trace: Trace) {
        chance = Chance(seed: seed, "scheduler")
        self.trace = trace
    }

    /// Takes a job of `process` in.
    func add(_ job: UnownedJob, _ process: SimulatedProcess) {
        guard pthread_equal(thread, pthread_self()) != 0 else {
            foreignJobs += 1
            return
        }
        guard !process.isDead else { return }
        runnable.append((job, process))
    }

    /// Calls `work` when `delay` has passed, outside of every task. Returns its ticket.
    @discardableResult
    func after(_ delay: Duration, _ work: @escaping () -> Void) -> Int {
        timers.add(at: now + max(delay.nanoseconds, 0), work)
    }

    /// Takes a timer back and hands out what it would have done; `nil` when it is over.
    func cancel(_ ticket: Int) -> (() -> Void)? { timers.remove(ticket) }

    /// Mixes `value` into the digest.
    func mix(_ value: UInt64) {
        digest = (digest ^ value) &* 0x100_0000_01b3
        digest ^= digest >> 29
    }

    /// Mixes a text into the digest, and notes it when traced.
    func note(_ text: @autoclosure () -> String) {
        if trace.isOn { trace.add(now, text()) }
    }

    /// Runs until `end`, in virtual nanoseconds, until ``isOver`` says so, or until nothing is left.
    func run(until end: Int64) {
        while now < end {
            if runnable.isEmpty {
                guard let next = timers.nextTime else { return }
                guard next <= end else {
                    now = end
                    return
                }
                now = max(now, next)
            }
            while let work = timers.due(now) { work() }
            guard !runnable.isEmpty else { continue }
            step()
            if isOver() { return }
        }
    }

    private func step() {
        let index = chance.below(runnable.count)
        let (job, process) = runnable[index]
        let last = runnable.removeLast()
        if index < runnable.count { runnable[index] = last }
        // Without a cost, a task that yields for ever would hold the clock still.
        now += Int64(chance.below(2_000))
        guard !process.isDead else { return }
        process.jobsRun += 1
        mix(UInt64(index) << 32 | UInt64(process.number))
        if process.jobsRun == process.crashesAtJob {
            process.crash()
            return
        }
        jobs += 1
        job.runSynchronously(on: process.asUnownedTaskExecutor())
    }
}

/// Timers by time, and among equal times by the order in which they were set.
private struct TimerHeap {
    private struct Entry {
        let time: Int64
        let ticket: Int

        static func < (left: Entry, right: Entry) -> Bool {
            (left.time, left.ticket) < (right.time, right.ticket)
        }
    }

    private var heap: [Entry] = []
    private var works: [Int: () -> Void] = [:]
    private var nextTicket = 0

    mutating func add(at time: Int64, _ work: @escaping () -> Void) -> Int {
        nextTicket += 1
        works[nextTicket] = work
        heap.append(Entry(time: time, ticket: nextTicket))
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child] < heap[parent] else { break }
            heap.swapAt(child, parent)
            child = parent
        }
        return nextTicket
    }

    mutating func remove(_ ticket: Int) -> (() -> Void)? { works.removeValue(forKey: ticket) }

    /// When the next timer is due.
    var nextTime: Int64? {
        mutating get {
            while let first = heap.first, works[first.ticket] == nil { pop() }
            return heap.first?.time
        }
    }

    /// What is due at `now`, one at a time.
    mutating func due(_ now: Int64) -> (() -> Void)? {
        while let first = heap.first, first.time <= now {
            pop()
            if let work = works.removeValue(forKey: first.ticket) { return work }
        }
        return nil
    }

    private mutating func pop() {
        let last = heap.removeLast()
        guard !heap.isEmpty else { return }
        heap[0] = last
        var parent = 0
        while true {
            let left = 2 * parent + 1
            guard left < heap.count else { return }
            let right = left + 1
            let least = right < heap.count && heap[right] < heap[left] ? right : left
            guard heap[least] < heap[parent] else { return }
            heap.swapAt(least, parent)
            parent = least
        }
    }
}

extension Duration {
    /// In whole nanoseconds.
    var nanoseconds: Int64 {
        components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000
    }
}

/// The latest things that happened, for the report of a failed run.
final class Trace: @unchecked Sendable {
    let isOn: Bool
    private let limit: Int
    private var lines: [String] = []

    init(isOn: Bool, limit: Int = 4_000) {
        self.isOn = isOn
        self.limit = limit
    }

    func add(_ nanoseconds: Int64, _ text: String) {
        lines.append("\(Self.time(nanoseconds)) \(text)")
        if lines.count > 2 * limit { lines.removeFirst(limit) }
    }

    func tail(_ count: Int) -> [String] { Array(lines.suffix(count)) }

    private static func time(_ nanoseconds: Int64) -> String {
        let micros = String(nanoseconds / 1_000 % 1_000_000)
        let padded = String(repeating: "0", count: 6 - micros.count) + micros
        return "\(nanoseconds / 1_000_000_000).\(padded)"
    }
}
