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
        .journal: (.rough, 586),
        .result: (.rough, 12),
        .generation: (.rough, 42),
        .follow: (.rough, 2),
        .runningOp: (.rough, 3),
        .accept: (.rough, 1),
        .freeName: (.rough, 1),
        .unknown: (.rough, 13),
        .freshLook: (.rough, 11),
        .release: (.rough, 5),
        .once: (.rough, 1),
        .resume: (.rough, 1),
        .fence: (.rough, 61),
        .takenName: (.rough, 1),
        .takenPort: (.rough, 4),
        .settle: (.rough, 1),
        .refusal: (.rough, 974),
        .preempt: (.rough, 72),
        .earlyPreempt: (.rough, 320),
        .capacity: (.rough, 49),
        .recount: (.rough, 616),
        .orphan: (.rough, 1),
        .former: (.rough, 12),
        .watchCursor: (.rough, 4),
        .noted: (.rough, 673),
        .wholeLook: (.rough, 15),
        .owner: (.rough, 2),
        .powerOff: (.rough, 3),
        .restartBound: (.rough, 8),
        .lasting: (.rough, 96),
        .purgedMemory: (.rough, 2),
        .bootAnyway: (.rough, 58),
        .templateInUse: (.rough, 7),
        .builder: (.rough, 6),
        .halfTemplate: (.rough, 398),
        .renewal: (.rough, 7),
        .watchBell: (.rough, 481),
    ]
}
