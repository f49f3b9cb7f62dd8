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

    private static let known: [Failpoint: (profile: Profile, seed: UInt64)] = [
        .backOut: (.rough, 104),
        .journal: (.rough, 571),
        .result: (.rough, 23),
        .generation: (.rough, 58),
        .follow: (.rough, 80),
        .runningOp: (.rough, 2),
        .accept: (.rough, 1),
        .freeName: (.rough, 1),
        .unknown: (.rough, 10),
        .freshLook: (.rough, 320),
        .release: (.rough, 2),
        .once: (.rough, 1),
        .resume: (.rough, 1),
        .fence: (.rough, 40),
        .takenName: (.rough, 1),
        .takenPort: (.rough, 6),
        .settle: (.rough, 1),
        .refusal: (.rough, 553),
        .preempt: (.rough, 62),
        .capacity: (.rough, 55),
        .rules: (.rough, 10),
        .nodeRow: (.rough, 162),
        .recount: (.rough, 336),
        .orphan: (.rough, 4),
        .former: (.rough, 107),
        .watchCursor: (.rough, 23),
        .noted: (.rough, 290),
        .owner: (.rough, 5),
        .powerOff: (.rough, 15),
        .restartBound: (.rough, 29),
        .lasting: (.rough, 1390),
        .bootAnyway: (.rough, 51),
        .templateInUse: (.rough, 24),
        .builder: (.rough, 16),
        .renewal: (.rough, 5),
        .dropKept: (.rough, 155),
        .moment: (.rough, 120),
        .goOnBack: (.rough, 835),
        .purgedRows: (.rough, 35),
        .grandparent: (.rough, 34),
        .purgedCopies: (.rough, 98),
        .releasedFork: (.rough, 14),
        .clearedUp: (.rough, 14),
        .preemptAgain: (.rough, 786),
        .olderMemory: (.rough, 764),
        .halfTemplate: (.rough, 3),
        .watchBell: (.rough, 2821),
    ]
}
