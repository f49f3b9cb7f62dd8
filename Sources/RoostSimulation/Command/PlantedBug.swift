import RoostOperations

/// A protection of the product that a run leaves out, and where it is known to be missed.
///
/// Every change of the product moves the seeds a little; `roost-sim --bugs` finds them anew.
struct PlantedBug {
    let point: Failpoint
    let profile: Profile
    /// The first seed that found it when this was written.
    let knownSeed: UInt64

    static let all: [PlantedBug] = Failpoint.protections.map { point in
        let known = known[point] ?? (.rough, 1)
        return PlantedBug(point: point, profile: known.profile, knownSeed: known.seed)
    }

    /// Those that nothing has found yet, to be hunted by name.
    static let unmissed = Failpoint.unmissed.map {
        PlantedBug(point: $0, profile: .rough, knownSeed: 1)
    }

    private static let known: [Failpoint: (profile: Profile, seed: UInt64)] = [
        .backOut: (.rough, 50),
        .journal: (.rough, 294),
        .result: (.rough, 12),
        .generation: (.rough, 54),
        .follow: (.rough, 12),
        .runningOp: (.rough, 2),
        .accept: (.rough, 1),
        .freeName: (.rough, 1),
        .unknown: (.rough, 10),
        .freshLook: (.rough, 5),
        .release: (.rough, 2),
        .once: (.rough, 1),
        .resume: (.rough, 1),
        .fence: (.rough, 38),
        .takenName: (.rough, 1),
        .takenPort: (.rough, 4),
        .settle: (.rough, 1),
        .refusal: (.rough, 264),
        .preempt: (.rough, 22),
        .capacity: (.rough, 52),
        .rules: (.rough, 7),
        .nodeRow: (.rough, 155),
        .recount: (.rough, 254),
        .orphan: (.rough, 1),
        .former: (.rough, 53),
        .watchCursor: (.rough, 4),
        .noted: (.rough, 228),
        .owner: (.rough, 2),
        .powerOff: (.rough, 8),
        .restartBound: (.rough, 21),
        .lasting: (.rough, 98),
        .bootAnyway: (.rough, 34),
        .templateInUse: (.rough, 6),
        .builder: (.rough, 16),
        .renewal: (.rough, 5),
        .dropKept: (.rough, 47),
        .moment: (.rough, 86),
        .goOnBack: (.rough, 187),
        .purgedRows: (.rough, 4),
        .grandparent: (.rough, 10),
        .purgedCopies: (.rough, 35),
        .laterPurge: (.rough, 5616),
        .releasedFork: (.rough, 1),
        .clearedUp: (.rough, 2),
        .preemptAgain: (.rough, 786),
        .olderMemory: (.rough, 764),
        .halfTemplate: (.rough, 3),
        .watchBell: (.rough, 2821),
    ]
}
