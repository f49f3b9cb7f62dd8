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
        .backOut: (.rough, 54),
        .journal: (.rough, 683),
        .result: (.rough, 136),
        .generation: (.rough, 142),
        .follow: (.rough, 65),
        .runningOp: (.rough, 1),
        .accept: (.rough, 2),
        .freeName: (.rough, 1),
        .unknown: (.rough, 146),
        .freshLook: (.rough, 183),
        .release: (.rough, 11),
        .once: (.rough, 1),
        .resume: (.rough, 1),
        .fence: (.rough, 74),
        .takenName: (.rough, 1),
        .takenPort: (.rough, 6),
        .settle: (.rough, 1),
        .refusal: (.rough, 236),
        .preempt: (.rough, 11),
        .earlyPreempt: (.rough, 629),
        .capacity: (.rough, 1),
        .recount: (.rough, 70),
        .orphan: (.rough, 1),
        .former: (.rough, 164),
        .watchCursor: (.rough, 98),
        .noted: (.rough, 604),
        .wholeLook: (.rough, 15),
        .owner: (.rough, 2),
        .powerOff: (.rough, 7),
        .restartBound: (.rough, 17),
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
