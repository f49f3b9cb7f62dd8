import Logging
import RoostDriver
import RoostHost
import RoostLink
import RoostModel
import RoostOperations
import RoostReconciler
import RoostStore
import Synchronization

/// What the node writes down around each turn: that it was begun, and how it ended.
extension NodeVMs {
    /// A row of the journal.
    ///
    /// - Throws: ``Reason/nodeUnreachable``: without its journal a node cannot say what was done, so
    ///   that whoever asked must ask again.
    func remembered<R: Row>(_ type: R.Type, _ key: String) async throws(Fault) -> R? {
        do throws(Fault) {
            return try await parts.store.get(type, key)?.row
        } catch {
            throw error.ofOwnStore("read its journal", for: nil, parts.failpoints)
        }
    }

    /// How the operations on one VM ended that may still be asked about: the latest.
    ///
    /// - Throws: as ``remembered(_:_:)``.
    func results(of id: VMID) async throws(Fault) -> [ResultRow] {
        let query = Query(matching: [IndexEntry("vm", id.description)])
        do throws(Fault) {
            return try await parts.store.list(ResultRow.self, query).rows.map(\.row)
        } catch {
            throw error.ofOwnStore("read its journal", for: nil, parts.failpoints)
        }
    }

    /// Makes the assignment durable before anything is done.
    func begin(_ delta: AssignmentDelta, former: VMAssignment?) async throws(Fault) {
        if parts.failpoints.skips(.journal) { return }
        try await write(
            AssignmentRow(
                assignment: delta.vm,
                epoch: delta.epoch,
                unfinished: delta,
                former: former
            )
        )
    }

    /// What to answer when nothing was begun: the fault, once it is written down, so that a late
    /// repeat of the call is not carried out after all. Until it is, whoever asked must ask again.
    func refused(_ delta: AssignmentDelta, _ fault: Fault) async -> Fault {
        if fault.reason == .nodeUnreachable || parts.failpoints.skips(.refusal) { return fault }
        let result = ResultRow(
            operation: delta.operation,
            vm: delta.vm.id,
            generation: delta.vm.generation,
            report: nil,
            fault: RecordedFault(fault)
        )
        do throws(Fault) {
            try await commit { $0.put(result) }
            parts.failpoints.mark(.refused)
            return fault
        } catch {
            parts.failpoints.mark(.refusalUnwritten)
            return error.ofOwnStore("write its journal", for: delta.operation, parts.failpoints)
        }
    }

    /// Writes an assignment. After a throw it is not written.
    func write(_ row: AssignmentRow) async throws(Fault) {
        do throws(Fault) {
            try await commit { $0.put(row) }
        } catch {
            guard error.outcomeIsUnknown else { throw error }
            // Written or not: what is there is what a restart would go on with.
            let found = try await remembered(AssignmentRow.self, row.key)
            guard found == row else { throw error }
            parts.failpoints.mark(.assignmentFound)
        }
    }

    /// Writes down how the turn ended, and says so. Tries until it is written: work without a record
    /// would be done again, and whoever asked would be told of a failure that did not happen.
    func end(
        _ delta: AssignmentDelta,
        former: VMAssignment?,
        fault: Fault?
    ) async throws(Fault) -> VMReport {
        var pause = Duration.milliseconds(20)
        while true {
            let written: ResultRow
            do throws(Fault) {
                written = try await record(delta, former: former, fault: fault)
            } catch {
                parts.failpoints.mark(.recordRetried)
                parts.log.warning(
                    "could not write down how a turn ended; trying again",
                    metadata: ["op_id": "\(delta.operation)", "fault": "\(error)"]
                )
                guard !Task.isCancelled else { throw goingDown(delta) }
                try? await parts.surroundings.clock.sleep(for: pause)
                pause = min(pause * 2, .seconds(2))
                continue
            }
            return try written.replay()
        }
    }

    private func record(
        _ delta: AssignmentDelta,
        former: VMAssignment?,
        fault: Fault?
    ) async throws(Fault) -> ResultRow {
        let id = delta.vm.id
        try await parts.failpoints.pass(.beforeRecord)
        var fault = fault
        if fault != nil, try await holds(delta) {
            parts.failpoints.mark(.holdsAnyway)
            fault = nil
        }
        let moment = try await keptMoment(delta, &fault)
        if fault != nil, !parts.failpoints.skips(.backOut) {
            try await backOut(delta, to: former)
        }
        let seen = try await look(id)
        if fault == nil { ends.withLock { $0[id] = nil } }
        var kept = fault == nil ? delta.vm : former
        let wished = wish(
            after: delta.action,
            failed: fault != nil,
            asked: delta.vm.desired,
            former: former?.desired,
            seen: seen
        )
        if let wished { kept?.desired = wished }
        let isGone = delta.action == .purge && fault == nil
        var report =
            isGone ? VMReport(id: id, state: .deleted, reason: "purged") : report(kept, seen)
        report.kept = moment
        let result = ResultRow(
            operation: delta.operation,
            vm: id,
            generation: delta.vm.generation,
            report: fault == nil ? report : nil,
            fault: fault.map(RecordedFault.init)
        )
        // Who sends an older generation has its answer: what is kept of them would grow for ever.
        // The last one stays, also of a VM that is gone, so that a late repeat makes no new one.
        let answered = try await results(of: id).filter {
            $0.generation ?? 0 < delta.vm.generation && $0.operation != delta.operation
        }
        try await commit { batch in
            for older in answered { batch.delete(ResultRow.self, older.key) }
            // A VM that never came into being leaves no assignment; its disks were taken back.
            if !isGone, let kept {
                batch.put(
                    AssignmentRow(
                        assignment: kept,
                        epoch: delta.epoch,
                        unfinished: nil,
                        former: nil
                    )
                )
            } else {
                batch.delete(AssignmentRow.self, id.description)
            }
            if !parts.failpoints.skips(.result) { batch.put(result) }
        }
        try await parts.failpoints.pass(.afterRecord)
        return result
    }

    /// Whether what was asked is so, whatever went wrong on the way: then it did not fail.
    private func holds(_ delta: AssignmentDelta) async throws(Fault) -> Bool {
        if parts.failpoints.skips(.moment) { return false }
        guard !delta.action.isOneShot else { return try await holdsMoment(delta) }
        let seen = try await look(delta.vm.id)
        do throws(Fault) { return try plan(delta.action, for: seen).isEmpty } catch { return false }
    }

    /// What was kept as a checkpoint. When it is damaged already, nothing was.
    private func keptMoment(
        _ delta: AssignmentDelta,
        _ fault: inout Fault?
    ) async throws(Fault) -> KeptMoment? {
        guard let id = delta.action.keptCheckpoint, fault == nil else { return nil }
        do throws(Fault) {
            return try await kept(id, of: delta.vm)
        } catch  where error.reason == .savedStateDamaged {
            fault = error
            return nil
        }
    }

    /// Brings the VM to where `former` had it, whatever an undo left: an inverse may have failed, and
    /// after a crash nobody knows which steps there are to take back.
    private func backOut(_ delta: AssignmentDelta, to former: VMAssignment?) async throws(Fault) {
        // An earlier process may have kept it, and the undo of this one may have failed.
        if case .checkpoint(let id) = delta.action, parts.driver is any Forking,
            !parts.failpoints.skips(.dropKept)
        {
            try await dropCheckpoint(delta.vm, id)
        }
        let seen = try await look(delta.vm.id)
        try await letGoLate(delta, seen)
        guard let action = retreat(delta.action, to: former?.desired, from: seen) else { return }
        for step in try plan(action, for: seen) {
            parts.failpoints.mark(.backedOut)
            do throws(Fault) {
                try await act(step, on: delta.vm, preemption: Signal())
            } catch {
                // Memory may not fit on the disk for ever. Nobody is to wait for that: the VM stays
                // up, and its wish follows.
                guard action == .suspend else { throw error }
                parts.failpoints.mark(.stayedUp)
                parts.log.warning(
                    "could not suspend a VM again whose start failed; it stays up",
                    metadata: ["vm": "\(delta.vm.id)", "fault": "\(error)"]
                )
            }
        }
    }

    func commit(_ fill: (inout Batch) -> Void) async throws(Fault) {
        var batch = Batch()
        fill(&batch)
        try await parts.store.commit(batch)
    }
}
