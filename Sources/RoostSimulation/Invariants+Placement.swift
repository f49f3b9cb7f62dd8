import RoostControl
import RoostModel

/// What must hold about where VMs are.
extension Invariants {
    /// After a commit of a VM's row: it stays where it is, came to a node that took VMs, and stands
    /// beside nobody that it must be apart from.
    func placed(_ old: VM?, _ vm: VM) {
        guard let node = vm.status.node else { return }
        if let old {
            require(old.status.node == node, "\(vm.name) moved from one node to another")
        } else {
            require(
                nodeRows[node]?.isCordoned != true,
                "\(vm.name) came to a node that was cordoned before"
            )
        }
        guard isPresent(vm), old.map(isPresent) != true else { return }
        for other in vms.values.sorted(by: { $0.id < $1.id })
        where other.id != vm.id && other.status.node == node && isPresent(other) {
            require(
                !isApart(vm, from: other) && !isApart(other, from: vm),
                "\(vm.name) came to the node of \(other.name), from which it must be apart"
            )
        }
    }

    /// Whether `vm` counts for the rules of others.
    private func isPresent(_ vm: VM) -> Bool { vm.deletedAt == nil }

    private func isApart(_ vm: VM, from other: VM) -> Bool {
        let rules = vm.spec.placement?.affinities ?? []
        return rules.contains { rule in
            rule.kind == .apart && rule.strength == .required
                && rule.group.contains(other.id, other.labels)
        }
    }

    /// An explicit node is honoured or refused.
    func checkNode(_ draft: VMDraft, _ vm: VM) {
        guard !draft.node.isEmpty, let world else { return }
        let node = world.nodes.first { $0.id == vm.status.node }
        require(
            node?.name == draft.node,
            "\(vm.name) asked for \(draft.node) and is on \(node?.name ?? "none")"
        )
    }

    /// What a client was told of a node.
    func answered(of node: NodeHost, _ answer: FleetService.Node) {
        require(answer.facts.id == node.id, "one node was meant, and another one answered")
    }
}
