import Glibc
import RoostOperations

/// `roost-sim`: one seed, or many in child processes.
package enum SimulatorCommand {
    private static let usage = """
        usage: roost-sim --seed S [--profile calm|rough|storm] [--skip PROTECTION] [--trace]
               roost-sim --seeds A..B [--profile P] [--skip PROTECTION] [--jobs N] [--minutes M]
               roost-sim --table [--seeds A..B] [--profile P]
        """

    private struct Options {
        var seed: UInt64?
        var seeds: ClosedRange<UInt64> = 1...1_000
        var profile = Profile.rough
        var skip: Failpoint?
        var isTraced = false
        var jobs = 2
        var minutes: Int?
        var makesTable = false
        /// This process is a child: seeds one after the other, one line each that failed.
        var isChild = false
    }

    /// Runs it and returns the exit status: 0 when everything held, 1 when not, 2 for bad usage.
    package static func run(_ arguments: [String]) -> Int32 {
        guard let options = parse(arguments) else {
            print(usage)
            return 2
        }
        if options.makesTable { return table(options) }
        if let seed = options.seed { return one(seed, options) }
        return options.isChild ? batch(options) : many(options)
    }

    private static func parse(_ arguments: [String]) -> Options? {
        var options = Options()
        var rest = arguments[...]
        while let word = rest.popFirst() {
            switch word {
            case "--trace": options.isTraced = true
            case "--table": options.makesTable = true
            case "--child": options.isChild = true
            case "--seed":
                guard let seed = rest.popFirst().flatMap({ UInt64($0) }) else { return nil }
                options.seed = seed
            case "--seeds":
                let ends = (rest.popFirst() ?? "").split(separator: ".").map { UInt64($0) }
                guard ends.count == 2, let first = ends[0], let last = ends[1], first <= last
                else { return nil }
                options.seeds = first...last
            case "--profile":
                let name = rest.popFirst()
                guard let found = Profile.all.first(where: { $0.name == name }) else { return nil }
                options.profile = found
            case "--skip":
                let name = rest.popFirst()
                guard let found = Failpoint.protections.first(where: { $0.name == name })
                else { return nil }
                options.skip = found
            case "--jobs":
                guard let jobs = rest.popFirst().flatMap({ Int($0) }), jobs > 0 else { return nil }
                options.jobs = jobs
            case "--minutes":
                guard let minutes = rest.popFirst().flatMap({ Int($0) }) else { return nil }
                options.minutes = minutes
            default: return nil
            }
        }
        return options
    }

    private static func simulation(_ seed: UInt64, _ options: Options) -> Simulation {
        Simulation(
            seed: seed,
            profile: options.profile,
            sabotage: options.skip,
            isTraced: options.isTraced
        )
    }

    /// One seed: the seed first, what happened, and the digest on the last line.
    private static func one(_ seed: UInt64, _ options: Options) -> Int32 {
        print("seed \(seed) profile \(options.profile.name)")
        let outcome = simulation(seed, options).run()
        for line in outcome.tail { print(line) }
        for violation in outcome.violations { print("VIOLATED: \(violation)") }
        for (name, count) in outcome.marks.sorted(by: { $0.key < $1.key }) {
            print("\(count) \(name)")
        }
        print("\(outcome.jobs) jobs in \(outcome.elapsed) of virtual time")
        print(String(outcome.hash, radix: 16))
        return outcome.violations.isEmpty ? 0 : 1
    }

    /// A child's share: one line for each seed that failed.
    private static func batch(_ options: Options) -> Int32 {
        var failed = false
        for seed in options.seeds {
            let outcome = simulation(seed, options).run()
            guard let violation = outcome.violations.first else { continue }
            failed = true
            let skip = options.skip.map { " --skip \($0)" } ?? ""
            let profile = options.profile.name
            print("seed \(seed): \(violation)")
            print("  roost-sim --seed \(seed) --profile \(profile)\(skip) --trace")
            if options.skip != nil { break }
        }
        return failed ? 1 : 0
    }

    /// Many seeds, in children of 100 each, so that what crashes abandon is given back.
    private static func many(_ options: Options) -> Int32 {
        let deadline = options.minutes.map { time(nil) + $0 * 60 }
        var next = options.seeds.lowerBound
        var running: [pid_t] = []
        var status: Int32 = 0
        var done: UInt64 = 0
        while next <= options.seeds.upperBound || !running.isEmpty {
            let isOver = deadline.map { time(nil) >= $0 } ?? false
            if next <= options.seeds.upperBound, running.count < options.jobs, !isOver {
                let last = min(next + 99, options.seeds.upperBound)
                var words = ["--child", "--seeds", "\(next)..\(last)"]
                words += ["--profile", options.profile.name]
                if let skip = options.skip { words += ["--skip", skip.name] }
                guard let child = spawnSelf(words) else { return 2 }
                running.append(child)
                done += last - next + 1
                next = last + 1
                continue
            }
            if running.isEmpty { break }
            var ended: Int32 = 0
            let pid = wait(&ended)
            guard pid > 0 else { return 2 }
            running.removeAll { $0 == pid }
            if ended != 0 { status = 1 }
        }
        print("\(done) seeds, profile \(options.profile.name): \(status == 0 ? "held" : "FAILED")")
        return status
    }

    /// For each protection, the first seed that misses it.
    private static func table(_ options: Options) -> Int32 {
        var isComplete = true
        for point in Failpoint.protections {
            var found = "NOT FOUND in \(options.seeds)"
            var sabotaged = options
            sabotaged.skip = point
            for seed in options.seeds {
                let outcome = simulation(seed, sabotaged).run()
                guard let violation = outcome.violations.first else { continue }
                found = "seed \(seed): \(violation)"
                break
            }
            if found.hasPrefix("NOT") { isComplete = false }
            print("| \(point) | \(found) |")
        }
        return isComplete ? 0 : 1
    }

    /// Starts this program again with `words`; its output is this one's.
    private static func spawnSelf(_ words: [String]) -> pid_t? {
        var arguments: [UnsafeMutablePointer<CChar>?] = (["roost-sim"] + words).map { strdup($0) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        var child: pid_t = 0
        let status = posix_spawn(&child, "/proc/self/exe", nil, nil, arguments, environ)
        return status == 0 ? child : nil
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
