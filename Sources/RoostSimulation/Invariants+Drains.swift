import RoostControl
import RoostDriver
import RoostModel
import RoostOperations

/// What must hold about drains of nodes.
extension Invariants {
    // MARK: After each commit, and each change on a host

    func drainMoved(_ old: DrainRow?, _ row: DrainRow) {
        guard let old else { return }
        require(old.phase != .ended, "drain \(row.id.short) ended twice")
        require(
            old.digest == row.digest && old.node == row.node && old.kind == row.kind,
            "drain \(row.id.short) became another"
        )
        guard row.phase == .ended else { return }
        for target in row.targets {
            world?.mark("drain.\(target.outcome.rawValue)")
            require(
                target.outcome != .pending,
                "drain \(row.id.short) ended without a word about \(target.name)"
            )
        }
    }

    /// Nothing runs on a node whose drain has ended, but what that said to have failed.
    func lookAtDrain(of node: NodeHost) {
        guard let id = drainMarks[node.id], let row = drains[id], row.phase == .ended
        else { return }
        let failed = Set(row.targets.filter { $0.outcome == .failed }.map(\.vm))
        for machine in node.hypervisor.machines {
            guard let vm = vms[machine.launch.id], !failed.contains(vm.id) else { continue }
            violated("\(vm.name) runs on \(node.name), which \(id.short) has drained")
        }
    }

    // MARK: What the operator was told

    func drained(
        _ node: NodeHost,
        _ request: RequestContext,
        _ answer: Result<FleetService.DrainReport, Fault>
    ) {
        switch answer {
        case .success(let report):
            require(report.node.facts.id == node.id, "one node was meant, and another one answered")
            guard let row = report.row else { return }
            let recorded = drains[request.operation]
            require(recorded != nil, "\(request.digest) was acknowledged, and no record says so")
            let isOver = row.phase == .ended
            require(
                isOver || request.answersWhenAccepted,
                "\(request.digest) was answered before it had ended"
            )
            require(!isOver || recorded == row, "\(request.digest) is recorded otherwise")
            world?.mark("\(request.method) succeeded")
        case .failure(let fault):
            world?.mark("\(request.method) refused: \(fault.reason.rawValue)")
            require(fault.reason != .bug, "\(request.digest) met a bug: \(fault)")
            require(
                drains[request.operation] == nil,
                "\(request.digest) was accepted, and answered with \(fault)"
            )
        }
    }

    func drainedAgain(
        _ request: RequestContext,
        _ first: Result<FleetService.DrainReport, Fault>,
        _ again: Result<FleetService.DrainReport, Fault>
    ) {
        guard case .success(let left) = first, left.row?.phase == .ended else { return }
        guard case .success(let right) = again, right.row == left.row else {
            return violated("\(request.digest) was answered otherwise when it was sent again")
        }
        world?.mark("operator.asked-again")
    }

    // MARK: Once the world has converged

    /// What is left of drains, now that no node is to be drained.
    func drainProblems() -> [String] {
        var found = drains.values.sorted { $0.id < $1.id }.filter { $0.phase != .ended }
            .map { "drain \($0.id.short) of \($0.nodeName) has not ended" }
        for vm in vms.values.sorted(by: { $0.id < $1.id }) where vm.deletedAt == nil {
            guard let hold = vm.hold, let node = vm.status.node, drainMarks[node] == nil else {
                continue
            }
            // Whoever could not bring it back has said so.
            let isSaid = drains.values.contains { row in
                row.kind == .restore && row.node == node
                    && row.targets.contains { $0.vm == vm.id && $0.outcome == .failed }
            }
            if !isSaid { found.append("\(vm.name) is held by \(hold.drain.short), which is over") }
        }
        return found
    }
}
