package import RoostModel

/// One node as the scheduler sees it: a snapshot, already consistent.
package struct Candidate: Hashable, Sendable {
    package var id: NodeID
    package var cores: Int
    package var memoryMiB: Int
    package var usedCores: Int
    package var usedMemoryMiB: Int
    package var policy: OvercommitPolicy

    package init(
        id: NodeID,
        cores: Int,
        memoryMiB: Int,
        usedCores: Int = 0,
        usedMemoryMiB: Int = 0,
        policy: OvercommitPolicy = OvercommitPolicy()
    ) {
        self.id = id
        self.cores = cores
        self.memoryMiB = memoryMiB
        self.usedCores = usedCores
        self.usedMemoryMiB = usedMemoryMiB
        self.policy = policy
    }

    /// Virtual cores that can still be given: `(cores − reserved) × ratio − used`.
    package var freeCores: Int {
        Int(Double(max(cores - policy.reservedCores, 0)) * policy.cpuRatio) - usedCores
    }

    /// MiB of guest memory that can still be given, by the same rule.
    package var freeMemoryMiB: Int {
        Int(Double(max(memoryMiB - policy.reservedMemoryMiB, 0)) * policy.memoryRatio)
            - usedMemoryMiB
    }
}

/// How much more than it has a node may promise.
package struct OvercommitPolicy: Hashable, Sendable {
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

/// What a VM needs of a node.
package struct PlacementRequest: Hashable, Sendable {
    package var cores: Int
    package var memoryMiB: Int
    /// The one node that will do, or `nil` for any. Honoured or refused, never moved.
    package var node: NodeID?

    package init(cores: Int, memoryMiB: Int, node: NodeID? = nil) {
        self.cores = cores
        self.memoryMiB = memoryMiB
        self.node = node
    }
}

/// Chooses the node with the most memory left over, of those where `request` fits.
///
/// Pure: the same arguments give the same node. Ties go to the smallest identifier,
/// so that the order of `candidates` cannot change the answer.
///
/// - Complexity: O(*n*) for *n* candidates.
/// - Throws: ``Reason/nodeNotFound`` for an explicit node that is not among them, and
///   ``Reason/noCapacity`` with the least that is missing when none has the room.
package func placement(
    _ request: PlacementRequest,
    among candidates: some Sequence<Candidate>
) throws(Fault) -> NodeID {
    let eligible = candidates.filter { request.node == nil || $0.id == request.node }
    guard !eligible.isEmpty else {
        throw Fault(.nodeNotFound, "no node \(request.node?.description ?? "has joined")")
    }
    let chosen =
        eligible
        .filter { $0.freeCores >= request.cores && $0.freeMemoryMiB >= request.memoryMiB }
        .max { left, right in
            (left.freeMemoryMiB, right.id.bits) < (right.freeMemoryMiB, left.id.bits)
        }
    guard let chosen else { throw refusal(request, eligible) }
    return chosen.id
}

private func refusal(_ request: PlacementRequest, _ eligible: [Candidate]) -> Fault {
    let cores = eligible.map(\.freeCores).max() ?? 0
    let memory = eligible.map(\.freeMemoryMiB).max() ?? 0
    return Fault(
        .noCapacity,
        "no node of \(eligible.count) has room for \(request.cores) cores and "
            + "\(request.memoryMiB) MiB; the most that is free is \(max(cores, 0)) cores and "
            + "\(max(memory, 0)) MiB",
        metadata: ["freeCores": "\(max(cores, 0))", "freeMemoryMiB": "\(max(memory, 0))"]
    )
}
