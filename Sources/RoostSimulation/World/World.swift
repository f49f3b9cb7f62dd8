import Logging
import RoostDriver
import RoostHost
import RoostLink
import RoostModel
import RoostNode
import RoostOperations
import RoostStore

/// One host with a node on it: what outlives the node's process.
final class NodeHost: @unchecked Sendable {
    let id: NodeID
    let name: String
    /// The value of its label `rack`.
    let rack: String
    let hypervisor: SimulatedHypervisor
    let disk: SimulatedDisk
    let rows = MemoryDisk()
    let wall: SimulatedWallClock
    var server: Server<any NodeLink>?
    /// Whether nothing gets through to it.
    var isDeaf = false
    /// Whether nothing that it answers gets out.
    var isMute = false
    /// Whether nothing can be written to its disk.
    var isFull = false
    /// Whether its store can be neither read nor written.
    var isStoreBroken = false

    init(
        id: NodeID,
        name: String,
        rack: String,
        hypervisor: SimulatedHypervisor,
        disk: SimulatedDisk,
        wall: SimulatedWallClock
    ) {
        self.id = id
        self.name = name
        self.rack = rack
        self.hypervisor = hypervisor
        self.disk = disk
        self.wall = wall
    }
}

/// Everything that a seed makes: processes, hosts, network, clients, and what goes wrong.
///
/// Unchecked, because the scheduler's one thread is all that touches it.
final class World: @unchecked Sendable {
    let seed: UInt64
    let profile: Profile
    let scheduler: Scheduler
    let clock: SimulatedClock
    let invariants: Invariants
    /// A bug to plant, or none.
    let sabotage: Failpoint?
    let isStandalone: Bool
    /// Whether somebody publishes fleets, and the control plane keeps them.
    let keepsFleets: Bool
    var nodes: [NodeHost] = []
    let controlRows = MemoryDisk()
    let controlWall: SimulatedWallClock
    var control: Server<Controller>?
    /// Rises with each control process, as a durable lease epoch does.
    var epoch: Int64 = 0
    /// What each node has, in all.
    let capacity: NodeCapacity
    /// Folders of saved machines in which a disaster damaged something.
    var damagedSaves: Set<String> = []
    /// How often each rare thing happened.
    var marks: [String: Int] = [:]
    private var processes = 0
    private(set) var faults: Faults
    private var latencies: Chance
    let entropy: SharedChance
    private(set) var log = Logger(label: "simulation")

    init(_ simulation: Simulation, trace: Trace) {
        let seed = simulation.seed
        self.seed = seed
        profile = simulation.profile
        sabotage = simulation.sabotage
        scheduler = Scheduler(seed: seed, trace: trace)
        clock = SimulatedClock(scheduler: scheduler)
        controlWall = SimulatedWallClock(scheduler)
        faults = Faults(seed: seed, only: simulation.only)
        latencies = Chance(seed: seed, "latencies")
        entropy = SharedChance(Chance(seed: seed, "entropy"))
        var shape = Chance(seed: seed, "shape")
        isStandalone = shape.hits(4_000)
        // Small ones, so that now and then there is no room.
        var room = NodeCapacity(cores: shape.pick([4, 8]), memoryMiB: shape.pick([4_096, 8_192]))
        var fleets = Chance(seed: seed, "fleets")
        keepsFleets = fleets.hits(2_500)
        // So that mostly there is room for a fleet beside what clients have.
        if keepsFleets { room = NodeCapacity(cores: 16, memoryMiB: 16_384) }
        capacity = room
        invariants = Invariants(scheduler)
        log = Logger(label: "simulation") { _ in TracingLogHandler(trace, self.scheduler) }
        log.logLevel = trace.isOn ? .info : .critical
        invariants.world = self
        let count = isStandalone ? 1 : 1 + shape.below(3)
        for index in 0..<count { nodes.append(newHost(index)) }
    }

    private func newHost(_ index: Int) -> NodeHost {
        let disk = SimulatedDisk()
        let hypervisor = SimulatedHypervisor(
            behaving: { [unowned self] _ in self.newBehaviour() },
            later: { [unowned self] delay, work in
                self.scheduler.after(delay) {
                    work()
                    self.invariants.look()
                }
            },
            console: { disk.say($0, $1) },
            folders: { disk.folder($0, exists: $1) }
        )
        disk.whenPurged { hypervisor.removeSaves(of: $0) }
        return NodeHost(
            id: Identifier(bits: UInt128(index + 1) << 100 | 0xabc),
            name: "node\(index)",
            rack: "r\(index % 2)",
            hypervisor: hypervisor,
            disk: disk,
            wall: SimulatedWallClock(scheduler)
        )
    }

    func newProcess(_ name: String) -> SimulatedProcess {
        processes += 1
        let process = SimulatedProcess(name: name, number: processes, on: scheduler)
        scheduler.note("\(name) comes up as process \(processes)")
        return process
    }

    // MARK: What the seed decides

    /// The details of a fault, if one of this many in 10,000 goes wrong now.
    func strike(_ kind: FaultKind, _ perTenThousand: Int) -> Chance? {
        faults.strike(kind, perTenThousand)
    }

    /// Whether something of this many in 10,000 goes wrong now.
    func fault(_ kind: FaultKind, _ perTenThousand: Int) -> Bool {
        strike(kind, perTenThousand) != nil
    }

    /// Nothing is drawn any more.
    func calmDown() { faults.areOn = false }

    func drawCommitFailure() -> MemoryCommitFailure? {
        guard var details = strike(.commit, profile.commitFailures) else { return nil }
        let failure = details.pick(MemoryCommitFailure.allCases)
        mark("world.commit-\(failure)")
        return failure
    }

    /// How long a read of rows takes to be answered after it was made.
    func readDelay() -> Duration {
        guard var details = strike(.late, profile.lateReads) else { return .zero }
        mark("world.read-answered-late")
        return details.duration(upTo: details.hits(8_000) ? .milliseconds(50) : .seconds(1))
    }

    /// How long one message takes.
    func delay() -> Duration {
        let limit = faults.areOn ? profile.longestDelay : .milliseconds(2)
        return latencies.duration(upTo: limit)
    }

    func latency(upTo limit: Duration) -> Duration { latencies.duration(upTo: limit) }

    func pause(upTo limit: Duration) async {
        // A cancelled wait is a short one; what comes after it happens all the same.
        try? await clock.sleep(for: latency(upTo: limit))
    }

    func mark(_ name: @autoclosure () -> String) { marks[name(), default: 0] += 1 }

    private func newBehaviour() -> MachineBehaviour {
        var behaviour = MachineBehaviour(
            startsWithin: latency(upTo: .milliseconds(300)),
            powersOffWithin: latency(upTo: .seconds(2)),
            answersWithin: latency(upTo: .seconds(1))
        )
        if fault(.slow, profile.slowStarts) {
            mark("world.slow-start")
            behaviour.startsWithin = latency(upTo: .seconds(20))
        }
        if fault(.startless, profile.startFailures) {
            mark("world.start-failed")
            behaviour.startFault = Fault(.vmmFailed, "the simulated VMM did not start")
        }
        if fault(.death, profile.machineDeaths) {
            mark("world.machine-dies")
            behaviour.diesAfter = latency(upTo: .seconds(20))
        }
        if fault(.off, profile.powerOffs) {
            mark("world.guest-powers-off")
            behaviour.powersOffAfter = latency(upTo: .seconds(20))
        }
        if fault(.deaf, profile.deafMachines) {
            mark("world.guest-ignores-the-button")
            behaviour.powersOffWithin = nil
        }
        if fault(.mute, profile.muteGuests) {
            mark("world.agent-never-answers")
            behaviour.answersWithin = nil
        }
        return behaviour
    }
}

/// Writes what the product logs into the trace.
private struct TracingLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level = .info
    private let trace: Trace
    private let scheduler: Scheduler

    init(_ trace: Trace, _ scheduler: Scheduler) {
        self.trace = trace
        self.scheduler = scheduler
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let more = (event.metadata ?? [:]).sorted { $0.key < $1.key }
            .map { "\($0.key)=\($0.value)" }
            .joined(separator: " ")
        scheduler.note("  \(event.level): \(event.message) \(more)")
    }
}
