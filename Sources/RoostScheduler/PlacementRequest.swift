package import RoostModel

/// What a VM needs of a node.
///
/// Requests that are equal but for ``node`` share one equivalence class: what was worked out for
/// the first is kept for the others. So leave out of `labels` and `rules` what no rule needs.
package struct PlacementRequest: Hashable, Sendable {
    /// Virtual cores.
    package var cores: Int
    /// Guest memory in MiB.
    package var memoryMiB: Int
    /// What its disks may take together in GiB; 0 where nobody counts it.
    package var diskGiB: Int
    /// The VM's labels, for its own rules and those of others.
    package var labels: [String: String]
    package var rules: PlacementRules
    /// The one node that will do, or `nil` for any. Honoured or refused, never moved.
    package var node: NodeID?

    package init(
        cores: Int,
        memoryMiB: Int,
        diskGiB: Int = 0,
        labels: [String: String] = [:],
        rules: PlacementRules = PlacementRules(),
        node: NodeID? = nil
    ) {
        self.cores = cores
        self.memoryMiB = memoryMiB
        self.diskGiB = diskGiB
        self.labels = labels
        self.rules = rules
        self.node = node
    }

    /// Everything that makes it unusable, in the order of the fields; empty when nothing does.
    package var violations: [FieldViolation] {
        var found: [FieldViolation] = []
        if !Limits.cores.contains(cores) {
            found.append(.init("spec.cpu.cores", "\(cores) is outside 1 … 256"))
        }
        if !(1...Limits.memoryCeilingMiB).contains(memoryMiB) {
            found.append(
                .init(
                    "spec.memory.size_mib",
                    "\(memoryMiB) is outside 1 … \(Limits.memoryCeilingMiB)"
                )
            )
        }
        if !(0...Limits.diskGiB.upperBound).contains(diskGiB) {
            found.append(
                .init(
                    "spec.disk.size_gib",
                    "\(diskGiB) is outside 0 … \(Limits.diskGiB.upperBound)"
                )
            )
        }
        found += labelViolations(labels, field: "labels")
        found += rules.violations()
        if let node, rules.excludedNodes.contains(node) {
            found.append(.init("node", "\(node) is excluded by spec.placement.excluded_nodes"))
        }
        if let node, !rules.requiredNodes.isEmpty, !rules.requiredNodes.contains(node) {
            found.append(.init("node", "\(node) is not one of spec.placement.required_nodes"))
        }
        return found
    }
}

/// What a good node is.
package enum PlacementStrategy: String, CaseIterable, Sendable, Codable {
    /// The node with the largest part of its room left: VMs disturb each other least.
    case spread = "SPREAD"
    /// The node with the smallest part left: whole nodes stay empty.
    case pack = "PACK"
}

/// Points: what one unit of a wish's weight is worth, and the most that room can be worth.
///
/// The bounds on rules and weights keep every sum far inside 32 bits.
enum Points {
    /// One unit of weight.
    static let unit = 10_000
    /// All the room of a node, half for cores and half for memory.
    static let room = 1_000_000
    /// What a taint costs that says "better not", in units of weight.
    static let taintWeight = 50
    /// Beyond so many the next VM too many makes no difference.
    static let cap = 16
}
