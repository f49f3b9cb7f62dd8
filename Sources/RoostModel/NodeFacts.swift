/// One node as a scheduler must know it: what it has, what it is called, whether it takes VMs.
package struct NodeFacts: Hashable, Sendable, Codable {
    package var id: NodeID
    /// For people; the scheduler never compares it.
    package var name: String
    /// Cores of the hardware.
    package var cores: Int
    /// Memory of the hardware in MiB.
    package var memoryMiB: Int
    /// What disks may take together, in GiB; `nil` where nobody counts it.
    package var diskGiB: Int?
    package var policy: OvercommitPolicy
    /// Labels, of which some are the topology: `rack=r1`, `zone=a`.
    package var labels: [String: String]
    package var taints: [Taint]
    package var state: NodeState
    /// Images, templates, pools and checkpoints that it has.
    package var artifacts: Set<Artifact>

    package init(
        id: NodeID,
        name: String = "",
        cores: Int,
        memoryMiB: Int,
        diskGiB: Int? = nil,
        policy: OvercommitPolicy = OvercommitPolicy(),
        labels: [String: String] = [:],
        taints: [Taint] = [],
        state: NodeState = .ready,
        artifacts: Set<Artifact> = []
    ) {
        self.id = id
        self.name = name
        self.cores = cores
        self.memoryMiB = memoryMiB
        self.diskGiB = diskGiB
        self.policy = policy
        self.labels = labels
        self.taints = taints
        self.state = state
        self.artifacts = artifacts
    }

    /// Virtual cores that it may promise altogether: `(cores − reserved) × ratio`.
    package var promisableCores: Int {
        Self.part(cores, policy.reservedCores, policy.cpuRatio)
    }

    /// MiB of guest memory that it may promise altogether, by the same rule.
    package var promisableMemoryMiB: Int {
        Self.part(memoryMiB, policy.reservedMemoryMiB, policy.memoryRatio)
    }

    /// `(all − reserved) × ratio`, and nothing at all where a node's figures make no sense: they
    /// come from outside, and a conversion that traps would be a crash by their hand.
    private static func part(_ all: Int, _ reserved: Int, _ ratio: Double) -> Int {
        let (left, isOver) = all.subtractingReportingOverflow(reserved)
        let whole = Double(isOver ? 0 : max(left, 0)) * ratio
        return Int(exactly: min(whole, 0x1p40).rounded(.down)).map { max($0, 0) } ?? 0
    }
}

/// Whether a node takes new VMs, and if not, why.
package enum NodeState: String, CaseIterable, Sendable, Codable {
    case ready = "READY"
    /// An operator wants nothing new on it; what is there stays.
    case cordoned = "CORDONED"
    /// An operator wants it empty.
    case draining = "DRAINING"
    /// It lives, and cannot run VMs now: its own doctor says so.
    case notReady = "NOT_READY"
    /// It has not been heard of for too long.
    case lost = "LOST"
}

/// How much more than it has a node may promise.
package struct OvercommitPolicy: Hashable, Sendable, Codable {
    package var reservedCores: Int
    package var reservedMemoryMiB: Int
    package var cpuRatio: Double
    package var memoryRatio: Double

    package init(
        reservedCores: Int = 1,
        reservedMemoryMiB: Int = 1024,
        cpuRatio: Double = 2.0,
        memoryRatio: Double = 1.5
    ) {
        self.reservedCores = reservedCores
        self.reservedMemoryMiB = reservedMemoryMiB
        self.cpuRatio = cpuRatio
        self.memoryRatio = memoryRatio
    }
}
