package import RoostModel
package import RoostScheduler
package import RoostStore

/// Which VMs had better be elsewhere: read-only advice, worked out on a copy.
extension FleetService {
    /// Moves, with what is needed to tell them.
    package struct Advice: Sendable {
        /// In an order in which each is possible when those before it were made.
        package var moves: [Move]
        /// By VM: why it had better go, for people.
        package var texts: [VMID: String]
        package var names: [VMID: String]
        /// The fleet as it is: nothing has moved.
        package var fleet: Fleet
        /// The revision that it counts from.
        package var revision: Revision
    }

    /// What a gain must be, in points, that is worth a move: the least that can be asked, what is
    /// meant when nothing is, and the most.
    package static let gains = (least: 1, usual: 100_000, most: 10_000_000)
    /// Likewise how many moves are told at most.
    package static let moves = (least: 1, usual: 100, most: 1_000)

    /// The VMs that had better be elsewhere; at most `limit` of them, none for less than
    /// `minimumGain` points, unless a rule is broken. 0: as usual.
    ///
    /// - Throws: every violation at once.
    package func advise(minimumGain: Int, limit: Int) async throws(Fault) -> Advice {
        var violations: [FieldViolation] = []
        let gain = minimumGain == 0 ? Self.gains.usual : minimumGain
        let most = limit == 0 ? Self.moves.usual : limit
        if !(Self.gains.least...Self.gains.most).contains(gain) {
            violations.append(
                .init("minimum_gain", "\(gain) is outside \(Self.gains.least) … \(Self.gains.most)")
            )
        }
        if !(Self.moves.least...Self.moves.most).contains(most) {
            violations.append(
                .init("limit", "\(most) is outside \(Self.moves.least) … \(Self.moves.most)")
            )
        }
        guard violations.isEmpty else { throw .invalid(violations) }
        let revision = nodes.revision
        let fleet = nodes.fleet
        let moves = try fleet.rebalance(minimumGain: gain, limit: most)
        var advice = Advice(moves: moves, texts: [:], names: [:], fleet: fleet, revision: revision)
        for move in moves {
            advice.names[move.vm] = try await vms.parts.store
                .get(VM.self, move.vm.description)?.row.name
            let rules = fleet.resident(move.vm)?.request.rules ?? PlacementRules()
            advice.texts[move.vm] = move.reason.text(rules, there: fleet.name(move.from))
        }
        return advice
    }
}

extension Move.Why {
    /// For people; `there` is the node that the VM is on.
    fileprivate func text(_ rules: PlacementRules, there: String) -> String {
        switch self {
        case .broken(let constraint): "\(there) would not do: \(constraint.text(rules))"
        case .gain(let points): "\(points) points better"
        }
    }
}
