/// Makes a failing run smaller, for as long as it fails: fewer wishes, then fewer faults.
///
/// The faults that struck are left out in halves, quarters, … and at last one at a time (delta
/// debugging; Zeller & Hildebrandt 2002, without its complements). What is left need not be the
/// smallest, and the breach need not be the one that it began with.
struct Shrinker {
    /// The most runs that it makes: what they abandon stays in memory.
    private static let budget = 250

    private var best: Simulation
    private var violation: String
    private var runs = 0

    init(_ simulation: Simulation, _ outcome: Simulation.Outcome) {
        best = simulation
        best.only = Set(outcome.faults)
        violation = outcome.violations.first ?? ""
    }

    /// The smallest run found that fails, and what it breaks.
    mutating func run() -> (simulation: Simulation, violation: String) {
        for wishes in [1, 2, 4, 8] where wishes < best.wishes {
            var smaller = best
            smaller.wishes = wishes
            if keeps(smaller) { break }
        }
        var size = max((best.only?.count ?? 0) / 2, 1)
        while runs < Self.budget {
            let before = best.only?.count ?? 0
            leaveOut(inPartsOf: size)
            if size == 1, best.only?.count == before { break }
            size = max(size / 2, 1)
        }
        return (best, violation)
    }

    private mutating func leaveOut(inPartsOf size: Int) {
        let faults = (best.only ?? []).sorted()
        for start in stride(from: 0, to: faults.count, by: size) where runs < Self.budget {
            var smaller = best
            smaller.only?.subtract(faults[start..<min(start + size, faults.count)])
            _ = keeps(smaller)
        }
    }

    /// Whether `smaller` fails too; then it is the best.
    private mutating func keeps(_ smaller: Simulation) -> Bool {
        runs += 1
        let outcome = smaller.run()
        guard let first = outcome.violations.first else { return false }
        best = smaller
        // What did not strike any more need not be said.
        best.only?.formIntersection(outcome.faults)
        violation = first
        return true
    }
}
