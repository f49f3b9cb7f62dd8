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
        .backOut: (.rough, 29),
        .journal: (.rough, 452),
        .result: (.rough, 3),
        .generation: (.rough, 59),
        .follow: (.rough, 6),
        .runningOp: (.rough, 1),
        .accept: (.rough, 1),
        .freeName: (.rough, 1),
        .unknown: (.rough, 10),
        .freshLook: (.rough, 3),
        .release: (.rough, 7),
        .once: (.rough, 1),
        .resume: (.rough, 1),
        .fence: (.rough, 98),
        .takenName: (.rough, 1),
        .takenPort: (.rough, 13),
        .settle: (.rough, 1),
        .refusal: (.rough, 22),
        .preempt: (.rough, 7),
        .capacity: (.rough, 55),
        .rules: (.rough, 10),
        .nodeRow: (.rough, 18),
        .recount: (.rough, 12),
        .orphan: (.rough, 1),
        .former: (.rough, 9),
        .watchCursor: (.rough, 4),
        .noted: (.rough, 176),
        .owner: (.rough, 1),
        .powerOff: (.rough, 3),
        .restartBound: (.rough, 1),
        .lasting: (.rough, 1852),
        .dropKept: (.rough, 2103),
        .moment: (.rough, 240),
        .goOnBack: (.rough, 1241),
        .purgedRows: (.rough, 7),
        .grandparent: (.rough, 27),
        .purgedCopies: (.rough, 33),
        .releasedFork: (.rough, 1),
        .clearedUp: (.rough, 7),
        .bootAnyway: (.rough, 8),
        .templateInUse: (.rough, 4),
        .lending: (.rough, 52),
        .builder: (.rough, 1),
        .renewal: (.rough, 4),
        .watchBell: (.rough, 13),
        .preemptAgain: (.rough, 1433),
        .olderMemory: (.rough, 28),
        .halfTemplate: (.rough, 911),
        .oneAtATime: (.rough, 11),
        .olderState: (.rough, 1),
    ]
}
