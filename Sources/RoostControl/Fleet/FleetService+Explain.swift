package import RoostModel
import RoostOperations
package import RoostScheduler
package import RoostStore

extension FleetService {
    /// Why a VM is where it is and as it is.
    package struct Account: Sendable {
        package var vm: VM
        /// The decision that put it there; `nil` for a VM that is older than decisions.
        package var decision: PlacementRow?
        /// What could be done about its failure; `nil` when it has not failed.
        package var remedy: String?
        /// About the node that was asked for.
        package var notOn: NodeAccount?
        /// The fleet that it was answered from.
        package var fleet: Fleet
    }

    /// What one node says to a VM now.
    package struct NodeAccount: Sendable {
        package var node: NodeID
        package var isThere: Bool
        package var verdict: Verdict
        /// For people.
        package var text: String
        /// The smallest change after which it would do; `nil` when there is none, or none is needed.
        package var change: String?
        /// The best node as things are now; `nil` when none would do.
        package var best: Scored?
    }

    /// Why the VM that `reference` means is where it is and as it is and, if `node` is given, why it
    /// is not there.
    ///
    /// - Throws: as ``VMService/get(_:project:)`` and ``NodeDirectory/find(_:field:)``.
    package func explain(
        _ reference: String,
        project: ProjectView,
        notOn node: String = ""
    ) async throws(Fault) -> Account {
        let vm = try await vms.get(reference, project: project).row
        let decision = try await vms.parts.store.get(PlacementRow.self, vm.key)?.row
        var account = Account(vm: vm, decision: decision, fleet: nodes.fleet)
        if vm.status.state == .failed {
            let last = try await vms.parts.store.get(OperationRow.self, vm.lastOp.description)?.row
            account.remedy = last?.fault?.fault.remedy ?? Reason.vmmFailed.remedy(about: vm.name)
        }
        if !node.isEmpty {
            let id = try nodes.find(node, field: "not_on")
            account.notOn = try nodeAccount(vm, id, account.fleet)
        }
        return account
    }

    private func nodeAccount(
        _ vm: VM,
        _ node: NodeID,
        _ fleet: Fleet
    ) throws(Fault) -> NodeAccount {
        var copy = fleet
        // As if it came now: what it holds where it is does not count.
        copy.remove(vm.id)
        let request = PlacementRequest(vm)
        let verdict = try copy.verdict(request, on: node, for: vm.id)
        let best = try copy.place(request, for: vm.id).explanation.best.first
        let name = fleet.name(node)
        let isThere = vm.status.node == node
        var account = NodeAccount(
            node: node,
            isThere: isThere,
            verdict: verdict,
            text: "",
            change: nil,
            best: best
        )
        switch verdict {
        case .removed(let constraint):
            account.text = "\(name) would not do: \(constraint.text(request.rules))"
            account.change = try smallestChange(request, node, copy)
        case .fits(let scored):
            let points = "\(scored.score) points"
            if isThere {
                account.text = "\(name) is where it is, and would do now: \(points)"
            } else if let best, best.node != node {
                account.text =
                    "\(name) would do: \(points); \(fleet.name(best.node)) is better: \(best.score)"
            } else {
                account.text = "\(name) would do, and would be chosen now: \(points)"
            }
        }
        return account
    }

    /// The smallest change after which `node` would do, tried on a copy.
    private func smallestChange(
        _ request: PlacementRequest,
        _ node: NodeID,
        _ fleet: Fleet
    ) throws(Fault) -> String? {
        var asked = request
        var dropped: [Constraint] = []
        // To ask for just this node contradicts a rule that forbids it.
        if asked.rules.excludedNodes.contains(node) {
            asked.rules.excludedNodes.removeAll { $0 == node }
            dropped.append(.excludedNodes)
        }
        if !asked.rules.requiredNodes.isEmpty, !asked.rules.requiredNodes.contains(node) {
            asked.rules.requiredNodes = []
            dropped.append(.requiredNodes)
        }
        var said = dropped.map { constraint in
            RoostScheduler.Change.drop(constraint).text(request.rules, names: fleet.name)
        }
        asked.node = node
        var copy = fleet
        if try copy.place(asked).node == nil {
            // Only changes after which it is this node that it goes to.
            let remedies = try copy.remedies(for: asked, limit: 24)
            let remedy = remedies.first {
                $0.node == node && !$0.changes.contains(.drop(.explicitNode))
            }
            guard let remedy else { return nil }
            said.append(remedy.text(asked.rules, fleet))
        }
        return said.joined(separator: " and ")
    }

    // MARK: What if

    /// What might be done, as people say it.
    package enum Question: Sendable {
        /// So many VMs more; of the draft its shape, labels, rules and node count.
        case add(count: Int, VMDraft)
        case drain(String)
        case lose(String)
        case resize(String, project: ProjectView, cores: Int, memoryMiB: Int)
    }

    /// A forecast, with what is needed to tell it.
    package struct Prospect: Sendable {
        package var forecast: Forecast
        /// The fleet as it is: nothing has happened.
        package var fleet: Fleet
        /// The revision that it counts from.
        package var revision: Revision
        /// By VM, for those that there are among the first ``FleetService/shownSteps`` steps.
        package var names: [VMID: String]
        /// The smallest change after which the first refused one would fit.
        package var change: String?
    }

    /// How many steps of a forecast are told one by one.
    package static let shownSteps = 1_000

    /// What would come of something: the same code on a copy.
    ///
    /// - Throws: every violation; a node or VM that is not there.
    package func whatIf(_ question: Question) async throws(Fault) -> Prospect {
        let scenario = try await scenario(question)
        let revision = nodes.revision
        let fleet = nodes.fleet
        var after = fleet
        let forecast = try after.enact(scenario)
        var prospect = Prospect(forecast: forecast, fleet: fleet, revision: revision, names: [:])
        if let refused = forecast.refusals.first {
            prospect.change = try after.smallestChange(refused.request)
        }
        for step in forecast.steps.prefix(Self.shownSteps) where step.from != nil {
            if let vm = try await vms.parts.store.get(VM.self, step.vm.description)?.row {
                prospect.names[step.vm] = vm.name
            }
        }
        return prospect
    }

    private func scenario(_ question: Question) async throws(Fault) -> Scenario {
        switch question {
        case .add(let count, let draft):
            var violations = draft.violations()
            let limit = Fleet.largestAddition
            if !(1...limit).contains(count) {
                violations.insert(.init("add.count", "\(count) is outside 1 … \(limit)"), at: 0)
            }
            guard violations.isEmpty else { throw .invalid(violations) }
            return .add(count: count, try await vms.placementRequest(draft))
        case .drain(let node): return .drain(try nodes.find(node, field: "drain"))
        case .lose(let node): return .lose(try nodes.find(node, field: "lose"))
        case .resize(let reference, let project, let cores, let memoryMiB):
            let vm = try await vms.find(reference, project: project).row
            return .resize(vm.id, cores: cores, memoryMiB: memoryMiB)
        }
    }
}

extension Reason {
    /// The remedy for a VM of this name.
    fileprivate func remedy(about vm: String) -> String {
        Fault(self, "", metadata: ["vm": vm]).remedy
    }
}
