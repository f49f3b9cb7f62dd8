package import RoostModel

/// A VM that had better be elsewhere. A recommendation: nothing moves by itself.
package struct Move: Hashable, Sendable {
    package var vm: VMID
    package var from: NodeID
    package var to: NodeID
    package var reason: Why

    package enum Why: Hashable, Sendable {
        /// Its node breaks a rule by now that was kept, or was not asked for, when it came.
        case broken(Constraint)
        /// The other node's score is so much better, in points.
        case gain(Int)
    }
}

extension Fleet {
    /// Moves that mend broken rules, then moves that gain most, at most `limit`, in an order in
    /// which each is possible when those before it were made. No VM moves twice.
    ///
    /// It takes VMs from the worst nodes first (the fullest when spreading, the emptiest when
    /// packing) and asks where they would go today. A gain below `minimumGain` points is not worth
    /// a move; 100,000 are a tenth of a node's room. Takes O(VMs × one decision).
    package func rebalance(
        minimumGain: Int = 100_000,
        limit: Int = 100
    ) throws(Fault) -> [Move] {
        var copy = self
        var moves: [Move] = []
        let order = copy.worstFirst()
        var moved: Set<VMID> = []
        for isMending in [true, false] {
            for vm in order where moves.count < limit && !moved.contains(vm) {
                guard let resident = copy.resident(vm) else { continue }
                let move = try copy.improve(resident, isMending, minimumGain)
                if let move {
                    moves.append(move)
                    moved.insert(vm)
                }
            }
        }
        return moves
    }

    /// Every VM: those on the worst nodes first, there by id.
    private func worstFirst() -> [VMID] {
        let points = world.facts.indices.map { slot in
            world.strategy.points(
                world.rooms[slot].free.cores,
                world.rooms[slot].free.memoryMiB,
                of: world.rooms[slot].total
            )
        }
        return world.residents.sorted { left, right in
            let (first, second) = (left.value.slot, right.value.slot)
            if first != second {
                return (points[first], first) < (points[second], second)
            }
            return left.key < right.key
        }.map(\.key)
    }

    /// Moves one VM if that mends something, or gains enough.
    private mutating func improve(
        _ resident: Resident,
        _ isMending: Bool,
        _ minimumGain: Int
    ) throws(Fault) -> Move? {
        remove(resident.vm)
        var target = resident.node
        var reason: Move.Why?
        let here = try verdict(resident.request, on: resident.node, for: resident.vm)
        switch here {
        case .removed(let constraint) where isMending && constraint.expels:
            if let node = try place(resident.request, for: resident.vm).node {
                target = node
                reason = .broken(constraint)
            }
        // One that does not run takes no room: that it goes makes nothing better.
        case .fits(let scored) where !isMending && resident.isRunning:
            let placement = try place(resident.request, for: resident.vm)
            if let best = placement.explanation.best.first,
                best.score - scored.score >= minimumGain
            {
                target = best.node
                reason = .gain(best.score - scored.score)
            }
        case .removed, .fits: break
        }
        try add(resident.vm, resident.request, on: target, isRunning: resident.isRunning)
        return reason.map { Move(vm: resident.vm, from: resident.node, to: target, reason: $0) }
    }
}

extension Constraint {
    /// Whether a VM that is there already should go. A cordon or a taint keeps new ones away only.
    fileprivate var expels: Bool {
        switch self {
        case .state(.draining), .state(.lost): true
        case .state, .taints, .explicitNode: false
        case .requiredNodes, .excludedNodes, .requiredLabels, .locality, .cores, .memory, .disk,
            .repelled, .affinity, .spread:
            true
        }
    }
}
