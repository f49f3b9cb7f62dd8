import Logging
package import RoostModel
import RoostOperations
import RoostStore
import Synchronization

/// From an accepted drain, or end of one, to an outcome for each VM: the part that goes on whether or
/// not anybody waits, and again after a crash.
extension FleetService {
    /// VMs of one node at a time.
    private static let atOnce = 8

    /// Goes on with every drain that a former process had accepted. Call once, after
    /// ``VMService/recover()``.
    package func recover() async throws(Fault) {
        let query = Query(matching: [IndexEntry("live", "yes")])
        for found in try await vms.parts.store.list(DrainRow.self, query).rows {
            vms.parts.log.notice(
                "going on with a drain",
                metadata: ["op_id": "\(found.row.id)", "node": "\(found.row.nodeName)"]
            )
            begin(found.row)
        }
    }

    /// Forgets drains that ended before the retention, but for those that last. To be called every
    /// hour or so.
    package func keepHouse() async {
        let cutoff = vms.now.adding(seconds: -OperationLedger.retentionSeconds)
        do throws(Fault) {
            var batch = Batch()
            for row in try await vms.parts.store.list(DrainRow.self, Query()).rows.map(\.row)
            where row.phase == .ended && row.startedAt < cutoff
                && nodes.drain(of: row.node)?.row.drain != row.id
            {
                batch.delete(DrainRow.self, row.key)
            }
            if !batch.writes.isEmpty { try await vms.commit(batch) }
        } catch {
            vms.parts.log.warning("could not tidy the drains", metadata: ["fault": "\(error)"])
        }
    }

    /// Has `row` carried out in the background, unless it is already.
    func begin(_ row: DrainRow) {
        let isFirst = draining.withLock { $0.updateValue(row.node, forKey: row.id) == nil }
        guard isFirst else { return }
        vms.parts.spawner.spawn { [self] in
            await OperationScope.run(row.id) { await carry(row.id) }
            draining.withLock { $0[row.id] = nil }
        }
    }

    /// Tries until it is written down how it ended.
    private func carry(_ id: OperationID) async {
        var pause = Duration.milliseconds(50)
        while !Task.isCancelled {
            do throws(Fault) {
                return try await carryOnce(id)
            } catch {
                vms.parts.log.warning(
                    "a drain does not go on; trying again",
                    metadata: ["op_id": "\(id)", "fault": "\(error)"]
                )
                try? await vms.parts.surroundings.clock.sleep(for: pause)
                pause = min(pause * 2, .seconds(2))
            }
        }
    }

    private func carryOnce(_ id: OperationID) async throws(Fault) {
        let store = vms.parts.store
        guard var found = try await store.get(DrainRow.self, id.description),
            found.row.phase != .ended
        else { return }
        if found.row.phase == .accepted {
            var begun = found.row
            begun.phase = .begun
            begun.targets = try await targets(of: begun)
            var batch = Batch()
            batch.replace(found, with: begun)
            let revision = try await vms.commit(batch)
            found = Versioned(row: begun, version: revision)
        }
        var ended = found.row
        ended.targets = try await seeToAll(found.row)
        // What this process may not finish another one does, by the same op ids.
        if Task.isCancelled { return }
        // Before it has ended, after which nobody would do it again.
        if ended.kind == .restore { try await wakePolicies(of: ended.node) }
        // Before anybody is told: whoever asks then finds it drained.
        draining.withLock { $0[id] = nil }
        ended.phase = .ended
        ended.finishedAt = vms.now
        var batch = Batch()
        batch.replace(found, with: ended)
        try await vms.commit(batch)
        vms.parts.log.notice(
            "a drain has ended",
            metadata: [
                "op_id": "\(id)", "node": "\(ended.nodeName)", "kind": "\(ended.kind.rawValue)",
                "vms": "\(ended.targets.count)",
                "failed": "\(ended.targets.count { $0.outcome == .failed })",
            ]
        )
    }

    /// Which VMs `row` is about, by name.
    func targets(of row: DrainRow) async throws(Fault) -> [DrainTarget] {
        try await vms.all(on: row.node).map(\.row)
            .compactMap { vm in row.isAbout(vm).map { DrainTarget(vm, desired: $0) } }
            .sorted { ($0.name, $0.project, $0.vm) < ($1.name, $1.project, $1.vm) }
    }

    /// What a policy wishes waits while its node is drained.
    private func wakePolicies(of node: NodeID) async throws(Fault) {
        for found in try await vms.all(on: node) { vms.restartIfWished(found.row) }
    }

    private func seeToAll(_ row: DrainRow) async throws(Fault) -> [DrainTarget] {
        let outcome = await withTaskGroup(
            of: (Int, Result<DrainTarget, Fault>).self,
            returning: Result<[DrainTarget], Fault>.self
        ) { group in
            var targets = row.targets
            var next = 0
            var trouble: Fault?
            func add() {
                guard next < targets.count, trouble == nil else { return }
                let (index, target) = (next, targets[next])
                next += 1
                group.addTask { (index, await self.seeTo(target, row)) }
            }
            for _ in 0..<Self.atOnce { add() }
            while let (index, result) = await group.next() {
                switch result {
                case .success(let target): targets[index] = target
                case .failure(let fault): trouble = fault
                }
                add()
            }
            return trouble.map { .failure($0) } ?? .success(targets)
        }
        return try outcome.get()
    }

    /// `target` with its outcome, or what stands in the way of the store.
    private func seeTo(_ target: DrainTarget, _ row: DrainRow) async -> Result<DrainTarget, Fault> {
        do throws(Fault) {
            return .success(try await seenTo(target, row))
        } catch {
            return .failure(error)
        }
    }

    private func seenTo(_ target: DrainTarget, _ row: DrainRow) async throws(Fault) -> DrainTarget {
        var target = target
        let store = vms.parts.store
        while !Task.isCancelled {
            // What an earlier process, or another turn of this loop, has done of it counts.
            let own = try await store.get(OperationRow.self, row.child(target.vm).description)?.row
            let vm = try await store.get(VM.self, target.vm.description)?.row
            if row.kind == .restore, let own, own.state.isTerminal {
                if own.state == .done { try await pauseAgain(target, row) }
                target.outcome = own.state == .done ? .started : .failed
                target.fault = own.fault
                return target
            }
            let move = row.move(vm)
            if case .order = move, let own, own.state.isTerminal {
                target.outcome = .failed
                target.fault = own.fault ?? RecordedFault(runsAgain(target))
                return target
            }
            switch move {
            case .done(let outcome):
                if row.kind == .restore, let own {
                    // It has ended since it was looked at, and says what was done.
                    try await wait(for: own.id)
                    continue
                }
                target.outcome = outcome
                return target
            case .failed(let fault):
                target.outcome = .failed
                target.fault = fault
                return target
            case .wait(let operation): try await wait(for: operation)
            case .order(let verb):
                guard let fault = await order(verb, target, row) else { continue }
                // Once it was accepted, how it ended is in its row.
                let child = row.child(target.vm).description
                if try await store.get(OperationRow.self, child) != nil { continue }
                if let left = try await left(fault, row) {
                    target.outcome = left
                    target.fault = RecordedFault(fault)
                    return target
                }
            }
        }
        return target
    }

    private func runsAgain(_ target: DrainTarget) -> Fault {
        Fault(
            .wrongState,
            "\(target.name) was taken down, and is not any more",
            metadata: ["vm": target.name]
        )
    }

    /// Has `verb` done; `nil` when it was.
    private func order(_ verb: PowerVerb, _ target: DrainTarget, _ row: DrainRow) async -> Fault? {
        var options = PowerOptions(graceSeconds: row.graceSeconds)
        if row.kind == .drain { options.drain = row.id }
        do throws(Fault) {
            _ = try await vms.power(
                verb,
                target.vm.description,
                project: ProjectView(target.project),
                options: options,
                context(verb, row.child(target.vm), target, row)
            )
            return nil
        } catch {
            return error
        }
    }

    private func context(
        _ verb: PowerVerb,
        _ operation: OperationID,
        _ target: DrainTarget,
        _ row: DrainRow
    ) -> RequestContext {
        RequestContext(
            operation: operation,
            principal: row.principal,
            method: row.method,
            digest: "\(row.id) \(verb.rawValue) \(target.vm)",
            traceParent: row.traceParent,
            parent: row.id
        )
    }

    /// What an order that was refused comes to; `nil`: look at the VM again.
    private func left(_ fault: Fault, _ row: DrainRow) async throws(Fault) -> DrainOutcome? {
        switch fault.reason {
        case .opInProgress, .vmNotFound, .storeConflict: return nil
        case .ioFailed, .storeUnreachable: throw fault
        case .opCancelled, .nodeDraining:
            // Another drain, or the end of this one, has the word now.
            let mark = nodes.drain(of: row.node)?.row.drain
            if row.kind == .drain ? mark != row.id : mark != nil { return .left }
            return .failed
        default: return .failed
        }
    }

    /// A VM that was paused when the drain came runs now, and is not meant to.
    private func pauseAgain(_ target: DrainTarget, _ row: DrainRow) async throws(Fault) {
        guard target.desired == .paused else { return }
        let operation = row.id.child("\(target.vm)/pause")
        do throws(Fault) {
            _ = try await vms.power(
                .pause,
                target.vm.description,
                project: ProjectView(target.project),
                options: PowerOptions(),
                context(.pause, operation, target, row)
            )
        } catch {
            // What was accepted has ended so, and would for ever; what was not is asked for again.
            let row = try await vms.parts.store.get(OperationRow.self, operation.description)
            if row == nil, [.ioFailed, .storeUnreachable].contains(error.reason) { throw error }
            // Whoever was quicker has the word; it runs, as it would after any start.
            vms.parts.log.notice(
                "could not pause a VM again",
                metadata: ["vm": "\(target.vm)", "fault": "\(error)"]
            )
        }
    }

    /// Waits until an operation of somebody else has ended.
    private func wait(for operation: OperationID) async throws(Fault) {
        do throws(Fault) {
            let row = try await vms.ledger.ending(of: operation)
            if row.state.isTerminal { return }
        } catch  where error.reason == .operationNotFound {
            // It holds a VM all the same, until an operator resets it.
        }
        try? await vms.parts.surroundings.clock.sleep(for: .milliseconds(200))
    }
}
