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
        .backOut: (.rough, 8),
        .journal: (.rough, 54),
        .result: (.rough, 3),
        .generation: (.rough, 12),
        .follow: (.rough, 2),
        .runningOp: (.rough, 1),
        .accept: (.rough, 1),
        .freeName: (.rough, 1),
        .unknown: (.rough, 120),
        .freshLook: (.rough, 108),
        .release: (.rough, 2),
        .once: (.rough, 1),
        .resume: (.rough, 1),
        .fence: (.rough, 7),
        .takenName: (.rough, 1),
        .takenPort: (.rough, 26),
        .settle: (.rough, 1),
        .refusal: (.rough, 444),
        .preempt: (.rough, 10),
        .capacity: (.rough, 115),
        .rules: (.rough, 34),
        .nodeRow: (.rough, 2),
        .recount: (.rough, 12),
        .orphan: (.rough, 1),
        .former: (.rough, 2),
        .watchCursor: (.rough, 2),
        .noted: (.rough, 334),
        .owner: (.rough, 1),
        .powerOff: (.rough, 32),
        .restartBound: (.rough, 51),
        .lasting: (.rough, 1158),
        .dropKept: (.rough, 850),
        .moment: (.rough, 165),
        .goOnBack: (.rough, 123),
        .purgedRows: (.rough, 18),
        .grandparent: (.rough, 283),
        .purgedCopies: (.rough, 10),
        .releasedFork: (.rough, 1),
        .clearedUp: (.rough, 5),
        .bootAnyway: (.rough, 16),
        .templateInUse: (.rough, 9),
        .lending: (.rough, 104),
        .builder: (.rough, 4),
        .renewal: (.rough, 1),
        .freshening: (.rough, 2),
        .hold: (.rough, 159),
        .letGo: (.rough, 61),
        .ownStore: (.rough, 37),
        .watchBell: (.rough, 97),
        .preemptAgain: (.rough, 1224),
        .olderMemory: (.rough, 55),
        .halfTemplate: (.rough, 353),
        .oneAtATime: (.rough, 2),
        .olderState: (.rough, 1),
        .eventCommit: (.rough, 1),
        .eventCursor: (.rough, 2),
        .drainFence: (.rough, 1705),
    ]
}
