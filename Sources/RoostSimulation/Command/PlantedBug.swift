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
        .backOut: (.rough, 10),
        .journal: (.rough, 43),
        .result: (.rough, 2),
        .generation: (.rough, 13),
        .follow: (.rough, 1),
        .runningOp: (.rough, 1),
        .accept: (.rough, 1),
        .freeName: (.rough, 1),
        .unknown: (.rough, 21),
        .freshLook: (.rough, 5),
        .release: (.rough, 1),
        .once: (.rough, 1),
        .resume: (.rough, 1),
        .fence: (.rough, 12),
        .takenName: (.rough, 1),
        .takenPort: (.rough, 26),
        .settle: (.rough, 1),
        .refusal: (.rough, 473),
        .preempt: (.rough, 41),
        .capacity: (.rough, 38),
        .rules: (.rough, 10),
        .nodeRow: (.rough, 2),
        .recount: (.rough, 22),
        .orphan: (.rough, 4),
        .former: (.rough, 7),
        .watchCursor: (.rough, 2),
        .noted: (.rough, 155),
        .owner: (.rough, 1),
        .powerOff: (.rough, 90),
        .restartBound: (.rough, 39),
        .lasting: (.rough, 1955),
        .dropKept: (.rough, 579),
        .moment: (.rough, 307),
        .goOnBack: (.rough, 75),
        .purgedRows: (.rough, 22),
        .grandparent: (.rough, 27),
        .purgedCopies: (.rough, 10),
        .releasedFork: (.rough, 1),
        .clearedUp: (.rough, 16),
        .bootAnyway: (.rough, 31),
        .templateInUse: (.rough, 24),
        .lending: (.rough, 116),
        .builder: (.rough, 1),
        .renewal: (.rough, 5),
        .freshening: (.rough, 1),
        .hold: (.rough, 17),
        .letGo: (.rough, 181),
        .ownStore: (.rough, 10),
        .watchBell: (.rough, 294),
        .preemptAgain: (.rough, 307),
        .olderMemory: (.rough, 2136),
        .halfTemplate: (.rough, 118),
        .oneAtATime: (.rough, 2),
        .olderState: (.rough, 1),
        .eventCommit: (.rough, 1),
        .eventCursor: (.rough, 2),
        .drainFence: (.rough, 1775),
    ]
}
