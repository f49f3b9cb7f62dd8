import Logging
import RoostDriver
import RoostHost
import RoostLink
import RoostModel
import RoostOperations
import RoostReconciler
import RoostStore
import Synchronization

@testable import RoostNode

/// Fails at the n-th pass, or is cut off there, and writes down which passes there were.
final class Script: Failpoints {
    private struct State {
        var failsAt: Int?
        var isCutOff = false
        var passed: [Failpoint] = []
    }
    private let state = Mutex(State())

    /// Forgets what was passed; throws at pass `failsAt`, counted from 0, or at none. `isCutOff`: the task
    /// is cancelled there too, as that of a process which ends is.
    func begin(failingAt failsAt: Int?, isCutOff: Bool = false) {
        state.withLock { $0 = State(failsAt: failsAt, isCutOff: isCutOff) }
    }

    var passed: [Failpoint] { state.withLock { $0.passed } }

    func pass(_ point: Failpoint) async throws(Fault) {
        let (fails, isCutOff) = state.withLock { state in
            state.passed.append(point)
            return (state.passed.count - 1 == state.failsAt, state.isCutOff)
        }
        if fails, isCutOff { withUnsafeCurrentTask { $0?.cancel() } }
        if fails { throw Fault(.ioFailed, "failpoint \(point)") }
    }

    func skips(_ point: Failpoint) -> Bool { false }
    func mark(_ marker: Marker) {}
}

/// A node with one VM, brought to what is asked for: production code on a simulated host.
final class Scene: Sendable {
    let script = Script()
    let disk = SimulatedDisk()
    let rows = MemoryDisk()
    let hypervisor: SimulatedHypervisor
    let node: NodeVMs
    let id = VMID(bits: 7)
    /// What copies are made of.
    private let other = VMID(bits: 8)
    private let operations = Mutex<UInt64>(0)

    /// `action` is what is going to be asked for: the fork or checkpoint that it is about was kept
    /// before.
    /// `guests`: who speaks for guests; without it they have no agents.
    init(
        _ seen: VMObservation,
        about action: NodeAction? = nil,
        guests: (any GuestLinks)? = nil
    ) async throws(Fault) {
        let disk = disk
        let hypervisor = SimulatedHypervisor(folders: { disk.folder($0, exists: $1) })
        disk.whenPurged { hypervisor.removeSaves(of: $0) }
        self.hypervisor = hypervisor
        let clock = ContinuousClock()
        let catalogue = SimulatedCatalogue.small()
        node = NodeVMs(
            NodeParts(
                driver: SimulatedDriver(host: hypervisor, clock: clock, hasAgents: guests != nil),
                files: SimulatedFiles(disk: disk, clock: clock),
                catalogue: catalogue,
                store: MemoryStore(disk: rows),
                guests: guests ?? NoGuest(),
                surroundings: Surroundings(clock: clock, wall: Noon(), entropy: Zeroes()),
                failpoints: script,
                // Not run: ends that nobody asked for are the simulator's.
                spawner: Spawner(),
                log: Logger(label: "scene") { _ in SwiftLogNoOpLogHandler() },
                capacity: NodeCapacity(cores: 8, memoryMiB: 8_192)
            )
        )
        if case .become(let fork) = action {
            _ = try await node.apply(delta(.start, 1, .running, of: other))
            _ = try await node.apply(delta(.fork(fork), 2, .running, of: other))
        }
        if case .derive(let order) = action {
            _ = try await node.apply(delta(.provision, 1, .stopped, of: other))
            _ = try await node.apply(delta(.freeze(order.fork), 2, .stopped, of: other))
        }
        var actions: [(NodeAction, DesiredPower)] = []
        if seen.disks != .missing { actions.append((.provision, .stopped)) }
        let kept = action?.checkpoint.map { NodeAction.checkpoint($0.id) }
        if seen.disks != .missing, let kept {
            if action?.checkpoint?.hasMemory == true { actions.append((.start, .running)) }
            actions.append((kept, seen.vmm == .absent ? .stopped : .running))
            if seen.vmm == .absent { actions.append((.stop(graceSeconds: 0), .stopped)) }
        }
        if seen.vmm != .absent { actions.append((.start, .running)) }
        if case .release(let fork) = action, seen.vmm == .running {
            actions.append((.fork(fork), .running))
        }
        if seen.vmm == .paused { actions.append((.pause, .paused)) }
        if seen.vmm == .saved { actions.append((.suspend, .suspended)) }
        if seen.disks == .trashed { actions.append((.discard, .stopped)) }
        for (generation, (action, desired)) in actions.enumerated() {
            _ = try await node.apply(delta(action, generation + 1, desired))
        }
    }

    /// A new order; each has an op id of its own.
    func delta(
        _ action: NodeAction,
        _ generation: Int,
        _ desired: DesiredPower,
        of other: VMID? = nil
    ) -> AssignmentDelta {
        let number = operations.withLock { count in
            count += 1
            return count
        }
        return AssignmentDelta(
            operation: OperationID(bits: UInt128(number)),
            epoch: 1,
            vm: VMAssignment(
                id: other ?? id,
                name: "box",
                generation: generation,
                spec: VMSpec(cores: 1, memoryMiB: 512, image: "image", kernel: "kernel"),
                desired: desired
            ),
            action: action
        )
    }

    /// Everything there is of the VM.
    struct Inventory: Hashable {
        var content: SimulatedDisk.Content
        /// Pid and whether it stands still.
        var machines: [Int32: Bool]
        /// Kept memory: folders that are whole, and every file in one.
        var saved: [String]
        var assignments: [VMAssignment]
        var unfinished: Int

        /// Without what differs between two runs of the same.
        var lasting: Inventory {
            var lasting = self
            lasting.machines = [:]
            for (index, isPaused) in machines.values.enumerated() {
                lasting.machines[Int32(index)] = isPaused
            }
            for index in assignments.indices { lasting.assignments[index].generation = 0 }
            return lasting
        }
    }

    func inventory() throws(Fault) -> Inventory {
        let kept = try MemoryStore(disk: rows).list(AssignmentRow.self, Query()).rows.map(\.row)
        var machines: [Int32: Bool] = [:]
        for machine in hypervisor.machines { machines[machine.pid] = machine.isPaused }
        return Inventory(
            content: disk.content,
            machines: machines,
            saved: hypervisor.savedFolders
                // Not the disk of a suspended VM, which is its own.
                + hypervisor.savedFiles.filter { $0.split(separator: "/").count > 4 }
                + hypervisor.savedFiles.filter { $0.contains("/forks/") },
            assignments: kept.map(\.assignment),
            unfinished: kept.count { $0.unfinished != nil }
        )
    }

    /// What the VM shall be once `action` is done, as the control side would say it.
    static func aim(_ action: NodeAction, _ seen: VMObservation) -> DesiredPower {
        switch action.kind {
        case .start, .restart, .resume, .reboot: .running
        case .pause: .paused
        case .suspend: .suspended
        case .fork, .become: .running
        case .release, .checkpoint, .forget, .branch: wish(for: seen)
        case .revert: action.checkpoint?.hasMemory == true ? .running : .stopped
        case .stop, .freeze, .derive, .discard, .restore, .purge: .stopped
        case .provision: wish(for: seen)
        }
    }

    static func wish(for seen: VMObservation) -> DesiredPower {
        switch seen.vmm {
        case .running: .running
        case .paused: .paused
        case .saved: .suspended
        case .absent: .stopped
        }
    }

    /// What a node can be left with: no VMM without its disks, and no memory.
    static let possible = VMObservation.all.filter { seen in
        switch seen.vmm {
        case .absent: seen.copy == .none
        case .saved: seen.copy == .none && seen.disks != .missing
        case .running, .paused: seen.copy == .none && seen.disks == .live
        }
    }
}

extension NodeAction {
    /// The checkpoint that it is about, and whether that has memory.
    fileprivate var checkpoint: (id: CheckpointID, hasMemory: Bool)? {
        switch self {
        case .revert(let order): (order.checkpoint, order.hasMemory)
        case .forget(let id), .branch(_, let id): (id, false)
        default: nil
        }
    }
}

private struct NoGuest: GuestLinks {
    /// Commands that somebody is said to read.
    var readers = 0
    func awaitReady(_ vm: VMID) async throws(Fault) { throw absent }
    func shutDown(_ vm: VMID) async throws(Fault) { throw absent }
    func settle(_ vm: VMID) async throws(Fault) { throw absent }
    func renew(_ vm: VMID, _ identity: GuestIdentity) async throws(Fault) { throw absent }
    func freshen(_ vm: VMID, entropy: [UInt8]) async throws(Fault) { throw absent }
    func readers(of vm: VMID) async -> Int { readers }
    func stepClock(_ vm: VMID) async {}
    func hold(_ vm: VMID) async throws(Fault) { throw absent }
    func letGo(_ vm: VMID) async throws(Fault) { throw absent }
    func drop(_ vm: VMID) async {}
    private var absent: Fault { Fault(.unsupported, "no guest here") }
}

struct Noon: WallClock {
    func now() -> Timestamp { Timestamp(milliseconds: 1000 * 86_400_000 + 43_200_000) }
}

private struct Zeroes: Entropy {
    func next() -> UInt64 { 0 }
}
