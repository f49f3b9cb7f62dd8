import Logging
package import RoostOperations

/// One run: what a seed does to the product.
package struct Simulation: Sendable {
    package var seed: UInt64
    package var profile: Profile
    /// A protection of the product to leave out, so as to see that it is missed.
    package var sabotage: Failpoint?
    /// Only these faults happen; `nil`: all that the seed draws.
    package var only: Set<FaultID>?
    /// How many things each client wishes for.
    package var wishes = Simulation.usualWishes
    package static let usualWishes = 12
    /// How long things go wrong, in virtual seconds.
    package var seconds = Simulation.usualSeconds
    package static let usualSeconds = 60
    /// Keep the event log for ``Outcome/tail``.
    package var isTraced = false

    package init(seed: UInt64, profile: Profile) {
        self.seed = seed
        self.profile = profile
    }

    /// How a run ended.
    package struct Outcome: Sendable {
        /// What did not hold; empty when all is well.
        package var violations: [String]
        /// A digest of everything that was chosen: the same for the same seed.
        package var hash: UInt64
        package var jobs: Int
        /// What went wrong, in order.
        package var faults: [FaultID]
        /// Virtual time that passed.
        package var elapsed: Duration
        /// How often each rare thing happened.
        package var marks: [String: Int]
        /// The end of the event log; empty unless traced.
        package var tail: [String]
    }

    /// Runs it on this thread. What a crash abandoned stays in memory: run many in child processes.
    package func run() -> Outcome {
        let trace = Trace(isOn: isTraced)
        let world = World(self, trace: trace)
        // Abandoned tasks hold on to it, and it to their continuations, which never resume.
        _ = Unmanaged.passRetained(world)
        world.start()
        let crowd = Crowd(world: world, wishes: wishes)
        crowd.start()
        let second: Int64 = 1_000_000_000
        let invariants = world.invariants
        world.scheduler.isOver = {
            // A run takes some thousand jobs; one that takes this many goes in circles.
            if world.scheduler.jobs == 1_000_000 { invariants.violated("1,000,000 jobs: it spins") }
            return invariants.hasFailed
        }
        for now in 1...Int64(seconds) where !invariants.hasFailed {
            world.scheduler.run(until: now * second)
            for problem in crowd.lagging { invariants.violated(problem) }
        }
        world.endFaults()
        var limit = world.scheduler.now
        var problems = ["never looked"]
        // A restart policy waits for up to a minute, a fleet for one guest after the other to stop.
        for _ in 0..<300 where !invariants.hasFailed && !problems.isEmpty {
            limit += second
            world.scheduler.run(until: limit)
            for problem in crowd.lagging { invariants.violated(problem) }
            problems = crowd.unfinished + invariants.unsettled()
        }
        if !invariants.hasFailed {
            for problem in problems { invariants.violated("long after the faults: \(problem)") }
        }
        if !invariants.hasFailed {
            crowd.askAgain()
            world.scheduler.run(until: limit + 60 * second)
            for problem in crowd.unfinished { invariants.violated("asked again: \(problem)") }
        }
        return outcome(of: world)
    }

    private func outcome(of world: World) -> Outcome {
        var violations = world.invariants.violations
        if world.scheduler.foreignJobs > 0 {
            violations.append("\(world.scheduler.foreignJobs) jobs came from another thread")
        }
        return Outcome(
            violations: violations,
            hash: world.scheduler.digest,
            jobs: world.scheduler.jobs,
            faults: world.faults.struck,
            elapsed: .nanoseconds(world.scheduler.now),
            marks: world.marks,
            tail: world.scheduler.trace.tail(400)
        )
    }
}
