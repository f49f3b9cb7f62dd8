package import RoostModel
package import RoostScheduler

extension Fleet {
    /// What people call `node`: its name, or the beginning of its id.
    package func name(_ node: NodeID) -> String {
        guard let name = facts(node)?.name, !name.isEmpty else { return node.short }
        return name
    }

    /// The refusal as a fault, with the smallest change that would help.
    package func fault(_ refusal: Refusal) throws(Fault) -> Fault {
        let change = try smallestChange(refusal.request)
        var fault = refusal.fault(change: change)
        // Its remedy is for every want of room; this one knows more.
        if fault.reason == .noCapacity, let change {
            fault.message += "; it would fit after: \(change)"
        }
        return fault
    }

    /// The smallest change after which `request` fits, for people; tried on a copy.
    package func smallestChange(_ request: PlacementRequest) throws(Fault) -> String? {
        try remedies(for: request, limit: 1).first.map { $0.text(request.rules, self) }
    }
}

extension Remedy {
    /// The changes for people.
    func text(_ rules: PlacementRules, _ fleet: Fleet) -> String {
        changes.map { $0.text(rules, names: fleet.name) }.joined(separator: " and ")
    }
}
