import RoostOperations

/// What `roost-sim` is asked to do.
struct Options {
    static let usage = """
        usage: roost-sim --seed S [--profile calm|rough|storm] [--skip BUG] [--only FAULTS]
                         [--wishes N] [--seconds N] [--trace]
               roost-sim --seeds A..B [--profile P] [--skip BUG] [--jobs N] [--minutes M]
                         [--markers] [--shrink]
               roost-sim --hashes --seeds A..B [--profile P] [--wishes N] [--seconds N]
               roost-sim --bugs [--quick] [--skip BUG] [--seeds A..B] [--jobs N]

          --bugs      plants each bug and prints the first seed that finds it
          --quick     with --bugs: begins at the seed that is known to find it
          --markers   prints how often each rare branch was taken; fails when one never was
          --shrink    with --skip: looks for fewer faults too, as without --skip
          --hashes    prints each seed's digest, and the digest of all on the last line
          --seconds   how long things go wrong, in virtual time
          --only      only these faults happen, such as crash1,lost3; none: nothing goes wrong
        """

    var seed: UInt64?
    var seeds: ClosedRange<UInt64> = 1...10_000
    var profile = Profile.rough
    var skip: Failpoint?
    var only: Set<FaultID>?
    var wishes = Simulation.usualWishes
    var seconds = Simulation.usualSeconds
    var isTraced = false
    var jobs = 2
    var minutes: Int?
    var huntsBugs = false
    var isQuick = false
    var sumsMarkers = false
    /// Shrink also what a planted bug makes fail.
    var shrinks = false
    var printsHashes = false
    /// This process is a child: seeds one after the other, results on its output.
    var isChild = false

    /// `nil` for what it does not know.
    init?(_ arguments: [String]) {
        var rest = arguments[...]
        while let word = rest.popFirst() {
            guard takeFlag(word) || takeValue(word, rest.popFirst()) else { return nil }
        }
    }

    private mutating func takeFlag(_ word: String) -> Bool {
        switch word {
        case "--trace": isTraced = true
        case "--bugs": huntsBugs = true
        case "--quick": isQuick = true
        case "--markers": sumsMarkers = true
        case "--shrink": shrinks = true
        case "--hashes": printsHashes = true
        case "--child": isChild = true
        default: return false
        }
        return true
    }

    private mutating func takeValue(_ word: String, _ value: String?) -> Bool {
        guard let value else { return false }
        switch word {
        case "--seed":
            seed = UInt64(value)
            return seed != nil
        case "--seeds":
            let ends = value.split(separator: ".").map { UInt64($0) }
            guard ends.count == 2, let first = ends[0], let last = ends[1], first <= last else {
                return false
            }
            seeds = first...last
        case "--profile":
            guard let found = Profile.all.first(where: { $0.name == value }) else { return false }
            profile = found
        case "--skip":
            skip = Failpoint.protections.first { $0.name == value }
            return skip != nil
        case "--only":
            let faults = value == "none" ? [] : value.split(separator: ",").map { FaultID($0) }
            guard !faults.contains(nil) else { return false }
            only = Set(faults.compactMap { $0 })
        case "--wishes", "--seconds", "--jobs", "--minutes":
            guard let number = Int(value), number > 0 else { return false }
            if word == "--wishes" { wishes = number }
            if word == "--seconds" { seconds = number }
            if word == "--jobs" { jobs = number }
            if word == "--minutes" { minutes = number }
        default: return false
        }
        return true
    }

    /// The run of one seed.
    func simulation(_ seed: UInt64) -> Simulation {
        var simulation = Simulation(seed: seed, profile: profile)
        simulation.sabotage = skip
        simulation.only = only
        simulation.wishes = wishes
        simulation.seconds = seconds
        simulation.isTraced = isTraced
        return simulation
    }

    /// What a child is asked that runs `seeds` likewise.
    func words(for seeds: ClosedRange<UInt64>) -> [String] {
        var words = ["--child", "--seeds", "\(seeds.lowerBound)..\(seeds.upperBound)"]
        words += ["--profile", profile.name, "--wishes", "\(wishes)", "--seconds", "\(seconds)"]
        if let skip { words += ["--skip", skip.name] }
        if shrinks { words.append("--shrink") }
        return words
    }
}
