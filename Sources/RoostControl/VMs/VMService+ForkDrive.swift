import Logging
import RoostLink
import RoostModel
import RoostOperations
import RoostStore

/// From accepted to settled, for a fork:
///
/// ```text
///  fork (source) ─▶ become (each copy, four at once) ─▶ release (source) ─────┬▶ one commit
///       │ fails          │ one fails               ▲          │ if one failed  │  settles all
///       └────────────────┴─────────────────────────┘          └▶ purge each ───┘
/// ```
/// Copies are purged when there is no fork any more: an order to become one that comes late, from
/// before a crash, finds nothing to copy, and one that is being carried out is in the copy's queue
/// before its purge.
///
/// Every order has an op id that follows from the fork's, so that after a crash the whole is told to
/// the nodes again and each of them answers what it has done from its journal.
extension VMService {
    /// How many copies begin at the same time.
    private static let forksAtOnce = 4

    func carryFork(_ row: OperationRow, _ live: OperationLedger.Live) async {
        let copies = await copyRows(of: row)
        var outcome = await attempt(row, live)
        var reports: [VMID: VMReport] = [:]
        if case .success = outcome {
            switch await begin(copies, live) {
            case .success(let found): reports = found
            case .failure(let fault): outcome = .failure(fault)
            }
        }
        if !parts.failpoints.skips(.releasedFork) {
            await order(.release(row.id), row.vm, as: row.id.child("release"))
        }
        if case .failure = outcome {
            for copy in copies where !parts.failpoints.skips(.purgedCopies) {
                await order(.purge, copy.vm, as: copy.id.child("undo"))
            }
        }
        let (ended, found) = (outcome, reports)
        await settle(row) { () async throws(Fault) in
            try await self.settleFork(row, copies, ended, found)
        }
        ledger.end(row.id)
        for copy in copies { ledger.end(copy.id) }
        for id in [row.vm] + copies.map(\.vm) {
            await catchUp(id)
            await restartIfWished(id)
        }
    }

    /// The copies' operations, in the order of the request. Asks until they can be read.
    private func copyRows(of row: OperationRow) async -> [OperationRow] {
        while !Task.isCancelled {
            do throws(Fault) {
                var found: [OperationRow] = []
                for id in row.intent.copies ?? [] {
                    let key = row.id.child(id.description).description
                    if let copy = try await parts.store.get(OperationRow.self, key)?.row {
                        found.append(copy)
                    }
                }
                return found
            } catch {
                try? await parts.surroundings.clock.sleep(for: .milliseconds(100))
            }
        }
        return []
    }

    /// Begins every copy; the first fault when one cannot be, and no more are begun then.
    private func begin(
        _ copies: [OperationRow],
        _ live: OperationLedger.Live
    ) async -> Result<[VMID: VMReport], Fault> {
        await withTaskGroup(of: (VMID, Result<VMReport, Fault>).self) { group in
            var waiting = copies[...]
            var reports: [VMID: VMReport] = [:]
            var failure: Fault?
            for copy in waiting.prefix(Self.forksAtOnce) {
                group.addTask { (copy.vm, await self.begin(copy, of: live)) }
            }
            waiting = waiting.dropFirst(Self.forksAtOnce)
            while let (id, result) = await group.next() {
                switch result {
                case .success(let report): reports[id] = report
                case .failure(let fault): failure = failure ?? fault
                }
                if failure == nil, let copy = waiting.popFirst() {
                    group.addTask { (copy.vm, await self.begin(copy, of: live)) }
                }
            }
            if let failure { return .failure(failure) }
            return .success(reports)
        }
    }

    private func begin(
        _ copy: OperationRow,
        of fork: OperationLedger.Live
    ) async -> Result<VMReport, Fault> {
        guard !fork.preemption.isSet else {
            return .failure(Fault(.opCancelled, "pre-empted before \(copy.vmName) began"))
        }
        return await OperationScope.run(copy.id) { await self.attempt(copy, fork) }
    }

    /// How often a node is asked to clear up; a disk may refuse for ever, and the fork holds its VM.
    private static let clearings = 8

    /// Tells a node something that is part of a fork's end, until it is done. What was refused is asked
    /// for under another op id, since the node answers the same one as before: the caller is told of
    /// the fork and hears nothing of this, so that nobody else would ask again.
    private func order(_ action: NodeAction, _ id: VMID, as operation: OperationID) async {
        var refusals = 0
        while !Task.isCancelled {
            let own = refusals == 0 ? operation : operation.child("\(refusals)")
            do throws(Fault) {
                if let vm = try await parts.store.get(VM.self, id.description)?.row {
                    _ = try await apply(action, to: vm, as: own)
                }
                return
            } catch  where error.reason == .nodeUnreachable {
                try? await parts.surroundings.clock.sleep(for: .milliseconds(100))
            } catch  where refusals < Self.clearings && !parts.failpoints.skips(.clearedUp) {
                parts.failpoints.mark(.clearedUpAgain)
                refusals += 1
                try? await parts.surroundings.clock.sleep(for: .milliseconds(50) * (1 << refusals))
            } catch {
                parts.log.error(
                    "could not clear up after a fork",
                    metadata: [
                        "op_id": "\(operation)", "vm": "\(id)", "action": "\(action.name)",
                        "fault": "\(error)",
                    ]
                )
                return
            }
        }
    }

    /// Writes down how the fork and all of its copies ended, by one commit.
    private func settleFork(
        _ asked: OperationRow,
        _ copies: [OperationRow],
        _ outcome: Result<VMReport, Fault>,
        _ reports: [VMID: VMReport]
    ) async throws(Fault) {
        var batch = Batch()
        for row in [asked] + copies {
            guard let operation = try await parts.store.get(OperationRow.self, row.key),
                !operation.row.state.isTerminal,
                let found = try await parts.store.get(VM.self, row.vm.description)
            else { continue }
            let own = row.id == asked.id ? nil : reports[row.vm]
            try await finish(operation, found, own.map { .success($0) } ?? outcome, &batch)
        }
        guard !batch.writes.isEmpty else { return }
        try await commit(batch)
        giveUpPlaces(batch)
    }
}
