import Logging
import RoostDriver
import RoostHost
package import RoostLink
package import RoostModel
import RoostOperations
import RoostReconciler
import RoostStore
import Synchronization

/// The VMs of one node. Brings each to its assignment, one piece of work at a time for each VM.
///
/// See README.md for the picture, the states and the ways it fails.
package final class NodeVMs: Sendable {
    let parts: NodeParts
    package let reports: ReportLog
    let templates: Templates
    let queue = KeyedQueue<VMID>()
    let busy = Mutex<[VMID: Busy]>([:])
    /// Why a VM that should run does not, as its VMM's end said. Gone with the process, on purpose:
    /// after a restart nobody knows.
    let ends = Mutex<[VMID: String]>([:])
    private let epoch = Mutex<Int64>(0)
    /// Operations that were pre-empted before they arrived, oldest first.
    private let preempted = Mutex<[OperationID]>([])

    /// What is being done to a VM now.
    struct Busy {
        var operation: OperationID
        var state: VMState
        var preemption: Signal
        /// Whether it was brought back to a checkpoint: whatever fails after that, it was.
        var isBack = false
        /// Whether an earlier process had begun with it.
        var isResumed = false
        /// What it was wished to be before; `nil`: there was no such VM, or nobody knows yet.
        var former: DesiredPower?
    }

    package init(_ parts: NodeParts) {
        self.parts = parts
        templates = Templates(parts)
        // Halved twice, so that counting on from it never overflows.
        reports = ReportLog(startingAt: parts.surroundings.entropy.next() >> 2)
    }

    // MARK: Being told

    /// Makes `delta` durable, brings the VM there and says what it is then.
    ///
    /// A repeat of an op id that has ended is answered from the journal.
    package func apply(_ delta: AssignmentDelta) async throws(Fault) -> VMReport {
        try admit(delta.epoch)
        return try await queue.withTurn(delta.vm.id) { () async throws(Fault) -> VMReport in
            let results = try await self.results(of: delta.vm.id)
            if let earlier = results.first(where: { $0.operation == delta.operation }) {
                self.parts.failpoints.mark(.replayed)
                return try earlier.replay()
            }
            return try await self.turn(delta, after: results)
        }
    }

    /// Makes `operation` stop at its next step boundary, also when it has not arrived yet.
    package func preempt(_ vm: VMID, operation: OperationID) {
        let signal = busy.withLock { table -> Signal? in
            guard let entry = table[vm], entry.operation == operation else { return nil }
            return entry.preemption
        }
        if let signal {
            signal.set()
        } else {
            // The call to pre-empt can overtake the call that it is about.
            preempted.withLock { early in
                early.append(operation)
                if early.count > 256 { early.removeFirst() }
            }
        }
    }

    private func admit(_ asked: Int64) throws(Fault) {
        let newest = epoch.withLock { known in
            known = max(known, asked)
            return known
        }
        guard asked == newest else {
            parts.failpoints.mark(.olderEpoch)
            throw Fault(.staleEpoch, "epoch \(asked) is older than \(newest)")
        }
    }

    /// One turn of the VM's queue: journal, plan, do, record.
    private func turn(
        _ delta: AssignmentDelta,
        after results: [ResultRow]
    ) async throws(Fault) -> VMReport {
        let id = delta.vm.id
        let preemption = Signal()
        if preempted.withLock({ $0.contains(delta.operation) }) {
            parts.failpoints.mark(.preemptedEarly)
            preemption.set()
        }
        busy.withLock {
            $0[id] = Busy(
                operation: delta.operation,
                state: delta.action.passingState,
                preemption: preemption
            )
        }
        defer { busy.withLock { $0[id] = nil } }
        let former = try await remembered(AssignmentRow.self, id.description)
        try refuseOlder(delta, than: results, former)
        let isResumed = former?.unfinished?.operation == delta.operation
        if isResumed {
            parts.failpoints.mark(.turnResumed)
            busy.withLock { $0[id]?.isResumed = true }
        }
        // A crash in an earlier turn of the same operation left the true former beside it.
        let settled =
            isResumed && !parts.failpoints.skips(.former) ? former?.former : former?.assignment
        busy.withLock { $0[id]?.former = settled?.desired }
        // Written down already, it must come to its own end: a fault here would be taken for one.
        if !isResumed {
            do throws(Fault) {
                try await parts.failpoints.pass(.beforeAssign)
                try await begin(delta, former: settled)
            } catch {
                throw await refused(delta, error)
            }
        }
        var fault: Fault?
        var done: [StepRecord] = []
        do throws(Fault) {
            do throws(Fault) {
                if isResumed, delta.action.kind == .revert, !parts.failpoints.skips(.goOnBack) {
                    try await goOnBack(delta, &done)
                } else {
                    try await parts.failpoints.pass(.afterAssign)
                    try await work(delta, preemption: preemption, done: &done)
                }
            } catch
                where delta.action == .start && delta.vm.spec.template == nil
                && error.mayBeTheTemplates
                && done.contains(where: \.isCopying) && !parts.failpoints.skips(.bootAnyway)
            {
                await templates.drop(delta.vm.spec, because: error)
                try await work(delta, preemption: preemption, done: &done)
            }
        } catch {
            // What went wrong went wrong because this process ends, and is half done: no end of it.
            guard !Task.isCancelled || preemption.isSet else { throw goingDown(delta) }
            fault = error
            fault?.metadata["step"] = done.last?.name
        }
        var report = try await end(delta, former: settled, fault: fault)
        report.steps = done
        wantTemplate(delta, fault)
        return report
    }

    /// What to answer when this process ends in the middle: the next one goes on.
    func goingDown(_ delta: AssignmentDelta) -> Fault {
        Fault(
            .nodeUnreachable,
            "the node is going down",
            metadata: ["op": "\(delta.operation)"]
        )
    }

    /// A disposable VM is gone, and perhaps had to boot: the next one like it shall not.
    private func wantTemplate(_ delta: AssignmentDelta, _ fault: Fault?) {
        guard delta.action == .purge, fault == nil, templates.name(for: delta.vm.spec) != nil else {
            return
        }
        parts.spawner.spawn { await self.templates.tend(for: delta.vm.spec) }
    }

    /// Refuses what a newer order has overtaken: its own result may be forgotten by now.
    private func refuseOlder(
        _ delta: AssignmentDelta,
        than results: [ResultRow],
        _ former: AssignmentRow?
    ) throws(Fault) {
        let known = results.compactMap(\.generation) + [former?.assignment.generation ?? 0]
        let newest = known.max() ?? 0
        guard newest > delta.vm.generation, !parts.failpoints.skips(.generation) else { return }
        parts.failpoints.mark(.olderGeneration)
        throw Fault(
            .staleEpoch,
            "generation \(delta.vm.generation) of \(delta.vm.name) is older than \(newest)"
        )
    }

    /// Whether it runs already since an earlier process let it go on from its kept memory, and perhaps
    /// died before it told the guest. Told twice is as well.
    private func mayBeUntold(_ delta: AssignmentDelta, _ seen: VMObservation) -> Bool {
        guard delta.action == .start, seen.vmm == .running || seen.vmm == .paused else {
            return false
        }
        let entry = busy.withLock { $0[delta.vm.id] }
        return entry?.isResumed == true && entry?.former == .suspended
    }

    func work(
        _ delta: AssignmentDelta,
        preemption: Signal,
        done: inout [StepRecord]
    ) async throws(Fault) {
        var seen = try await look(delta.vm.id)
        if seen.disks == .missing {
            if let origin = delta.vm.spec.template {
                seen.copy = try await phase(of: origin, for: delta.vm)
            } else if delta.action == .start, try await templates.find(delta.vm.spec) != nil {
                seen.copy = .possible
            }
        }
        var steps = try plan(delta.action, for: seen)
        if mayBeUntold(delta, seen), !steps.contains(.renewGuest) { steps.append(.freshenGuest) }
        if steps.contains(.startVMM) { try await preflight() }
        if delta.action.keepsMemory, !steps.isEmpty, !parts.driver.capabilities.contains(.fork) {
            throw Fault(
                .unsupported,
                "the \(parts.driver.name) driver cannot \(delta.action.name) VMs"
            )
        }
        let log = parts.log
        log.info(
            "vm turn",
            metadata: [
                "op_id": "\(delta.operation)", "vm": "\(delta.vm.id)",
                "action": "\(delta.action.name)", "steps": "\(steps.map(\.name))",
            ]
        )
        try await perform(
            steps,
            preemption: preemption,
            failpoints: parts.failpoints,
            act: { step throws(Fault) in
                let now = parts.surroundings.wall.now()
                done.append(StepRecord(name: step.name, at: now, detail: ""))
                try await self.act(step, on: delta.vm, preemption: preemption)
            },
            undoFailed: { step, fault in
                parts.failpoints.mark(.undoFailed)
                log.error(
                    "undo failed; the next look will find what is left",
                    metadata: [
                        "op_id": "\(delta.operation)", "vm": "\(delta.vm.id)",
                        "step": "\(step.name)", "fault": "\(fault)",
                    ]
                )
            }
        )
    }
}

extension NodeAction {
    /// What a VM is seen in while this is being done to it.
    var passingState: VMState {
        switch self {
        case .provision: .provisioning
        case .start, .restart: .starting
        case .stop: .stopping
        case .reboot, .resume: .running
        case .pause: .paused
        case .suspend, .fork, .release, .checkpoint, .forget, .branch: .running
        case .revert(let order): order.hasMemory ? .running : .stopping
        case .become: .starting
        case .discard, .purge: .deleting
        case .freeze: .stopped
        case .derive: .provisioning
        case .restore: .deleted
        }
    }

    /// Whether it needs a driver that keeps memory.
    var keepsMemory: Bool {
        switch self {
        case .suspend, .fork, .become, .checkpoint, .revert, .branch, .freeze, .derive: true
        case .provision, .start, .stop, .restart, .reboot, .pause, .resume, .release, .forget,
            .discard, .restore, .purge:
            false
        }
    }
}

extension VMMExit {
    /// One sentence for a reason: how it ended and its last words.
    var sentence: String {
        let how =
            switch cause {
            case .guestPoweredOff: "the guest powered off"
            case .exited(let code): "the VMM exited with code \(code)"
            case .killed(let signal): "the VMM was killed by signal \(signal)"
            case .unknown: "the VMM ended; nobody saw how"
            }
        return lastWords.isEmpty ? how : "\(how): \(shown(String(lastWords.suffix(400))))"
    }
}

extension StepRecord {
    /// Whether the step works with a template.
    var isCopying: Bool {
        [NodeStep.copyTemplate, .startCopy, .renewGuest].contains { $0.name == name }
    }
}
