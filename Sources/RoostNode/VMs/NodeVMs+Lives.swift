import Logging
import RoostDriver
import RoostHost
import RoostLink
package import RoostModel
import RoostOperations
import RoostReconciler
import RoostStore
import Synchronization

/// VMMs that are followed: their ends that nobody asked for, and those that a restart finds.
extension NodeVMs {
    /// Follows one VMM until it ends, and says so if nobody asked for it.
    func follow(_ id: VMID) {
        parts.spawner.spawn {
            let exit = await self.parts.driver.waitForExit(id)
            var pause = Duration.milliseconds(20)
            // Nobody looks again by himself: until it is noted, the VM would say RUNNING.
            while !Task.isCancelled {
                do throws(Fault) {
                    try await self.queue.withTurn(id) { () async throws(Fault) in
                        try await self.ended(id, exit)
                    }
                    return
                } catch {
                    self.parts.failpoints.mark(.endRetried)
                    self.parts.log.error(
                        "could not note the end of a VMM; trying again",
                        metadata: ["vm": "\(id)", "fault": "\(error)"]
                    )
                    try? await self.parts.surroundings.clock.sleep(for: pause)
                    pause = min(pause * 2, .seconds(2))
                }
            }
        }
    }

    private func ended(_ id: VMID, _ exit: VMMExit) async throws(Fault) {
        guard var row = try await parts.store.get(AssignmentRow.self, id.description)?.row,
            row.unfinished == nil,
            row.assignment.desired == .running
                || row.assignment.desired == .paused,
            try await parts.driver.inspect(id) == nil
        else { return }
        await parts.guests.drop(id)
        // Looked first: nothing may fail between the writing, which happens once, and the saying.
        let seen = try await look(id)
        if exit.cause == .guestPoweredOff {
            parts.failpoints.mark(.poweredOff)
            row.assignment.desired = .stopped
            try await write(row)
            var report = report(row.assignment, seen)
            report.reason = "the guest powered off"
            report.ended = .poweredOff
            reports.add(report)
        } else {
            parts.failpoints.mark(.vmmFailed)
            ends.withLock { $0[id] = exit.sentence }
            var report = report(row.assignment, seen)
            report.state = .failed
            report.reason = exit.sentence
            report.ended = .failed
            reports.add(report)
        }
    }

    /// Finds everything again after a restart: follows what runs, ends what shall not, goes on
    /// with what was unfinished. Call once, before anything else is asked of the node.
    package func recover() async throws(Fault) {
        try await templates.recover()
        let rows = try await parts.store.list(AssignmentRow.self, Query()).rows
        let running = Set(try await parts.driver.running())
        for row in rows.map(\.row) {
            let id = row.assignment.id
            if let unfinished = row.unfinished {
                parts.log.notice(
                    "going on with unfinished work",
                    metadata: ["op_id": "\(unfinished.operation)", "vm": "\(id)"]
                )
                if running.contains(id) { follow(id) }
                parts.spawner.spawn { await self.resume(unfinished) }
            } else if running.contains(id) {
                try await adopt(row.assignment)
            } else {
                // It may have ended while nobody looked, and its log says how.
                try await ended(id, await parts.driver.waitForExit(id))
            }
        }
        let named = Set(rows.map(\.row.assignment.id))
        for id in running.sorted() where !named.contains(id) && !parts.failpoints.skips(.orphan) {
            parts.failpoints.mark(.orphan)
            parts.log.warning("stopping a VM that nobody names", metadata: ["vm": "\(id)"])
            try await parts.driver.kill(id)
        }
    }

    private func resume(_ delta: AssignmentDelta) async {
        await OperationScope.run(delta.operation) { await self.goOn(delta) }
    }

    private func goOn(_ delta: AssignmentDelta) async {
        do throws(Fault) {
            _ = try await apply(delta)
        } catch {
            parts.log.warning(
                "unfinished work was backed out",
                metadata: ["op_id": "\(delta.operation)", "fault": "\(error)"]
            )
        }
    }

    private func adopt(_ assignment: VMAssignment) async throws(Fault) {
        switch assignment.desired {
        case .running, .paused:
            parts.failpoints.mark(.adopted)
            if !parts.failpoints.skips(.follow) { follow(assignment.id) }
        // One that was to be suspended was cut off before its memory was kept, or after: a whole one
        // is found beside the disks.
        case .stopped, .suspended:
            try await parts.driver.kill(assignment.id)
        }
    }
}
