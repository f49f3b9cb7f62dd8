import Glibc
import RoostOperations

/// `roost-sim`: one seed, or many in child processes.
package enum SimulatorCommand {
    /// Runs it and returns the exit status: 0 when everything held, 1 when not, 2 for bad usage.
    package static func run(_ arguments: [String]) -> Int32 {
        guard let options = Options(arguments) else {
            print(Options.usage)
            return 2
        }
        if options.isChild { return batch(options) }
        if options.huntsBugs { return hunt(options) }
        if options.printsHashes { return hashes(options) }
        if let seed = options.seed { return one(seed, options) }
        return many(options)
    }

    /// One seed: the seed first, what happened, and the digest on the last line.
    private static func one(_ seed: UInt64, _ options: Options) -> Int32 {
        print("seed \(seed) profile \(options.profile.name)")
        let outcome = options.simulation(seed).run()
        for line in outcome.tail { print(line) }
        for violation in outcome.violations { print("VIOLATED: \(violation)") }
        for (name, count) in outcome.marks.sorted(by: { $0.key < $1.key }) {
            print("\(count) \(name)")
        }
        print("\(outcome.faults.count) faults: \(list(outcome.faults))")
        print("\(outcome.jobs) jobs in \(outcome.elapsed) of virtual time")
        print(String(outcome.hash, radix: 16))
        return outcome.violations.isEmpty ? 0 : 1
    }

    /// The digest of every seed, and one of them all on the last line.
    private static func hashes(_ options: Options) -> Int32 {
        var whole: UInt64 = 0xcbf2_9ce4_8422_2325
        var status: Int32 = 0
        for seed in options.seeds {
            let outcome = options.simulation(seed).run()
            if !outcome.violations.isEmpty { status = 1 }
            print("\(seed) \(String(outcome.hash, radix: 16))")
            whole = (whole ^ outcome.hash) &* 0x100_0000_01b3
        }
        print(String(whole, radix: 16))
        return status
    }

    /// A child's share: a seed that fails is shrunk and said, what was reached is summed.
    private static func batch(_ options: Options) -> Int32 {
        var marks: [String: Int] = [:]
        var failed = false
        for seed in options.seeds {
            let outcome = options.simulation(seed).run()
            marks.merge(outcome.marks) { $0 + $1 }
            guard let violation = outcome.violations.first else { continue }
            failed = true
            if options.skip != nil, !options.shrinks {
                print("@found \(seed) \(violation)")
                break
            }
            print("seed \(seed): \(violation)")
            print("  \(replayLine(options.simulation(seed)))")
            var shrinker = Shrinker(options.simulation(seed), outcome)
            let shrunk = shrinker.run()
            print("  shrunk: \(replayLine(shrunk.simulation))")
            print("    \(shrunk.violation)")
            fflush(nil)
        }
        for (name, count) in marks.sorted(by: { $0.key < $1.key }) {
            print("@mark \(count) \(name)")
        }
        return failed ? 1 : 0
    }

    /// What to type so as to see this run again.
    static func replayLine(_ simulation: Simulation) -> String {
        var words = ["roost-sim --seed \(simulation.seed) --profile \(simulation.profile.name)"]
        if let skip = simulation.sabotage { words.append("--skip \(skip)") }
        if simulation.wishes != Simulation.usualWishes {
            words.append("--wishes \(simulation.wishes)")
        }
        if simulation.seconds != Simulation.usualSeconds {
            words.append("--seconds \(simulation.seconds)")
        }
        if let only = simulation.only { words.append("--only \(list(only.sorted()))") }
        return words.joined(separator: " ") + " --trace"
    }

    private static func list(_ faults: [FaultID]) -> String {
        faults.isEmpty ? "none" : faults.map(\.description).joined(separator: ",")
    }

    /// Many seeds, in children of 100 each, so that what crashes abandon is given back.
    private static func many(_ options: Options) -> Int32 {
        let deadline = options.minutes.map { time(nil) + $0 * 60 }
        var children = Children(limit: options.jobs)
        var next = options.seeds.lowerBound
        var status: Int32 = 0
        var done: UInt64 = 0
        var marks: [String: Int] = [:]
        while true {
            let isOver = deadline.map { time(nil) >= $0 } ?? false
            if next <= options.seeds.upperBound, children.haveRoom, !isOver {
                let last = min(next + 99, options.seeds.upperBound)
                guard children.start(options.words(for: next...last)) else { return 2 }
                done += last - next + 1
                next = last + 1
                continue
            }
            guard let ended = children.next() else { break }
            if ended.status != 0 {
                status = 1
                if ended.output.isEmpty { print("a child of \(ended.words) died") }
            }
            for line in ended.output { take(line, into: &marks) }
            fflush(nil)
        }
        let isComplete = options.sumsMarkers ? report(marks) : true
        print("\(done) seeds, profile \(options.profile.name): \(status == 0 ? "held" : "FAILED")")
        return status == 0 && isComplete ? 0 : 1
    }

    private static func take(_ line: Substring, into marks: inout [String: Int]) {
        let words = line.split(separator: " ", maxSplits: 2)
        if words.count == 3, words[0] == "@mark", let count = Int(words[1]) {
            marks[String(words[2]), default: 0] += count
        } else {
            print(line)
        }
    }

    /// Prints how often each rare thing happened. Whether all of those that must were reached.
    private static func report(_ marks: [String: Int]) -> Bool {
        let wanted =
            Marker.allCases.map(\.rawValue)
            + Disaster.allCases.map { "world.disaster-\($0.rawValue)" }
            + ["create", "update", "restart", "replace", "start", "stop", "remove"]
            .map { "fleet.\($0)" }
        for name in Set(wanted).union(marks.keys).sorted() {
            print("\(marks[name] ?? 0) \(name)")
        }
        let missing = wanted.filter { marks[$0] == nil }
        if !missing.isEmpty { print("NEVER REACHED: \(missing.joined(separator: ", "))") }
        return missing.isEmpty
    }

    /// For each planted bug, the first seed that finds it, and by what.
    private static func hunt(_ options: Options) -> Int32 {
        print("| left out | profile | first seed | found by |")
        print("|---|---|---|---|")
        var isComplete = true
        let bugs = PlantedBug.all.filter { options.skip == nil || options.skip == $0.point }
        for bug in bugs {
            var hunt = options
            hunt.skip = bug.point
            hunt.profile = bug.profile
            if options.isQuick { hunt.seeds = bug.knownSeed...(bug.knownSeed + 1_999) }
            let found = firstFailure(hunt)
            isComplete = isComplete && found != nil
            let columns = found.map { "\($0.seed) | \($0.violation)" } ?? "**NOT FOUND** | "
            print("| \(bug.point) | \(bug.profile.name) | \(columns) |")
            fflush(nil)
        }
        return isComplete ? 0 : 1
    }

    private static func firstFailure(_ options: Options) -> (seed: UInt64, violation: String)? {
        var children = Children(limit: options.jobs)
        var found: (seed: UInt64, violation: String)?
        var next = options.seeds.lowerBound
        // Small batches first: most bugs are found by one of the first seeds.
        var size: UInt64 = options.isQuick ? 1 : 20
        while true {
            if found == nil, next <= options.seeds.upperBound, children.haveRoom {
                let last = min(next + size - 1, options.seeds.upperBound)
                guard children.start(options.words(for: next...last)) else { return nil }
                next = last + 1
                size = min(size * 2, 100)
                continue
            }
            guard let ended = children.next() else { return found }
            for line in ended.output {
                let words = line.split(separator: " ", maxSplits: 2)
                guard words.count == 3, words[0] == "@found", let seed = UInt64(words[1]),
                    found.map({ seed < $0.seed }) != false
                else { continue }
                found = (seed, String(words[2]))
            }
        }
    }

    /// Runs this program again with Swift's hashing fixed, unless it is: the order of a Set must not
    /// differ from process to process. Returns only when nothing is to be done, or it failed.
    package static func fixHashing() {
        let name = "SWIFT_DETERMINISTIC_HASHING"
        guard getenv(name) == nil else { return }
        setenv(name, "1", 1)
        var arguments: [UnsafeMutablePointer<CChar>?] = CommandLine.arguments.map { strdup($0) }
        arguments.append(nil)
        execv("/proc/self/exe", arguments)
    }
}
