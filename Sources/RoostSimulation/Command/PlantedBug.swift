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
        .backOut: (.rough, 21),
        .journal: (.rough, 834),
        .result: (.rough, 7),
        .generation: (.rough, 5),
        .follow: (.rough, 5),
        .runningOp: (.rough, 3),
        .accept: (.rough, 1),
        .freeName: (.rough, 1),
        .unknown: (.rough, 10),
        .freshLook: (.rough, 6),
        .release: (.rough, 2),
        .once: (.rough, 1),
        .resume: (.rough, 1),
        .fence: (.rough, 38),
        .takenName: (.rough, 1),
        .takenPort: (.rough, 4),
        .settle: (.rough, 1),
        .refusal: (.rough, 86),
        .preempt: (.rough, 15),
        .earlyPreempt: (.rough, 1713),
        .capacity: (.rough, 7),
        .recount: (.rough, 547),
        .orphan: (.rough, 1),
        .former: (.rough, 12),
        .watchCursor: (.rough, 4),
        .noted: (.rough, 248),
        .owner: (.rough, 2),
        .powerOff: (.rough, 5),
        .restartBound: (.rough, 21),
        .lasting: (.rough, 250),
        .purgedMemory: (.rough, 2),
        .bootAnyway: (.rough, 12),
        .templateInUse: (.rough, 7),
        .builder: (.rough, 16),
        .renewal: (.rough, 7),
        .watchBell: (.rough, 29),
    ]
}
