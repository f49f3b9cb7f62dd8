import Logging
import RoostModel
import RoostOperations
import RoostReconciler
import RoostStore
import Synchronization

/// Keeping fleets as they were published.
///
/// Each pass compares and orders the next operation of each VM that differs; operations run by
/// themselves, so that a pass never waits for a guest. A VM that an operation holds is left alone.
extension DesiredStateService {
    /// Operations of one fleet at a time.
    private static let atOnce = 8
    /// Between two passes while something is to be done, and while nothing is.
    private static let pauses: (busy: Duration, idle: Duration) = (.seconds(1), .seconds(30))

    /// Keeps all fleets until this task is cancelled.
    package func run() async {
        while !Task.isCancelled {
            let bell = vms.nextCommit
            let isSettled = await pass()
            await pause(until: bell, atMost: isSettled ? Self.pauses.idle : Self.pauses.busy)
            // A burst of commits is looked at once.
            try? await vms.parts.surroundings.clock.sleep(for: .milliseconds(100))
        }
    }

    private func pause(until bell: Signal, atMost longest: Duration) async {
        let clock = vms.parts.surroundings.clock
        await withDiscardingTaskGroup { group in
            let isOver = Signal()
            group.addTask {
                await bell.wait()
                isOver.set()
            }
            group.addTask {
                try? await clock.sleep(for: longest)
                isOver.set()
            }
            await isOver.wait()
            group.cancelAll()
        }
    }

    /// Looks at each fleet once, and orders what is next. Whether nothing is left to do.
    ///
    /// What fails is noted, holds up nothing else, and is tried again.
    package func pass() async -> Bool {
        do throws(Fault) {
            var isSettled = true
            for row in try await rows() { isSettled = try await keep(row) && isSettled }
            return isSettled
        } catch {
            vms.parts.log.warning("could not look at the fleets", metadata: ["fault": "\(error)"])
            return false
        }
    }

    private func keep(_ row: FleetStateRow) async throws(Fault) -> Bool {
        let present = try await present(row.state)
        let drained = fleet.nodes.drained
        let plan = FleetPlan(row.state, present: present.map(\.row), drained: drained)
        let versions = Dictionary(present.map { ($0.row.id, $0.version) }) { first, _ in first }
        forget(row.state, allBut: plan)
        let groups = Dictionary(row.state.groups.map { ($0.name, $0) }) { first, _ in first }
        // One of a group at a time is taken down; those that are down already count.
        var down = Set(plan.steps.filter { $0.isMissed }.map(\.group))
        var running = plan.steps.count { $0.runningOp != nil }
        for step in plan.steps where step.runningOp == nil && running < Self.atOnce {
            if step.serves, step.takesDown, !vms.parts.failpoints.skips(.oneAtATime) {
                guard down.insert(step.group).inserted else { continue }
            }
            guard begin(step, row) else { continue }
            running += 1
            await order(step, groups[step.group], row, as: step.vm.flatMap { versions[$0] })
        }
        return plan.isSettled
    }

    // MARK: One step

    /// Orders what `step` says, if its VM is still as it was compared, at `version`.
    private func order(
        _ step: FleetPlan.Step,
        _ group: FleetGroup?,
        _ row: FleetStateRow,
        as version: Revision?
    ) async {
        do throws(Fault) {
            try await carryOut(step, group, row, version)
        } catch {
            // Somebody else is at it, and may have taken it from the fleet: what they leave behind
            // is looked at then.
            if [.opInProgress, .staleEtag].contains(error.reason) { return }
            note(error, key(step, row))
            vms.parts.log.notice(
                "a fleet's VM could not be seen to",
                metadata: ["vm": "\(step.name)", "do": "\(step.change.verb)", "fault": "\(error)"]
            )
        }
    }

    private func carryOut(
        _ step: FleetPlan.Step,
        _ group: FleetGroup?,
        _ row: FleetStateRow,
        _ etag: Revision?
    ) async throws(Fault) {
        let (project, context) = (ProjectView(row.state.project), context(step, row))
        let reference = step.vm?.description ?? step.name
        func power(_ verb: PowerVerb) async throws(Fault) {
            let options = PowerOptions(etag: etag)
            _ = try await vms.power(verb, reference, project: project, options: options, context)
        }
        switch step.change {
        case .create:
            guard let group else { return }
            _ = try await vms.create(group.member(step.name, of: row.state), context)
        case .update(let fields):
            try await update(reference, fields, group, row, etag, context)
        case .restart(let fields):
            if step.isUp {
                try await power(.stop)
            } else if step.state == .suspended {
                try await power(.kill)
            } else {
                try await update(reference, fields, group, row, etag, context)
            }
        case .replace, .remove: try await power(step.isUp ? .stop : .delete)
        case .start: try await power(.start)
        case .stop: try await power(step.state == .suspended ? .kill : .stop)
        case .blocked: break
        }
    }

    private func update(
        _ reference: String,
        _ fields: [String],
        _ group: FleetGroup?,
        _ row: FleetStateRow,
        _ etag: Revision?,
        _ context: RequestContext
    ) async throws(Fault) {
        guard let group else { return }
        let update = VMUpdate(
            fields: Set(fields.compactMap(VMField.init(rawValue:))),
            draft: group.draft,
            etag: etag
        )
        _ = try await vms.update(
            reference,
            project: ProjectView(row.state.project),
            update,
            context
        )
    }

    private func context(_ step: FleetPlan.Step, _ row: FleetStateRow) -> RequestContext {
        RequestContext(
            operation: vms.parts.surroundings.operationID(),
            principal: "fleet:\(row.state.name)",
            method: "PublishState",
            digest: "\(row.hash) \(step.change.verb) \(step.name)",
            answersWhenAccepted: true
        )
    }

    // MARK: What was tried

    private func key(_ step: FleetPlan.Step, _ row: FleetStateRow) -> FleetAttempt.Key {
        FleetAttempt.Key(
            project: row.state.project,
            fleet: row.state.name,
            name: step.name,
            // To stop, to change and to start are three things to do.
            verb: "\(step.change.verb) \(step.state?.rawValue ?? "")"
        )
    }

    /// Whether `step` is due; notes that it is tried.
    private func begin(_ step: FleetPlan.Step, _ row: FleetStateRow) -> Bool {
        if case .blocked = step.change { return false }
        let (key, now) = (key(step, row), vms.now)
        return attempts.withLock { attempts in
            var attempt = attempts[key] ?? FleetAttempt()
            guard attempt.isDue(at: now) else { return false }
            attempt.begin(at: now)
            attempts[key] = attempt
            return true
        }
    }

    private func note(_ fault: Fault, _ key: FleetAttempt.Key) {
        attempts.withLock { $0[key]?.fault = fault }
    }

    /// Forgets what was tried, but for VMs that `plan` has something to do for.
    func forget(_ state: FleetState, allBut plan: FleetPlan? = nil) {
        let open = Set(plan?.steps.map(\.name) ?? [])
        attempts.withLock { attempts in
            attempts = attempts.filter { key, _ in
                key.project != state.project || key.fleet != state.name || open.contains(key.name)
            }
        }
    }

    /// Why what `plan` wants was refused the last time, by VM.
    func troubles(of state: FleetState, _ plan: FleetPlan) -> [String: Fault] {
        let open = Set(plan.steps.map(\.name))
        // The latest of several, whatever the order of the table.
        let attempts = attempts.withLock { $0 }.sorted {
            ($0.value.begunAt, $0.key.verb) < ($1.value.begunAt, $1.key.verb)
        }
        var troubles: [String: Fault] = [:]
        for (key, attempt) in attempts where open.contains(key.name) {
            guard key.project == state.project, key.fleet == state.name else { continue }
            if let fault = attempt.fault { troubles[key.name] = fault }
        }
        return troubles
    }
}

extension FleetPlan.Step {
    /// Whether carrying it out ends a process.
    fileprivate var takesDown: Bool {
        switch change {
        case .restart, .replace: true
        case .create, .update, .start, .stop, .remove, .blocked: false
        }
    }

    /// Whether its group can rely on it now: it runs, and nobody is about to do something to it.
    fileprivate var serves: Bool { state == .running && runningOp == nil }

    /// Whether its group does without it now. One that is on its way up or down is missed too.
    fileprivate var isMissed: Bool {
        switch change {
        case .create, .start, .blocked: true
        case .update, .restart, .replace: !serves
        case .stop, .remove: false
        }
    }
}
