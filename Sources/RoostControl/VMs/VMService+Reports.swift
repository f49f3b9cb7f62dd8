import Logging
package import RoostLink
package import RoostModel
import RoostOperations
import RoostStore
import Synchronization

/// Hearing from nodes, and coming up after a crash.
extension VMService {
    /// Goes on with everything that a former process had accepted, and takes in what the nodes see.
    ///
    /// Call once, after the nodes have joined and recovered, before requests are served.
    package func recover() async throws(Fault) {
        for row in try await parts.store.list(NodeRow.self, Query()).rows { parts.nodes.take(row) }
        for mark in try await parts.store.list(DrainMark.self, Query()).rows {
            parts.nodes.take(mark, of: mark.row.node, at: mark.version)
        }
        parts.nodes.note(try await parts.store.revision())
        for found in try await parts.store.list(VM.self, Query()).rows {
            let vm = found.row
            if !parts.failpoints.skips(.recount) { parts.nodes.count(vm) }
        }
        for found in try await ledger.unfinished() where !parts.failpoints.skips(.resume) {
            guard let live = ledger.begin(found.row.id) else { continue }
            // A copy's is carried out, and ended, by its fork's.
            if [.become, .derive].contains(found.row.intent.action.kind) { continue }
            parts.failpoints.mark(.operationResumed)
            parts.log.notice(
                "going on with an operation",
                metadata: ["op_id": "\(found.row.id)", "method": "\(found.row.method)"]
            )
            parts.spawner.spawn { await self.drive(found.row, live) }
        }
        // All at once: one that does not answer holds up nobody.
        await withTaskGroup(of: Void.self) { group in
            for link in parts.nodes.links {
                group.addTask {
                    let cursor = await self.firstLook(at: link)
                    self.parts.spawner.spawn { await self.listen(to: link, from: cursor) }
                }
            }
        }
    }

    /// The operations that have not ended: what they need on nodes is needed yet.
    package func unfinishedOperations() async throws(Fault) -> Set<OperationID> {
        Set(try await ledger.unfinished().map(\.row.id))
    }

    /// Takes in what the node behind `link` sees, from now on and until it leaves the directory.
    package func follow(_ link: any NodeLink) {
        parts.spawner.spawn { await self.listen(to: link, from: nil) }
    }

    /// Takes in everything that `link`'s node sees, so that the first question is answered with what
    /// is true. `nil` when it does not answer at once: it is asked again, and holds up nobody.
    private func firstLook(at link: any NodeLink) async -> UInt64? {
        let late = Fault(.nodeUnreachable, "no answer yet", metadata: ["op": ""])
        do throws(Fault) {
            return try await within(.seconds(2), on: parts.surroundings.clock, onTimeout: late) {
                () async throws(Fault) in try await self.takeInEverything(link)
            }
        } catch {
            parts.failpoints.mark(.firstLookLate)
            return nil
        }
    }

    func takeInEverything(_ link: any NodeLink) async throws(Fault) -> UInt64 {
        let whole = try await link.observe()
        for report in whole.vms { try await note(report, link) }
        return whole.cursor
    }

    /// Counts what `vm` holds of its node's room, as its row says: what runs or is about to.
    func keepPromise(_ vm: VM, at version: Revision? = nil) {
        parts.nodes.confirm(vm, at: version)
    }

    /// The same for the row as it is now. An accept that is under way counts again once it is
    /// durable. `withSpec`: what it needs may have changed too.
    func recount(_ id: VMID, withSpec: Bool = false) async {
        while !Task.isCancelled {
            do throws(Fault) {
                if let found = try await parts.store.get(VM.self, id.description) {
                    let vm = found.row
                    if withSpec {
                        parts.nodes.count(vm)
                    } else {
                        keepPromise(vm, at: found.version)
                    }
                    let isInTrash = vm.deletedAt != nil && vm.runningOp == nil
                    if isInTrash { parts.nodes.forget(id) }
                } else {
                    parts.nodes.forget(id)
                }
                return
            } catch {
                // Nobody counts again: room that is not given back now is lost until a restart.
                parts.log.warning("cannot recount", metadata: ["vm": "\(id)", "fault": "\(error)"])
                try? await parts.surroundings.clock.sleep(for: .milliseconds(100))
            }
        }
    }

    /// Takes in what `link`'s node sees until cancelled: everything once, then what changes.
    private func listen(to link: any NodeLink, from first: UInt64?) async {
        var cursor = first
        var isSilent = false
        while !Task.isCancelled, parts.nodes.holds(link.node) {
            do throws(Fault) {
                if let from = cursor {
                    let page = try await link.changes(after: from)
                    for report in page.vms { try await note(report, link) }
                    if page.missedSome { parts.failpoints.mark(.missedSome) }
                    cursor = page.missedSome ? nil : page.cursor
                } else {
                    cursor = try await takeInEverything(link)
                }
                isSilent = false
            } catch {
                // One that came up anew has a log whose cursors are others, and says so.
                if !isSilent {
                    parts.log.warning(
                        "cannot hear from a node",
                        metadata: ["node": "\(link.node)", "fault": "\(error)"]
                    )
                }
                isSilent = true
                try? await parts.surroundings.clock.sleep(for: .seconds(1))
            }
        }
    }

    /// Takes one report in, unless an operation holds the VM: then it is looked at again afterwards.
    ///
    /// A report may be older than the row: what is new in it is looked at once more, after the row
    /// was read, and counts only if the row is still the same then.
    func note(_ report: VMReport, _ link: any NodeLink) async throws(Fault) {
        var ended: OperationID?
        while true {
            guard let found = try await parts.store.get(VM.self, report.id.description) else {
                parts.log.warning(
                    "a node holds a VM that nobody knows",
                    metadata: ["vm": "\(report.id)", "state": "\(report.state.rawValue)"]
                )
                return
            }
            if let running = found.row.runningOp {
                if parts.failpoints.skips(.noted) { return }
                parts.failpoints.mark(.noted)
                _ = noted.withLock { $0.insert(report.id) }
                if ledger.runs(running) || running == ended { return }
                // It ended while the row was being read, so that nobody might look again.
                guard noted.withLock({ $0.remove(report.id) }) != nil else { return }
                ended = running
                continue
            }
            guard after(report, found.row) != nil else {
                keepPromise(found.row, at: found.version)
                // It may have been taken in by a commit whose answer was lost.
                restartIfWished(found.row)
                return
            }
            guard var fresh = try await link.inspect(report.id) else { return }
            if fresh.state == report.state || parts.failpoints.skips(.freshLook) {
                fresh = report
            } else {
                parts.failpoints.mark(.staleReport)
            }
            guard let vm = after(fresh, found.row) else { return }
            var batch = Batch()
            batch.replace(found, with: vm)
            do throws(Fault) {
                try await commit(batch)
                await recount(vm.id)
                restartIfWished(vm)
                return
            } catch  where error.reason == .storeConflict {
                parts.failpoints.mark(.reportOvertaken)
                continue
            }
        }
    }

    /// The VM as `report` makes it, or `nil` when it says nothing new.
    private func after(_ report: VMReport, _ old: VM) -> VM? {
        var vm = old
        // A VM that is merely stopped, and not by a request, was powered off by its guest.
        let isOff = report.ended == .poweredOff || report.state == .stopped
        if isOff, vm.spec.restart.mode != .always, !parts.failpoints.skips(.powerOff) {
            vm.desired = .stopped
        }
        if vm.status.state == report.state {
            guard vm.desired != old.desired else { return nil }
            return vm
        }
        // In the trash is where control put it; the node only sees no disks.
        if vm.deletedAt != nil { return nil }
        // A VM that could not be made has nothing on its node, and says why until it is started.
        if vm.status.state == .failed, report.state == .stopped || report.state == .deleted {
            return nil
        }
        var report = report
        if report.state == .deleted {
            // Nobody deleted it: its disks are gone.
            report.state = .failed
            report.reason = "its node has no disks of it"
        }
        take(report, into: &vm, reason: report.reason)
        return vm
    }

    /// After an operation: what its VM's node said meanwhile.
    func catchUp(_ id: VMID) async {
        var pause = Duration.milliseconds(50)
        while noted.withLock({ $0.remove(id) }) != nil, !Task.isCancelled {
            do throws(Fault) {
                guard let vm = try await parts.store.get(VM.self, id.description)?.row else {
                    return
                }
                let link = try parts.nodes.link(vm.status.node)
                guard let report = try await link.inspect(id) else { return }
                try await note(report, link)
                parts.failpoints.mark(.caughtUp)
                return
            } catch {
                parts.log.warning(
                    "cannot catch up",
                    metadata: ["vm": "\(id)", "fault": "\(error)"]
                )
                // The node says it only once: keep it noted until it was taken in.
                _ = noted.withLock { $0.insert(id) }
                try? await parts.surroundings.clock.sleep(for: pause)
                pause = min(pause * 2, .seconds(2))
            }
        }
    }
}
