/// Owns the work that outlives the request that began it.
///
/// One task runs ``run()``; every job is its child, so that nothing is unstructured: a job ends,
/// or is cancelled together with the owner. Jobs handed over before `run()` wait for it.
package final class Spawner: Sendable {
    package typealias Job = @Sendable () async -> Void

    private let jobs: AsyncStream<Job>
    private let inlet: AsyncStream<Job>.Continuation

    package init() {
        (jobs, inlet) = AsyncStream.makeStream(of: Job.self)
    }

    /// Hands `job` over. Does nothing after ``finish()``.
    package func spawn(_ job: @escaping Job) {
        inlet.yield(job)
    }

    /// Runs jobs until ``finish()`` and all of them have ended, or until cancelled.
    package func run() async {
        await withDiscardingTaskGroup { group in
            for await job in jobs {
                group.addTask { await job() }
            }
        }
    }

    /// Takes no more jobs.
    package func finish() {
        inlet.finish()
    }
}
