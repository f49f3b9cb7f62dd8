package import Logging
package import RoostDriver
package import RoostHost
package import RoostLink
package import RoostModel
package import RoostOperations
import RoostReconciler
package import RoostStore
import Synchronization

/// What ``NodeVMs`` needs of whoever speaks with guests.
package protocol GuestLinks: Sendable {
    /// Returns when the guest's agent has answered. Ends early when cancelled.
    func awaitReady(_ vm: VMID) async throws(Fault)
    /// Asks the guest to power off. Returns when it has taken the request.
    func shutDown(_ vm: VMID) async throws(Fault)
    /// Readies the guest for copies of it: what they need at once is in memory, the rest on its disk.
    func settle(_ vm: VMID) async throws(Fault)
    /// Makes a copy of a machine a machine of its own, and lets it go on.
    func renew(_ vm: VMID, _ identity: GuestIdentity) async throws(Fault)
    /// Gives a guest that was brought back to an earlier moment fresh random numbers and the time, and
    /// lets it go on. It stays the machine that it was.
    func freshen(_ vm: VMID, entropy: [UInt8]) async throws(Fault)
    /// How many commands in the guest somebody reads now.
    func readers(of vm: VMID) async -> Int
    /// Sets the guest's clock by the host's, if it is connected to; else its next connection does.
    func stepClock(_ vm: VMID) async
    /// Makes everything in the guest but its agent stand still, and lets go of the connection once
    /// every byte that was sent has arrived. Whoever reads or writes there waits. May be repeated.
    func hold(_ vm: VMID) async throws(Fault)
    /// Ends ``hold(_:)``, with whatever VMM the VM has now: the guest goes on, and who waited too.
    func letGo(_ vm: VMID) async throws(Fault)
    /// Forgets the connection, and fails whoever waits for that guest.
    func drop(_ vm: VMID) async
}

/// What a copy of a machine is to be.
package struct GuestIdentity: Sendable, Hashable {
    package var hostname: String
    /// 16 bytes.
    package var machineID: [UInt8]
    /// 6 bytes.
    package var ethernet: [UInt8]
    /// Fresh random bytes for the guest's pool.
    package var entropy: [UInt8]

    package init(hostname: String, machineID: [UInt8], ethernet: [UInt8], entropy: [UInt8]) {
        self.hostname = hostname
        self.machineID = machineID
        self.ethernet = ethernet
        self.entropy = entropy
    }
}

/// What a node's VM service is made of.
package struct NodeParts: Sendable {
    package var driver: any Driver
    package var files: any VMFiles
    package var catalogue: any Catalogue
    package var store: any Store
    package var guests: any GuestLinks
    package var surroundings: Surroundings
    package var failpoints: any Failpoints
    package var spawner: Spawner
    package var log: Logger
    package var capacity: NodeCapacity
    /// How long a guest may take from start to its first answer.
    package var bootDeadline: Duration
    /// The most templates that are kept besides those that disks lie over.
    package var templateLimit: Int

    package init(
        driver: any Driver,
        files: any VMFiles,
        catalogue: any Catalogue,
        store: any Store,
        guests: any GuestLinks,
        surroundings: Surroundings,
        failpoints: any Failpoints,
        spawner: Spawner,
        log: Logger,
        capacity: NodeCapacity,
        bootDeadline: Duration = .seconds(60),
        templateLimit: Int = 8
    ) {
        self.driver = driver
        self.files = files
        self.catalogue = catalogue
        self.store = store
        self.guests = guests
        self.surroundings = surroundings
        self.failpoints = failpoints
        self.spawner = spawner
        self.log = log
        self.capacity = capacity
        self.bootDeadline = bootDeadline
        self.templateLimit = templateLimit
    }
}

/// The VMs of one node. Brings each to its assignment, one piece of work at a time for each VM.
///
/// See README.md for the picture, the states and the ways it fails.
package final class NodeVMs: Sendable {
    let parts: NodeParts
    package let reports: ReportLog
    let templates: Templates
    private let queue = KeyedQueue<VMID>()
    private let busy = Mutex<[VMID: Busy]>([:])
    /// Why a VM that should run does not, as its VMM's end said. Gone with the process, on purpose:
    /// after a restart nobody knows.
    let ends = Mutex<[VMID: String]>([:])
    private let epoch = Mutex<Int64>(0)
    /// Operations that were pre-empted before they arrived, oldest first.
    private let preempted = Mutex<[OperationID]>([])

    /// What is being done to a VM now.
    private struct Busy {
        var operation: OperationID
        var state: VMState
        var preemption: Signal
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
            if parts.failpoints.skips(.earlyPreempt) { return }
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
        if isResumed { parts.failpoints.mark(.turnResumed) }
        // A crash in an earlier turn of the same operation left the true former beside it.
        let settled =
            isResumed && !parts.failpoints.skips(.former) ? former?.former : former?.assignment
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
            try await parts.failpoints.pass(.afterAssign)
            do throws(Fault) {
                try await work(delta, preemption: preemption, done: &done)
            } catch
                where delta.action == .start && error.mayBeTheTemplates
                && done.contains(where: \.isCopying) && !parts.failpoints.skips(.bootAnyway)
            {
                await templates.drop(delta.vm.spec, because: error)
                try await work(delta, preemption: preemption, done: &done)
            }
        } catch {
            fault = error
            fault?.metadata["step"] = done.last?.name
        }
        var report = try await end(delta, former: settled, fault: fault)
        report.steps = done
        wantTemplate(delta, fault)
        return report
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

    private func work(
        _ delta: AssignmentDelta,
        preemption: Signal,
        done: inout [StepRecord]
    ) async throws(Fault) {
        var seen = try await look(delta.vm.id)
        if delta.action == .start, seen.disks == .missing,
            try await templates.find(delta.vm.spec) != nil
        {
            seen.copy = .possible
        }
        let steps = try plan(delta.action, for: seen)
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

    // MARK: Looking

    /// What is true of one VM now.
    func look(_ id: VMID) async throws(Fault) -> VMObservation {
        let disks = try await parts.files.place(id)
        let status = try await parts.driver.inspect(id)
        let vmm: VMMPhase =
            switch status?.phase {
            case .running: .running
            case .paused: .paused
            case .shutDown, nil: try await isSaved(id, disks) ? .saved : .absent
            }
        let isUnrenewed = try await parts.files.isUnrenewed(id)
        return VMObservation(disks: disks, vmm: vmm, copy: isUnrenewed ? .unrenewed : .none)
    }

    private func isSaved(_ id: VMID, _ disks: DisksPlace) async throws(Fault) -> Bool {
        guard disks != .missing, let driver = parts.driver as? any Forking else { return false }
        // Looking must always have an answer, or no operation on the VM would ever end.
        return try await driver.holdsMachine(parts.files.savedFolder(id, disks))
    }

    /// What everything on this node is now: what is being done first, then what is seen.
    package func observe() async throws(Fault) -> NodeReport {
        let cursor = reports.cursor
        var found: [VMReport] = []
        let rows = try await parts.store.list(AssignmentRow.self, Query()).rows
        for row in rows {
            let id = row.row.assignment.id
            if let state = busy.withLock({ $0[id]?.state }) {
                found.append(VMReport(id: id, state: state, reason: "being worked on"))
                continue
            }
            found.append(report(row.row.assignment, try await look(id)))
        }
        let known = Set(rows.map(\.row.assignment.id)).union(try await templates.builders())
        for id in try await parts.files.inventory().live where !known.contains(id) {
            found.append(VMReport(id: id, state: .stopped, reason: "orphan: nobody names it"))
        }
        return NodeReport(vms: found, capacity: parts.capacity, cursor: cursor)
    }

    /// What this node was last told about one VM.
    package func assignment(_ id: VMID) async throws(Fault) -> VMAssignment? {
        try await parts.store.get(AssignmentRow.self, id.description)?.row.assignment
    }

    /// What one VM is now; `nil` when this node holds nothing of it.
    package func inspect(_ id: VMID) async throws(Fault) -> VMReport? {
        let seen = try await look(id)
        guard let row = try await parts.store.get(AssignmentRow.self, id.description)?.row else {
            guard seen != VMObservation(disks: .missing, vmm: .absent) else { return nil }
            return VMReport(id: id, state: settledState(seen), reason: "orphan: nobody names it")
        }
        return report(row.assignment, seen)
    }

    func report(_ assignment: VMAssignment?, _ seen: VMObservation) -> VMReport {
        guard let assignment else {
            return VMReport(id: VMID(bits: 0), state: settledState(seen), reason: "not assigned")
        }
        let id = assignment.id
        if seen.vmm == .absent, seen.disks == .live, assignment.desired != .stopped {
            let why = ends.withLock { $0[id] } ?? "it ended while nobody was looking"
            return VMReport(id: id, state: .failed, reason: why, ended: .failed)
        }
        let state = settledState(seen)
        let isUp = state == .running || state == .paused
        return VMReport(
            id: id,
            state: state,
            reason: state == .deleted || assignment.desired.rawValue == state.rawValue
                ? "as asked" : "\(assignment.desired.rawValue) was asked for",
            observedGeneration: isUp ? assignment.generation : 0,
            addresses: isUp && assignment.spec.network == .user ? ["10.0.2.15"] : []
        )
    }

    // MARK: Ends that nobody asked for

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

    // MARK: Coming up

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
        case .restore: .deleted
        }
    }

    /// Whether it needs a driver that keeps memory.
    var keepsMemory: Bool {
        switch self {
        case .suspend, .fork, .become, .checkpoint, .revert, .branch: true
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
