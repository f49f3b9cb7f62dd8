package import Logging
package import RoostDriver
package import RoostHost
package import RoostLink
package import RoostModel
package import RoostOperations
package import RoostStore

/// What ``NodeVMs`` needs of whoever speaks with guests.
package protocol GuestLinks: Sendable {
    /// Returns when the guest's agent has answered. Ends early when cancelled.
    func awaitReady(_ vm: VMID) async throws(Fault)
    /// Asks the guest to power off. Returns when it has taken the request.
    func shutDown(_ vm: VMID) async throws(Fault)
    /// Readies the guest for copies of it: what they need at once is in memory, the rest on its disk.
    func settle(_ vm: VMID) async throws(Fault)
    /// Makes a copy of a machine a machine of its own, runs its image's hooks, and lets it go on.
    ///
    /// Throws ``Reason/hookFailed`` naming the hook that refused; it stands still then.
    func renew(_ vm: VMID, _ identity: GuestIdentity) async throws(Fault)
    /// Gives a guest that was brought back to an earlier moment another generation, fresh random
    /// numbers and the time, and lets it go on. It stays the machine that it was.
    func freshen(_ vm: VMID, entropy: [UInt8]) async throws(Fault)
    /// How many commands in the guest somebody reads now.
    func readers(of vm: VMID) async -> Int
    /// Sets the guest's clock by the host's, if it is connected to; else its next connection does.
    func stepClock(_ vm: VMID) async
    /// Makes everything in the guest but its agent stand still, and lets go of the connection once
    /// every byte that was sent has arrived. Whoever reads or writes there waits. May be repeated.
    func hold(_ vm: VMID) async throws(Fault)
    /// Ends ``hold(_:)``, with whatever VMM the VM has now: the guest goes on, and who waited too.
    func letGo(_ vm: VMID) async throws(Fault)
    /// Forgets the connection, and fails whoever waits for that guest.
    func drop(_ vm: VMID) async
}

/// What a copy of a machine is to be.
package struct GuestIdentity: Sendable, Hashable {
    package var hostname: String
    /// 16 bytes.
    package var machineID: [UInt8]
    /// 6 bytes.
    package var ethernet: [UInt8]
    /// Fresh random bytes for the guest's pool.
    package var entropy: [UInt8]

    package init(hostname: String, machineID: [UInt8], ethernet: [UInt8], entropy: [UInt8]) {
        self.hostname = hostname
        self.machineID = machineID
        self.ethernet = ethernet
        self.entropy = entropy
    }
}

/// What a node's VM service is made of.
package struct NodeParts: Sendable {
    package var driver: any Driver
    package var files: any VMFiles
    package var catalogue: any Catalogue
    package var store: any Store
    package var guests: any GuestLinks
    package var surroundings: Surroundings
    package var failpoints: any Failpoints
    package var spawner: Spawner
    package var log: Logger
    package var capacity: NodeCapacity
    /// How long a guest may take from start to its first answer.
    package var bootDeadline: Duration
    /// The most templates that are kept besides those that disks lie over.
    package var templateLimit: Int

    package init(
        driver: any Driver,
        files: any VMFiles,
        catalogue: any Catalogue,
        store: any Store,
        guests: any GuestLinks,
        surroundings: Surroundings,
        failpoints: any Failpoints,
        spawner: Spawner,
        log: Logger,
        capacity: NodeCapacity,
        bootDeadline: Duration = .seconds(60),
        templateLimit: Int = 8
    ) {
        self.driver = driver
        self.files = files
        self.catalogue = catalogue
        self.store = store
        self.guests = guests
        self.surroundings = surroundings
        self.failpoints = failpoints
        self.spawner = spawner
        self.log = log
        self.capacity = capacity
        self.bootDeadline = bootDeadline
        self.templateLimit = templateLimit
    }
}
