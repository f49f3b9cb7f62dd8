import Logging
import RoostLink
import RoostModel
import RoostOperations
import RoostReconciler
import RoostStore

/// From accepted to settled: the part that goes on whether or not anybody waits, and again after
/// a crash.
extension VMService {
    /// Does `row`'s work on the node and settles it. Ends only when settled, or with the process.
    func drive(_ row: OperationRow, _ live: OperationLedger.Live) async {
        await OperationScope.run(row.id) { await self.carry(row, live) }
    }

    private func carry(_ row: OperationRow, _ live: OperationLedger.Live) async {
        if row.intent.copies != nil { return await carryFork(row, live) }
        let outcome = await attempt(row, live)
        if parts.failpoints.skips(.settle) { ledger.end(row.id) }
        await settle(row, outcome)
        ledger.end(row.id)
        await catchUp(row.vm)
        await restartIfWished(row.vm)
    }

    /// The node's answer. A node that cannot be reached is asked again, with the same op id.
    func attempt(
        _ row: OperationRow,
        _ live: OperationLedger.Live
    ) async -> Result<VMReport, Fault> {
        var pause = Duration.milliseconds(50)
        while true {
            let answer = await applyOnce(row, live)
            guard case .failure(let fault) = answer, fault.reason == .nodeUnreachable else {
                return answer
            }
            // Only the node knows what was done: pre-empted or not, it ends when the node says so.
            guard !Task.isCancelled else {
                return .failure(Fault(.opCancelled, "the control plane is going down"))
            }
            parts.log.warning(
                "node out of reach; trying again",
                metadata: ["op_id": "\(row.id)", "fault": "\(fault)"]
            )
            parts.failpoints.mark(.nodeRetried)
            // Jitter, so that operations that failed together do not come back together.
            let jitter = Double(parts.surroundings.entropy.next() % 1000) / 1000
            try? await parts.surroundings.clock.sleep(for: pause * (0.5 + jitter))
            pause = min(pause * 2, .seconds(5))
        }
    }

    /// Asks the node once. Meanwhile it is told of a pre-emption again and again: its answer may take as
    /// long as a grace time, and whoever pre-empted may have found it out of reach.
    private func applyOnce(
        _ row: OperationRow,
        _ live: OperationLedger.Live
    ) async -> Result<VMReport, Fault> {
        await withTaskGroup(of: Result<VMReport, Fault>?.self) { group in
            group.addTask {
                do throws(Fault) {
                    return .success(try await self.applyOnce(row))
                } catch {
                    return .failure(error)
                }
            }
            group.addTask {
                await live.preemption.wait()
                var pause = Duration.milliseconds(50)
                while !Task.isCancelled {
                    // Heard is not for good: a node that comes up anew has forgotten it, and the
                    // order may still be on its way there.
                    let isHeard = await self.preemptAgain(row)
                    pause = isHeard ? .seconds(2) : min(pause * 2, .seconds(5))
                    try? await self.parts.surroundings.clock.sleep(for: pause)
                }
                return nil
            }
            var answer: Result<VMReport, Fault>?
            for await result in group {
                guard let result else { continue }
                answer = result
                group.cancelAll()
            }
            return answer ?? .failure(Fault(.bug, "an operation without an answer"))
        }
    }

    /// Tells the node once more that `row` is pre-empted: a node that came up anew goes on with the
    /// work and has forgotten that it shall not, and whoever pre-empted waits for its end.
    ///
    /// - Returns: `false` when the node or the store could not be reached.
    private func preemptAgain(_ row: OperationRow) async -> Bool {
        if parts.failpoints.skips(.preemptAgain) { return true }
        do throws(Fault) {
            guard let vm = try await parts.store.get(VM.self, row.vm.description)?.row else {
                return true
            }
            let link = try parts.nodes.link(vm.status.node)
            try await link.preempt(row.vm, operation: row.id)
            parts.failpoints.mark(.preemptedAgain)
            return true
        } catch {
            parts.log.warning("cannot pre-empt", metadata: ["op_id": "\(row.id)"])
            return false
        }
    }

    private func applyOnce(_ row: OperationRow) async throws(Fault) -> VMReport {
        let found: Versioned<VM>?
        do throws(Fault) {
            found = try await parts.store.get(VM.self, row.vm.description)
        } catch {
            // Not the node's word, so no end of the operation: ask again.
            throw Fault(
                .nodeUnreachable,
                "the control plane cannot read its rows",
                metadata: ["op": row.id.description],
                cause: error
            )
        }
        guard let vm = found?.row else {
            throw Fault(.vmNotFound, "\(row.vmName) is gone", metadata: ["vm": row.vmName])
        }
        return try await apply(row.intent.action, to: vm, as: row.id)
    }

    /// Tells the node of `vm` what to do, and under which op id.
    func apply(
        _ action: NodeAction,
        to vm: VM,
        as operation: OperationID
    ) async throws(Fault) -> VMReport {
        let link = try parts.nodes.link(vm.status.node)
        var spec = vm.spec
        spec.placement = nil
        let delta = AssignmentDelta(
            operation: operation,
            epoch: parts.epoch,
            vm: VMAssignment(
                id: vm.id,
                name: vm.name,
                generation: vm.generation,
                spec: spec,
                desired: vm.desired
            ),
            action: action
        )
        return try await link.apply(delta)
    }

    /// Writes down how it ended. Tries until it is written: an operation without an end would hold
    /// its VM for ever.
    private func settle(_ row: OperationRow, _ outcome: Result<VMReport, Fault>) async {
        await settle(row) { () async throws(Fault) in try await self.settleOnce(row, outcome) }
    }

    /// Calls `write` until it has written.
    func settle(_ row: OperationRow, _ write: () async throws(Fault) -> Void) async {
        var pause = Duration.milliseconds(20)
        while !Task.isCancelled {
            do throws(Fault) {
                try await parts.failpoints.pass(.beforeSettle)
                try await write()
                try await parts.failpoints.pass(.afterSettle)
                return
            } catch {
                parts.failpoints.mark(.settleRetried)
                parts.log.warning(
                    "could not settle; trying again",
                    metadata: ["op_id": "\(row.id)", "fault": "\(error)"]
                )
                try? await parts.surroundings.clock.sleep(for: pause)
                pause = min(pause * 2, .seconds(2))
            }
        }
    }

    private func settleOnce(
        _ asked: OperationRow,
        _ outcome: Result<VMReport, Fault>
    ) async throws(Fault) {
        guard let operation = try await parts.store.get(OperationRow.self, asked.key),
            !operation.row.state.isTerminal
        else { return }
        guard let found = try await parts.store.get(VM.self, asked.vm.description) else {
            var row = operation.row
            row.finish(
                .failed,
                fault: Fault(.vmNotFound, "\(row.vmName) is gone"),
                result: nil,
                at: now
            )
            var batch = Batch()
            batch.replace(operation, with: row)
            try await commit(batch)
            return
        }
        var batch = Batch()
        try await finish(operation, found, outcome, &batch)
        try await commit(batch)
        giveUpPlaces(batch)
        // It may have gone back to being smaller or larger, or failed to.
        if asked.intent.formerSpec != nil { await recount(asked.vm, withSpec: true) }
    }

    /// What has gone by `batch`, or to the trash, no longer counts for anybody's rules. Not before it
    /// is durable: whoever came in its place meanwhile would stand beside it.
    func giveUpPlaces(_ batch: Batch) {
        if parts.failpoints.skips(.release) { return }
        for write in batch.writes {
            switch write {
            case .put(let row):
                if let vm = row as? VM, vm.deletedAt != nil { parts.nodes.count(vm) }
            case .delete(let table, let key):
                if table == VM.table, let id = VMID(key) { parts.nodes.forget(id) }
            }
        }
    }

    /// Writes into `batch` how an operation ended, and its VM after it.
    func finish(
        _ operation: Versioned<OperationRow>,
        _ found: Versioned<VM>,
        _ outcome: Result<VMReport, Fault>,
        _ batch: inout Batch
    ) async throws(Fault) {
        var row = operation.row
        switch outcome {
        case .success(let report):
            row.steps += report.steps
            var vm = settled(found.row, row.intent, report)
            try await noteCheckpoints(row, kept: report.kept, &vm, &batch)
            row.finish(.done, fault: nil, result: vm, at: now)
            write(vm, over: found, row.intent, removes: row.intent.removesOnSuccess, &batch)
        case .failure(let fault):
            // What is so, only the node knows: without its word the VM would stay in passing.
            let seen = try await parts.nodes.link(found.row.status.node).inspect(found.row.id)
            let vm = failed(found.row, row.intent, fault, seen)
            let state: OperationState = fault.reason == .opCancelled ? .cancelled : .failed
            row.finish(state, fault: fault, result: nil, at: now)
            write(vm, over: found, row.intent, removes: row.intent.removesOnFailure, &batch)
        }
        batch.replace(operation, with: row)
    }

    /// Puts `vm` in place of what was read, or removes it with everything it holds.
    private func write(
        _ vm: VM,
        over found: Versioned<VM>,
        _ intent: LifecycleIntent,
        removes: Bool,
        _ batch: inout Batch
    ) {
        let freesNames = (removes || vm.deletedAt != nil) && !parts.failpoints.skips(.freeName)
        // One in the trash holds nothing, but for an undelete, which took it when it was accepted.
        if freesNames, found.row.deletedAt == nil || intent.action == .restore {
            batch.delete(NameRow.self, vm.nameRow.key)
            if let node = vm.status.node {
                for port in vm.spec.ports {
                    batch.delete(PortRow.self, PortRow(node: node, port: port, vm: vm.id).key)
                }
            }
        }
        if removes {
            batch.remove(found)
            batch.delete(PlacementRow.self, vm.key)
        } else {
            batch.replace(found, with: vm)
        }
        if !vm.status.state.hasProcess, !parts.failpoints.skips(.release) {
            parts.nodes.release(vm.id)
        }
    }

    /// The VM after its node did what was asked.
    private func settled(_ vm: VM, _ intent: LifecycleIntent, _ report: VMReport) -> VM {
        var vm = vm
        vm.runningOp = nil
        vm.updatedAt = now
        if intent.action == .discard {
            vm.deletedAt = now
            vm.purgeAt = now.adding(seconds: parts.trashSeconds)
        }
        if intent.action == .restore {
            vm.deletedAt = nil
            vm.purgeAt = nil
            // It comes back as it went.
            if report.state == .suspended { vm.desired = .suspended }
        }
        var report = report
        if report.state == .deleted, vm.deletedAt == nil, intent.action != .purge {
            // What was never made holds nothing, and is in no trash either.
            report.state = .failed
            report.reason = "its node has no disks of it"
        }
        let reason = vm.hold.map { "its node is drained (\($0.drain.short)): \(report.reason)" }
        take(report, into: &vm, reason: reason ?? report.reason)
        return vm
    }

    /// The VM after its node could not: the former wish, and what is really so, with the reason.
    private func failed(
        _ vm: VM,
        _ intent: LifecycleIntent,
        _ fault: Fault,
        _ seen: VMReport?
    ) -> VM {
        var vm = vm
        vm.runningOp = nil
        vm.updatedAt = now
        vm.desired = intent.formerDesired ?? .stopped
        if let spec = intent.formerSpec { vm.spec = spec }
        let reason = intent.failurePrefix + fault.message
        if intent.isCreate {
            _ = vm.become(.failed, reason: reason, at: now)
        } else if let seen {
            let left = aftermath(
                desired: vm.desired,
                seen: seen.state,
                isInTrash: vm.deletedAt != nil
            )
            var seen = seen
            seen.state = left.state
            vm.desired = left.desired
            take(seen, into: &vm, reason: reason)
        } else {
            // The node holds nothing: an earlier create had failed.
            _ = vm.become(.failed, reason: reason, at: now)
        }
        return vm
    }

    /// Takes what a node saw into the VM's status.
    func take(_ report: VMReport, into vm: inout VM, reason: String) {
        if !vm.become(report.state, reason: reason, at: now) {
            // The node is right about what is so; the way there went unseen.
            parts.failpoints.mark(.movedUnseen)
            parts.log.notice(
                "state moved unseen",
                metadata: [
                    "vm": "\(vm.id)", "from": "\(vm.status.state.rawValue)",
                    "to": "\(report.state.rawValue)",
                ]
            )
            _ = vm.become(.lost, reason: reason, at: now)
            _ = vm.become(report.state, reason: reason, at: now)
        }
        // Down because of a drain is only what is down.
        if report.state.hasProcess { vm.hold = nil }
        vm.status.observedGeneration = report.observedGeneration
        vm.status.addresses = report.addresses
    }
}

extension LifecycleIntent {
    /// Whether success leaves no row: a purge.
    var removesOnSuccess: Bool { action == .purge }
    /// Whether failure leaves no row: a disposable VM that never came to be.
    var removesOnFailure: Bool { isCreate && removesRow }
}
