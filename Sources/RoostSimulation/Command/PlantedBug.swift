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

    private static let known: [Failpoint: (profile: Profile, seed: UInt64)] = [:]
}
