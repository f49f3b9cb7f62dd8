package import RoostModel
package import RoostOperations
package import RoostReconciler
import RoostScheduler
import RoostStore
import Synchronization

/// Fleets: what VMs shall be there, published whole, and kept so.
///
/// See README.md of this folder. What is published is one row; what is to be done about it is found
/// by comparing, each time anew, so that nothing of it can be lost in a crash.
package final class DesiredStateService: Sendable {
    let fleet: FleetService
    var vms: VMService { fleet.vms }
    /// What was tried of late and did not help yet, by VM.
    let attempts = Mutex<[FleetAttempt.Key: FleetAttempt]>([:])
    /// Plans that were shown lately, by token: to tell what is different now.
    private let shown = Mutex<[(token: String, plan: FleetPlan)]>([])

    package init(_ fleet: FleetService) { self.fleet = fleet }

    // MARK: Looking

    /// What publishing a state would do.
    package struct Proposal: Sendable {
        package var plan: FleetPlan
        /// Where each new VM would go, by its name.
        package var places: [String: Place]
        /// The generation that it would get; the present one when it holds already.
        package var generation: Int64
        package var token: String
    }

    /// Where a new VM would go.
    package enum Place: Sendable, Hashable {
        case node(String)
        case refused(String)
    }

    /// What publishing `state` would do now. Changes nothing.
    ///
    /// - Throws: every violation; a node or VM that a rule names and that is not there.
    package func plan(_ state: FleetState, hash: String) async throws(Fault) -> Proposal {
        let violations = state.violations()
        guard violations.isEmpty else { throw .invalid(violations) }
        let present = try await row(state.project, state.name)?.row
        let plan = try await compare(state)
        let token = token(present?.generation ?? 0, hash, plan)
        remember(plan, token)
        return Proposal(
            plan: plan,
            places: try await places(plan, state),
            generation: present?.hash == hash
                ? present?.generation ?? 1 : (present?.generation ?? 0) + 1,
            token: token
        )
    }

    /// A fleet and how far it is.
    package struct Report: Sendable {
        package var row: FleetStateRow
        package var plan: FleetPlan
        /// What did not work the last time, by VM.
        package var troubles: [String: Fault]
    }

    /// How far the fleet `name` is.
    ///
    /// - Throws: ``Reason/fleetNotFound``.
    package func report(_ name: String, project: String) async throws(Fault) -> Report {
        guard let found = try await row(project, name) else {
            throw Fault(
                .fleetNotFound,
                "no fleet '\(RoostModel.shown(name))' in project \(RoostModel.shown(project))"
            )
        }
        return try await report(found.row)
    }

    /// Every fleet of `project`; of all of them when it is empty. By project and name.
    package func reports(project: String) async throws(Fault) -> [Report] {
        var reports: [Report] = []
        for row in try await rows(project: project) { reports.append(try await report(row)) }
        return reports
    }

    /// Whether there is a fleet with a VM in it.
    package func keepsSomething() async throws(Fault) -> Bool {
        try await rows().contains { !$0.state.members.isEmpty }
    }

    private func report(_ row: FleetStateRow) async throws(Fault) -> Report {
        let plan = try await compare(row.state)
        return Report(row: row, plan: plan, troubles: troubles(of: row.state, plan))
    }

    // MARK: Publishing

    /// A state to publish.
    package struct Publication: Sendable {
        package var state: FleetState
        /// The same as it came: in the API's JSON.
        package var document: String
        /// Of all that was sent, in hexadecimal digits.
        package var hash: String
        /// The number it shall have; 0: the next.
        package var generation: Int64
        /// The plan that was agreed to; empty: whatever comes of it.
        package var token: String
        package var context: RequestContext

        package init(
            _ state: FleetState,
            document: String,
            hash: String,
            generation: Int64 = 0,
            token: String = "",
            _ context: RequestContext
        ) {
            self.state = state
            self.document = document
            self.hash = hash
            self.generation = generation
            self.token = token
            self.context = context
        }
    }

    /// Makes a state the one that is kept. What holds already changes nothing, so that sending it
    /// again is no harm.
    ///
    /// - Throws: every violation; ``Reason/staleGeneration`` for an older number,
    ///   ``Reason/generationReused`` for the present one with other content, ``Reason/stalePlan``
    ///   with what is different since the plan was made.
    package func publish(
        _ publication: Publication
    ) async throws(Fault) -> (row: FleetStateRow, changed: Bool) {
        let state = publication.state
        var violations = state.violations()
        if publication.generation < 0 {
            violations.append(.init("generation", "\(publication.generation) is under 0"))
        }
        guard violations.isEmpty else { throw .invalid(violations) }
        while true {
            let found = try await row(state.project, state.name)
            let present = found?.row
            if let present {
                try accepts(publication, over: present)
                let wanted = publication.generation
                if present.hash == publication.hash, wanted == 0 || wanted == present.generation {
                    return (present, false)
                }
            }
            try await isAgreed(publication, present?.generation ?? 0)
            let next = (present?.generation ?? 0) + 1
            let row = FleetStateRow(
                state: state,
                document: publication.document,
                generation: publication.generation == 0 ? next : publication.generation,
                hash: publication.hash,
                publishedAt: vms.now,
                principal: publication.context.principal,
                operation: publication.context.operation
            )
            if publication.context.validateOnly { return (row, true) }
            if try await write(row, over: found) {
                // Whoever publishes may have seen to what was in the way.
                forget(state)
                return (row, true)
            }
        }
    }

    private func accepts(
        _ publication: Publication,
        over present: FleetStateRow
    ) throws(Fault) {
        let (name, wanted) = (present.state.name, publication.generation)
        guard wanted != 0 else { return }
        let facts = ["fleet": name, "generation": "\(present.generation)"]
        if wanted < present.generation, !vms.parts.failpoints.skips(.olderState) {
            throw Fault(
                .staleGeneration,
                "\(name) is at generation \(present.generation), and this is \(wanted)",
                metadata: facts
            )
        }
        if wanted == present.generation, publication.hash != present.hash {
            throw Fault(
                .generationReused,
                "generation \(wanted) of \(name) was published with other content",
                metadata: facts
            )
        }
    }

    private func isAgreed(_ publication: Publication, _ generation: Int64) async throws(Fault) {
        guard !publication.token.isEmpty else { return }
        let plan = try await compare(publication.state)
        let token = token(generation, publication.hash, plan)
        guard token != publication.token else { return }
        let before = shown.withLock { $0.first { $0.token == publication.token }?.plan }
        let lines = plan.difference(from: before)
        throw Fault(
            .stalePlan,
            "the plan is not what would be done now: "
                + (lines.isEmpty
                    ? "the file or its generation is another one"
                    : lines.prefix(20).joined(separator: "; ")),
            metadata: ["fleet": publication.state.name]
        )
    }

    /// `false`: somebody else was first, look again.
    private func write(
        _ row: FleetStateRow,
        over found: Versioned<FleetStateRow>?
    ) async throws(Fault) -> Bool {
        var batch = Batch()
        if let found { batch.replace(found, with: row) } else { batch.insert(row) }
        do throws(Fault) {
            try await vms.commit(batch)
            return true
        } catch  where error.reason == .storeConflict {
            return false
        }
    }

    private func token(_ generation: Int64, _ hash: String, _ plan: FleetPlan) -> String {
        "\(generation)-\(hash.prefix(12))-\(plan.fingerprint)"
    }

    private func remember(_ plan: FleetPlan, _ token: String) {
        shown.withLock { shown in
            shown.removeAll { $0.token == token }
            shown.append((token, plan))
            if shown.count > 64 { shown.removeFirst() }
        }
    }

    // MARK: Comparing

    func row(
        _ project: String,
        _ name: String
    ) async throws(Fault) -> Versioned<FleetStateRow>? {
        try await vms.parts.store.get(FleetStateRow.self, FleetStateRow.key(project, name))
    }

    func rows(project: String = "") async throws(Fault) -> [FleetStateRow] {
        let entries = project.isEmpty ? [] : [IndexEntry("project", project)]
        return try await vms.parts.store.list(FleetStateRow.self, Query(matching: entries)).rows
            .map(\.row)
    }

    /// As ``VMService/requireReach(of:in:)``, for a draft of a state.
    package func requireReach(
        of draft: VMDraft,
        in project: ProjectView
    ) async throws(Fault) {
        try await vms.requireReach(of: draft, in: project)
    }

    /// What is to be done for `state`, by what the rows say now.
    func compare(_ state: FleetState) async throws(Fault) -> FleetPlan {
        let present = try await present(state).map(\.row)
        return FleetPlan(state, present: present, drained: fleet.nodes.drained)
    }

    /// The VMs that `state` is compared with: its own, and whoever has a name that it wants.
    func present(_ state: FleetState) async throws(Fault) -> [Versioned<VM>] {
        let store = vms.parts.store
        let entry = IndexEntry("fleet", "\(state.project)/\(state.name)")
        var present = try await store.list(VM.self, Query(matching: [entry])).rows
            .filter { $0.row.deletedAt == nil }
        let known = Set(present.map(\.row.name))
        for (name, _) in state.members where !known.contains(name) {
            let key = NameRow.key(state.project, name)
            guard let owner = try await store.get(NameRow.self, key)?.row.vm,
                let vm = try await store.get(VM.self, owner.description)
            else { continue }
            present.append(vm)
        }
        return present
    }

    /// Where the new VMs of `plan` would go: the scheduler's own word, on a copy.
    private func places(
        _ plan: FleetPlan,
        _ state: FleetState
    ) async throws(Fault) -> [String: Place] {
        var copy = fleet.nodes.fleet
        var places: [String: Place] = [:]
        let groups = Dictionary(state.groups.map { ($0.name, $0) }) { first, _ in first }
        for step in plan.steps where step.makesNew {
            guard let group = groups[step.group] else { continue }
            let request = try await vms.placementRequest(group.member(step.name, of: state))
            let forecast = try copy.enact(.add(count: 1, request))
            switch forecast.steps.first?.outcome {
            case .goes(let decision): places[step.name] = .node(fleet.nodes.name(decision.node))
            case .refused(let refusal):
                places[step.name] = .refused(try copy.fault(refusal).message)
            case .stays, nil: break
            }
        }
        return places
    }
}

extension FleetGroup {
    /// The request for one of its VMs.
    func member(_ name: String, of state: FleetState) -> VMDraft {
        var draft = draft
        draft.name = name
        draft.project = state.project
        draft.startOnCreate = runs
        draft.member = FleetMember(fleet: state.name, group: self)
        return draft
    }
}
