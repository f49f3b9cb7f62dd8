/// One incarnation of one process: all of its tasks prefer it as their executor.
///
/// A crash abandons it: its jobs are dropped where they stand, so that no `catch` and no `defer`
/// runs, as after SIGKILL. What it held stays in memory for the rest of the run.
///
/// Unchecked, because the scheduler's one thread is all that touches it.
final class SimulatedProcess: TaskExecutor, @unchecked Sendable {
    let name: String
    /// For the digest.
    let number: Int
    private(set) var isDead = false
    fileprivate(set) var died: (() -> Void)?
    var jobsRun = 0
    /// It dies instead of running this job.
    var crashesAtJob: Int?
    private let scheduler: Scheduler

    init(name: String, number: Int, on scheduler: Scheduler) {
        self.name = name
        self.number = number
        self.scheduler = scheduler
    }

    func enqueue(_ job: consuming ExecutorJob) {
        scheduler.add(UnownedJob(job), self)
    }

    /// Sets what happens in the world when it dies. Not code of this process.
    func whenDead(_ work: @escaping () -> Void) { died = work }

    /// Ends it at once. Whoever runs in it now gets no further than to its next `await`.
    func crash() {
        guard !isDead else { return }
        isDead = true
        scheduler.note("\(name) dies at job \(jobsRun)")
        let work = died
        died = nil
        work?()
    }

    /// Crashes the process from inside: never returns.
    func kill() async {
        crash()
        await Never.comes()
    }

    /// Runs `work` as a task of this process.
    func run(_ work: @escaping @Sendable () async -> Void) {
        _ = Task(executorPreference: self) { await work() }
    }
}

extension Never {
    /// Waits for ever, as a task of a dead process does.
    static func comes() async {
        await withUnsafeContinuation { (_: UnsafeContinuation<Void, Never>) in }
    }
}
