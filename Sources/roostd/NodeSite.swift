import Glibc
import Logging
import RoostControl
import RoostDriver
import RoostHost
import RoostLink
import RoostLinux
import RoostModel
import RoostNode
import RoostOperations
import RoostStore

/// One node of this daemon: its services over its adapters and its store, and the way to it.
///
/// A daemon has one, on its host. With the simulated driver it may have several, each with a
/// hypervisor, a disk and an image (`node2-only`) of its own, so that placement can be tried out on one
/// machine.
struct NodeSite: Sendable {
    let name: String
    let vms: NodeVMs
    let sessions: GuestSessions
    let link: LocalLink
    let capacity: NodeCapacity
    let policy: OvercommitPolicy

    /// What all nodes of a daemon are made with.
    struct Means {
        let host: Host
        let driver: any Driver
        let files: any VMFiles
        let failpoints: any Failpoints
        let spawner: Spawner
        let log: Logger
    }

    /// Failpoints that the environment armed.
    static func failpoints() throws(Fault) -> any Failpoints {
        try Settings.environment("ROOST_FAILPOINT").map { text throws(Fault) in
            try ArmedFailpoints(text)
        } ?? NoFailpoints()
    }

    /// Each of several simulated nodes: small ones, which are soon full.
    static let simulated = NodeCapacity(cores: 9, memoryMiB: 9 * 1024)

    /// The node at `index` of `count`.
    init(_ index: Int, of count: Int, _ own: Stores.Own, _ means: Means) throws(Fault) {
        let host = means.host
        let isAlone = count == 1
        let surroundings = host.surroundings
        name = isAlone ? hostName() : "node\(index + 1)"
        capacity =
            isAlone
            ? NodeCapacity(
                cores: HostFacts.cores,
                memoryMiB: Int(HostFacts.memory().total.mebibytes)
            ) : Self.simulated
        policy = isAlone ? .laptop(capacity) : OvercommitPolicy()
        let (machines, disk) = (SimulatedHypervisor(), SimulatedDisk())
        disk.whenPurged { machines.removeSaves(of: $0) }
        let driver: any Driver =
            index == 0 ? means.driver : SimulatedDriver(host: machines, clock: surroundings.clock)
        let files: any VMFiles =
            index == 0 ? means.files : SimulatedFiles(disk: disk, clock: surroundings.clock)
        let catalogue: any Catalogue =
            isAlone ? host.catalogue : SimulatedCatalogue.small(and: "\(name)-only")
        sessions = GuestSessions(
            driver: driver,
            surroundings: surroundings,
            spawner: means.spawner
        )
        vms = NodeVMs(
            NodeParts(
                driver: driver,
                files: files,
                catalogue: catalogue,
                store: own.store,
                guests: sessions,
                surroundings: surroundings,
                failpoints: means.failpoints,
                spawner: means.spawner,
                log: means.log,
                capacity: capacity,
                bootDeadline: try Settings.bootDeadline()
            )
        )
        link = LocalLink(
            node: own.id,
            vms: vms,
            guests: sessions,
            files: files,
            catalogue: catalogue
        )
    }
}

extension OvercommitPolicy {
    /// A laptop has few cores, and one reserved of two would halve it: only memory is held back.
    static func laptop(_ capacity: NodeCapacity) -> OvercommitPolicy {
        OvercommitPolicy(
            reservedCores: 0,
            reservedMemoryMiB: min(1024, capacity.memoryMiB / 8),
            // Idle VMs share cores well; memory is what runs out.
            cpuRatio: 32,
            memoryRatio: 1.5
        )
    }
}
