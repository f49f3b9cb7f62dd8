package import RoostModel

/// The control side's way to one node, in model values.
///
/// Lossy by contract: calls may be repeated, reordered and their answers lost. Every change
/// carries op id, epoch and generation, so that a repeat is recognised and an old one refused.
package protocol NodeLink: Sendable {
    /// The node behind it.
    var node: NodeID { get }

    /// Makes one assignment durable on the node, converges the VM and answers with what it is then.
    ///
    /// A repeat of an op id that has ended answers the same without doing it again.
    /// - Throws: what the node's work threw; ``Reason/nodeUnreachable`` when the answer was lost
    ///   (the work may have been done), ``Reason/staleEpoch`` or ``Reason/opCancelled``.
    func apply(_ delta: AssignmentDelta) async throws(Fault) -> VMReport

    /// Makes the ``apply(_:)`` of `operation` stop at its next step boundary, also when it has not
    /// reached the node yet. Fine when it has ended.
    func preempt(_ vm: VMID, operation: OperationID) async throws(Fault)

    /// What the node sees now of one VM; `nil` when it holds nothing of it.
    func inspect(_ vm: VMID) async throws(Fault) -> VMReport?

    /// What the node was last told about `vm`; `nil` when nothing, or when it is gone.
    func assignment(_ vm: VMID) async throws(Fault) -> VMAssignment?

    /// What the node sees now of every VM it holds.
    func observe() async throws(Fault) -> NodeReport

    /// The VMs whose observed state changed by itself after `cursor`; waits until there is one.
    func changes(after cursor: UInt64) async throws(Fault) -> ReportPage

    /// Whose the bytes on the node's disks and in its memory files are. Reads directories: as slow as
    /// they are many.
    func usage() async throws(Fault) -> NodeUsage

    /// Resolves an image or kernel reference on the node.
    func resolve(image: String, kernel: String) async throws(Fault) -> ResolvedImages

    /// Starts or attaches to a command in a guest.
    func exec(_ vm: VMID, _ request: ExecRequest) async throws(Fault) -> any ExecSession
    /// Opens a file or a tar stream in a guest.
    func copy(_ vm: VMID, _ request: CopyRequest) async throws(Fault) -> any CopySession
    /// A piece of one of a VM's logs.
    func readLog(_ vm: VMID, _ request: LogRequest) async throws(Fault) -> LogPiece
    /// What the guest's agent says of itself.
    func guestStatus(_ vm: VMID) async throws(Fault) -> GuestStatus
}

/// A change of one VM's assignment: what it shall be, and what to do now.
package struct AssignmentDelta: Sendable, Hashable, Codable {
    package var operation: OperationID
    /// The control plane's lease epoch; a node refuses an older one than it has seen.
    package var epoch: Int64
    package var vm: VMAssignment
    package var action: NodeAction

    package init(
        operation: OperationID,
        epoch: Int64,
        vm: VMAssignment,
        action: NodeAction
    ) {
        self.operation = operation
        self.epoch = epoch
        self.vm = vm
        self.action = action
    }
}

/// What a node is told that a VM shall be.
package struct VMAssignment: Sendable, Hashable, Codable {
    package var id: VMID
    package var name: String
    package var generation: Int
    package var spec: VMSpec
    package var desired: DesiredPower

    package init(id: VMID, name: String, generation: Int, spec: VMSpec, desired: DesiredPower) {
        self.id = id
        self.name = name
        self.generation = generation
        self.spec = spec
        self.desired = desired
    }
}

/// What a node sees of one VM.
package struct VMReport: Sendable, Hashable, Codable {
    package var id: VMID
    package var state: VMState
    package var reason: String
    /// The generation that the running process was started with; 0 when nothing runs.
    package var observedGeneration: Int
    package var addresses: [String]
    /// Set when the VM ended unasked.
    package var ended: EndedUnasked?
    /// What the node did for the operation that this answers, in order.
    package var steps: [StepRecord] = []
    /// What the operation that this answers has kept, if it made a checkpoint.
    package var kept: KeptMoment?

    package init(
        id: VMID,
        state: VMState,
        reason: String,
        observedGeneration: Int = 0,
        addresses: [String] = [],
        ended: EndedUnasked? = nil
    ) {
        self.id = id
        self.state = state
        self.reason = reason
        self.observedGeneration = observedGeneration
        self.addresses = addresses
        self.ended = ended
    }
}

/// How a VM ended without being asked to.
package enum EndedUnasked: String, Sendable, Hashable, Codable {
    /// The guest powered itself off: this is no failure.
    case poweredOff
    /// The VMM died or was killed from outside.
    case failed
}

/// What a node sees of all its VMs, sorted by id.
package struct NodeReport: Sendable, Hashable, Codable {
    package var vms: [VMReport]
    /// Free to use now, in whole units.
    package var capacity: NodeCapacity
    /// Where ``NodeLink/changes(after:)`` goes on from.
    package var cursor: UInt64

    package init(vms: [VMReport], capacity: NodeCapacity, cursor: UInt64) {
        self.vms = vms
        self.capacity = capacity
        self.cursor = cursor
    }
}

/// What a node has in all.
package struct NodeCapacity: Sendable, Hashable, Codable {
    package var cores: Int
    package var memoryMiB: Int

    package init(cores: Int, memoryMiB: Int) {
        self.cores = cores
        self.memoryMiB = memoryMiB
    }
}

/// Changes that happened on a node by themselves.
package struct ReportPage: Sendable, Hashable, Codable {
    package var vms: [VMReport]
    package var cursor: UInt64
    /// Changes were dropped before they were read: call ``NodeLink/observe()``.
    package var missedSome: Bool

    package init(vms: [VMReport], cursor: UInt64, missedSome: Bool) {
        self.vms = vms
        self.cursor = cursor
        self.missedSome = missedSome
    }
}

/// References made to digests.
package struct ResolvedImages: Sendable, Hashable, Codable {
    package var image: String
    package var kernel: String
    package var memoryFloorMiB: Int
    /// The least root disk that holds the image, in GiB.
    package var rootDiskFloorGiB: Int

    package init(image: String, kernel: String, memoryFloorMiB: Int, rootDiskFloorGiB: Int) {
        self.image = image
        self.kernel = kernel
        self.memoryFloorMiB = memoryFloorMiB
        self.rootDiskFloorGiB = rootDiskFloorGiB
    }
}

extension NodeReport {
    /// A digest of which VMs there are and what they are (FNV-1a): two reports with the same one say
    /// the same, but for words. Both sides compute it.
    package var stateHash: UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        func mix(_ text: String) {
            for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
            hash = (hash ^ 0xff) &* 0x0000_0100_0000_01b3
        }
        for vm in vms.sorted(by: { $0.id < $1.id }) {
            mix(vm.id.description)
            mix(vm.state.rawValue)
            mix(String(vm.observedGeneration))
        }
        return hash
    }
}
