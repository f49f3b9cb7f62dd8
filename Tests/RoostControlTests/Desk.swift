import Logging
import RoostControl
import RoostDriver
import RoostHost
import RoostLink
import RoostModel
import RoostNode
import RoostOperations
import RoostScheduler
import RoostStore
import Synchronization

/// A control plane with nodes of 8 cores and 8 GiB, one unless said otherwise: production code on
/// simulated hosts. They are called `node1`, `node2`, ….
final class Desk: Sendable {
    let node = NodeID(bits: 1)
    let vms: VMService
    let guests: GuestService
    let fleet: FleetService
    private let parts: ControlParts
    private let links: [LocalLink]
    /// Noon of the first day of 1970, until time passes.
    let wall = Wall()
    let journal = MemoryDisk()
    /// What comes between a decision of the control plane and its commit.
    let meanwhile = Meanwhile()
    let machines: NodeVMs
    /// A VM whose name begins with `broken` does not start, the guest of one that begins with `deaf`
    /// does not power off.
    let hypervisor = SimulatedHypervisor { launch in
        var behaviour = MachineBehaviour()
        if launch.name.hasPrefix("broken") {
            behaviour.startFault = Fault(
                .vmmFailed,
                "it does not start",
                metadata: ["vm": launch.name]
            )
        }
        if launch.name.hasPrefix("deaf") { behaviour.powersOffWithin = nil }
        return behaviour
    }
    fileprivate let spawner = Spawner()
    private let operations = Mutex<UInt64>(0)

    /// `guestFault` is what whoever enters a guest meets.
    fileprivate init(guestFault: Fault, nodes count: Int, strategy: PlacementStrategy) {
        let clock = ContinuousClock()
        let surroundings = Surroundings(clock: clock, wall: wall, entropy: Counting())
        let log = Logger(label: "desk") { _ in SwiftLogNoOpLogHandler() }
        let closed = ClosedGuests(fault: guestFault)
        var made: [(NodeVMs, LocalLink)] = []
        for number in 1...count {
            let disk = SimulatedDisk()
            let files = SimulatedFiles(disk: disk, clock: clock)
            let catalogue = SimulatedCatalogue.small()
            let host = number == 1 ? hypervisor : SimulatedHypervisor()
            disk.whenPurged { host.removeSaves(of: $0) }
            let machines = NodeVMs(
                NodeParts(
                    driver: SimulatedDriver(host: host, clock: clock),
                    files: files,
                    catalogue: catalogue,
                    store: MemoryStore(disk: number == 1 ? journal : MemoryDisk()),
                    guests: closed,
                    surroundings: surroundings,
                    failpoints: NoFailpoints(),
                    spawner: spawner,
                    log: log,
                    capacity: Self.capacity
                )
            )
            let link = LocalLink(
                node: NodeID(bits: UInt128(number)),
                vms: machines,
                guests: closed,
                files: files,
                catalogue: catalogue
            )
            made.append((machines, link))
        }
        machines = made[0].0
        links = made.map(\.1)
        let nodes = NodeDirectory(strategy: strategy)
        parts = ControlParts(
            store: MemoryStore(disk: MemoryDisk()),
            nodes: nodes,
            surroundings: surroundings,
            failpoints: meanwhile,
            spawner: spawner,
            log: log
        )
        vms = VMService(parts)
        guests = GuestService(vms)
        fleet = FleetService(vms)
        join(nodes)
    }

    static let capacity = NodeCapacity(cores: 8, memoryMiB: 8_192)

    /// Every node joins `directory`, as it does when it comes up and when it is heard of again.
    func join(_ directory: NodeDirectory) {
        for (index, link) in links.enumerated() {
            directory.join(link, name: "node\(index + 1)", capacity: Self.capacity)
        }
    }

    /// The nodes are heard of again.
    func heartbeat() { join(parts.nodes) }

    /// A control plane that comes up on the same store after this one.
    func successor() async throws(Fault) -> VMService {
        var parts = parts
        parts.nodes = NodeDirectory()
        join(parts.nodes)
        let vms = VMService(parts)
        try await vms.recover()
        return vms
    }

    /// A new request, or the one of `operation` again.
    func request(
        _ method: String,
        _ digest: String = "",
        operation: UInt64? = nil
    )
        -> RequestContext
    {
        let number =
            operation
            ?? operations.withLock { count in
                count += 1
                return count
            }
        return RequestContext(
            operation: OperationID(bits: UInt128(number)),
            principal: "uid:0",
            method: method,
            digest: digest
        )
    }

    // MARK: What is done to VMs

    @discardableResult
    func create(_ name: String, running: Bool = false) async throws(Fault) -> VMOutcome {
        var draft = VMDraft(name: name, cores: 1, memoryMiB: 512)
        draft.startOnCreate = running
        return try await vms.create(draft, request("CreateVM", name))
    }

    /// A VM of one core and 512 MiB, which `change` makes into what is wanted.
    @discardableResult
    func place(
        _ name: String,
        running: Bool = true,
        operation: UInt64? = nil,
        _ change: (inout VMDraft) -> Void = { _ in }
    ) async throws(Fault) -> VM {
        var draft = VMDraft(name: name, cores: 1, memoryMiB: 512)
        draft.startOnCreate = running
        change(&draft)
        let request = request("CreateVM", "\(draft)", operation: operation)
        return try await vms.create(draft, request).vm
    }

    /// The name of the node that a VM is on.
    func place(of name: String) async throws(Fault) -> String {
        let node = try await vms.get(name, project: "default").row.status.node
        return node.map { parts.nodes.name($0) } ?? "none"
    }

    @discardableResult
    func power(
        _ verb: PowerVerb,
        _ name: String,
        force: Bool = false,
        etag: Revision? = nil
    ) async throws(Fault) -> VMOutcome {
        try await vms.power(
            verb,
            name,
            project: "default",
            options: PowerOptions(force: force, etag: etag),
            request(verb.rawValue, name)
        )
    }

    @discardableResult
    func setMemory(
        _ name: String,
        _ memoryMiB: Int,
        etag: Revision? = nil
    ) async throws(Fault) -> VMOutcome {
        try await vms.update(
            name,
            project: "default",
            VMUpdate(
                fields: [.memory],
                draft: VMDraft(name: "", memoryMiB: memoryMiB),
                etag: etag
            ),
            request("UpdateVM", "\(name) \(memoryMiB)")
        )
    }

    @discardableResult
    func undelete(_ name: String, as newName: String = "") async throws(Fault) -> VMOutcome {
        try await vms.undelete(
            name,
            project: "default",
            newName: newName,
            etag: nil,
            request("UndeleteVM", name + newName)
        )
    }

    @discardableResult
    func purge(_ name: String) async throws(Fault) -> VMOutcome {
        try await vms.purge(name, project: "default", request("PurgeVM", name))
    }

    @discardableResult
    func fork(
        _ name: String,
        _ order: ForkOrder,
        operation: UInt64? = nil
    ) async throws(Fault) -> [VMOutcome] {
        try await vms.fork(
            name,
            project: "default",
            order,
            request("ForkVM", "\(name) \(order)", operation: operation)
        )
    }

    func state(_ name: String) async throws(Fault) -> VMState {
        try await vms.get(name, project: "default").row.status.state
    }

    /// Brings a new VM into `state`, one that a VM rests in.
    func bring(_ name: String, to state: VMState) async throws(Fault) {
        try await create(name, running: state != .stopped && state != .deleted)
        switch state {
        case .paused: try await power(.pause, name)
        case .suspended: try await power(.suspend, name)
        case .deleted: try await power(.delete, name)
        default: break
        }
    }

    /// The states that a VM rests in by request.
    static let resting: [VMState] = [.stopped, .running, .paused, .suspended, .deleted]
}

/// Runs `body` at a fresh desk whose background work lives as long as it does.
func withDesk(
    guestFault: Fault = Fault(.guestUnreachable, "nobody is in"),
    nodes: Int = 1,
    strategy: PlacementStrategy = .spread,
    _ body: (Desk) async throws -> Void
) async throws {
    let desk = Desk(guestFault: guestFault, nodes: nodes, strategy: strategy)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await desk.spawner.run() }
        // Whoever follows a VMM to its end would do so for ever.
        defer { group.cancelAll() }
        try await body(desk)
    }
}

/// The fault of `body`; `nil` when it succeeded.
func fault(of body: () async throws(Fault) -> Void) async -> Fault? {
    do throws(Fault) {
        try await body()
        return nil
    } catch { return error }
}

private struct ClosedGuests: GuestLinks, GuestAccess {
    let fault: Fault
    func awaitReady(_ vm: VMID) async throws(Fault) { throw fault }
    func shutDown(_ vm: VMID) async throws(Fault) { throw fault }
    func settle(_ vm: VMID) async throws(Fault) { throw fault }
    func renew(_ vm: VMID, _ identity: GuestIdentity) async throws(Fault) { throw fault }
    func freshen(_ vm: VMID, entropy: [UInt8]) async throws(Fault) { throw fault }
    func readers(of vm: VMID) async -> Int { 0 }
    func stepClock(_ vm: VMID) async {}
    func hold(_ vm: VMID) async throws(Fault) { throw fault }
    func letGo(_ vm: VMID) async throws(Fault) { throw fault }
    func drop(_ vm: VMID) async {}
    func exec(_ vm: VMID, _ request: ExecRequest) async throws(Fault) -> any ExecSession {
        throw fault
    }
    func copy(_ vm: VMID, _ request: CopyRequest) async throws(Fault) -> any CopySession {
        throw fault
    }
    func status(_ vm: VMID) async throws(Fault) -> GuestStatus { throw fault }
}

private struct NoFailpoints: Failpoints {
    func pass(_ point: Failpoint) async throws(Fault) {}
    func skips(_ point: Failpoint) -> Bool { false }
    func mark(_ marker: Marker) {}
}

/// Lets something happen between a decision of the control plane and its commit.
final class Meanwhile: Failpoints {
    private let next = Mutex<(@Sendable () async throws -> Void)?>(nil)

    /// At the next commit of an operation, `work` comes first.
    func happens(_ work: @escaping @Sendable () async throws -> Void) {
        next.withLock { $0 = work }
    }

    func pass(_ point: Failpoint) async throws(Fault) {
        guard point == .beforeAccept else { return }
        let work = next.withLock { next in
            defer { next = nil }
            return next
        }
        do { try await work?() } catch { throw Fault(.bug, "what came between failed: \(error)") }
    }

    func skips(_ point: Failpoint) -> Bool { false }
    func mark(_ marker: Marker) {}
}

/// A time of day that passes only when it is told to.
final class Wall: WallClock {
    private let time = Mutex(Timestamp(milliseconds: 43_200_000))
    func now() -> Timestamp { time.withLock { $0 } }
    func pass(seconds: Int64) { time.withLock { $0 = $0.adding(seconds: seconds) } }
    func pass(days: Int64) { time.withLock { $0 = $0.adding(seconds: days * 24 * 3600) } }
}

/// 1, 2, 3, …: ids differ, and are the same in every run.
private final class Counting: Entropy {
    private let last = Mutex<UInt64>(0)
    func next() -> UInt64 {
        last.withLock { last in
            last += 1
            return last
        }
    }
}
