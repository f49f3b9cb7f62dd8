/// How bad the world is. Frequencies are in 10,000.
package struct Profile: Sendable, Hashable {
    package var name: String
    /// A process that comes up will crash by itself, this often.
    var crashes: Int
    /// At which of its jobs it crashes, at most.
    var crashWithinJobs: Int
    /// Each pass of a failpoint kills the process, throws, or waits.
    var failpointKills: Int
    var failpointErrors: Int
    var failpointDelays: Int
    /// Each commit fails in one of its ways; each read or file call fails.
    var commitFailures: Int
    var fileFailures: Int
    var driverFailures: Int
    /// Each read of rows is answered late, so that its answer is old.
    var lateReads: Int
    /// Each time that somebody loses patience, and each time that a node hears of it, the node crashes
    /// about then.
    var untimelyCrashes: Int
    /// Each message is lost, or comes twice.
    var lostMessages: Int
    var doubledMessages: Int
    /// Each message takes up to 5 s, so that others overtake it.
    var tardyMessages: Int
    /// Each message comes once more, up to 40 s later.
    var staleMessages: Int
    /// Each started machine fails to start, is slow, dies, powers off by itself, ignores the button.
    var startFailures: Int
    var slowStarts: Int
    var machineDeaths: Int
    var powerOffs: Int
    var deafMachines: Int
    /// Each request to a guest's agent breaks; each started machine has one that never answers.
    var guestFailures: Int
    var muteGuests: Int
    /// Between two ``Disaster``s, on average. `nil`: never.
    var disasterEvery: Duration?
    /// The longest that a message takes.
    var longestDelay: Duration

    /// Nothing goes wrong.
    package static let calm = Profile(
        name: "calm",
        crashes: 0,
        crashWithinJobs: 1,
        failpointKills: 0,
        failpointErrors: 0,
        failpointDelays: 0,
        commitFailures: 0,
        fileFailures: 0,
        driverFailures: 0,
        lateReads: 0,
        untimelyCrashes: 0,
        lostMessages: 0,
        doubledMessages: 0,
        tardyMessages: 0,
        staleMessages: 0,
        startFailures: 0,
        slowStarts: 0,
        machineDeaths: 0,
        powerOffs: 0,
        deafMachines: 0,
        guestFailures: 0,
        muteGuests: 0,
        disasterEvery: nil,
        longestDelay: .milliseconds(2)
    )
    /// Everything goes wrong now and then.
    package static let rough = Profile(
        name: "rough",
        crashes: 8_000,
        crashWithinJobs: 3_000,
        failpointKills: 60,
        failpointErrors: 60,
        failpointDelays: 300,
        commitFailures: 60,
        fileFailures: 60,
        driverFailures: 60,
        lateReads: 100,
        untimelyCrashes: 3_000,
        lostMessages: 250,
        doubledMessages: 250,
        tardyMessages: 200,
        staleMessages: 150,
        startFailures: 400,
        slowStarts: 800,
        machineDeaths: 600,
        powerOffs: 600,
        deafMachines: 2_000,
        guestFailures: 150,
        muteGuests: 60,
        disasterEvery: .seconds(6),
        longestDelay: .milliseconds(400)
    )
    /// Everything goes wrong most of the time.
    package static let storm = Profile(
        name: "storm",
        crashes: 10_000,
        crashWithinJobs: 1_200,
        failpointKills: 200,
        failpointErrors: 250,
        failpointDelays: 1_000,
        commitFailures: 300,
        fileFailures: 300,
        driverFailures: 300,
        lateReads: 300,
        untimelyCrashes: 6_000,
        lostMessages: 1_000,
        doubledMessages: 1_000,
        tardyMessages: 500,
        staleMessages: 500,
        startFailures: 1_500,
        slowStarts: 2_000,
        machineDeaths: 1_500,
        powerOffs: 1_500,
        deafMachines: 3_000,
        guestFailures: 500,
        muteGuests: 300,
        disasterEvery: .seconds(2),
        longestDelay: .seconds(4)
    )

    /// All of them, mildest first.
    package static let all = [calm, rough, storm]
}
