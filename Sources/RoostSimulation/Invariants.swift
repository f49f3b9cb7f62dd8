import RoostControl
import RoostDriver
import RoostHost
import RoostLink
import RoostModel
import RoostNode
import RoostOperations
import RoostStore

/// What must hold: after each commit, after each change on a host, and once the faults have ended.
///
/// The one place where the simulator says what is right. It reads the world from outside: durable
/// rows, machines and directories as they are, and what clients were told.
///
/// Unchecked, because the scheduler's one thread is all that touches it.
final class Invariants: @unchecked Sendable {
    /// The first breach and what came with it.
    private(set) var violations: [String] = []
    var hasFailed: Bool { !violations.isEmpty }
    weak var world: World?

    private let scheduler: Scheduler
    /// The control store's rows, followed from commit to commit.
    private(set) var vms: [VMID: VM] = [:]
    private(set) var operations: [OperationID: OperationRow] = [:]
    private(set) var names: [String: VMID] = [:]
    private(set) var ports: [String: VMID] = [:]
    /// Kept moments of VMs.
    var checkpoints: [CheckpointID: Checkpoint] = [:]
    /// By VM: those that were removed, in order.
    var forgotten: [VMID: [CheckpointID]] = [:]
    /// What was so when an operation on guests' memory was accepted.
    var moments: [OperationID: Moment] = [:]
    /// What operators say of each node.
    var nodeRows: [NodeID: NodeRow] = [:]
    /// Fleets as they were published last, by key.
    var fleets: [String: FleetStateRow] = [:]
    /// Every state of a fleet that was ever published, by its hash.
    var publications: [String: FleetState] = [:]
    /// By fleet: the hash of each generation.
    var generations: [String: [Int64: String]] = [:]
    /// Drains of nodes and ends of them, and which drain lasts on which node.
    var drains: [OperationID: DrainRow] = [:]
    var drainMarks: [NodeID: OperationID] = [:]
    /// By fleet: names of VMs that its keeper took down for a change, and that have not run since.
    var takenDown: [String: Set<String>] = [:]
    /// Every event, in order, and the keys under which they were kept.
    var told: [PlacedEvent] = []
    var eventKeys: Set<String> = []
    /// VMs that are gone for good.
    private var purged: Set<VMID> = []
    private var answers: [OperationID: Answer] = [:]
    /// Machines whose memory was compared with what their guest said before, by node and pid.
    private var metMachines: [NodeID: Set<Int32>] = [:]
    /// Every change of a VM's row, in order: what a watch must have seen.
    private(set) var history: [Change] = []

    /// What a client was told.
    struct Answer {
        let wish: Wish
        let request: RequestContext
        let answer: Result<Response, Fault>
    }

    init(_ scheduler: Scheduler) { self.scheduler = scheduler }

    func violated(_ text: String) {
        violations.append(text)
        scheduler.note("VIOLATED: \(text)")
    }

    func require(_ holds: Bool, _ text: @autoclosure () -> String) {
        if !holds { violated(text()) }
    }

    // MARK: After each commit of the control side

    func committed(_ batch: Batch, _ revision: Revision) {
        checkEvents(of: batch, revision)
        let orders = keepersOrders(in: batch)
        for write in batch.writes {
            switch write {
            case .put(let row):
                put(row, batch)
                // Watches leave out templates.
                if let vm = row as? VM, vm.seal == nil {
                    changed(row.key, revision, isDeletion: false)
                }
            case .delete(let table, let key):
                let isTemplate = VMID(key).flatMap { vms[$0] }?.seal != nil
                deleted(table, key, batch)
                if table == VM.table, !isTemplate { changed(key, revision, isDeletion: true) }
            }
        }
        for order in orders { ordered(order.row, over: order.vm) }
        checkRows()
        lookAtGuests(after: batch)
        look()
    }

    private func changed(_ key: String, _ revision: Revision, isDeletion: Bool) {
        history.append(
            Change(revision: revision, table: VM.table, key: key, isDeletion: isDeletion)
        )
    }

    private func put(_ row: any Row, _ batch: Batch) {
        switch row {
        case let vm as VM:
            let old = vms.updateValue(vm, forKey: vm.id)
            moved(old, vm)
            placed(old, vm)
            cameUp(vm)
        case let fleet as FleetStateRow: published(fleet)
        case let node as NodeRow: nodeRows[node.node] = node
        case let mark as DrainMark: drainMarks[mark.node] = mark.drain
        case let drain as DrainRow:
            drainMoved(drains.updateValue(drain, forKey: drain.id), drain)
        case let operation as OperationRow:
            let old = operations.updateValue(operation, forKey: operation.id)
            settled(old, operation)
            if old == nil { begun(operation) } else { ended(operation) }
        case let checkpoint as Checkpoint:
            let old = checkpoints.updateValue(checkpoint, forKey: checkpoint.id)
            kept(old, checkpoint, batch)
        case let name as NameRow:
            let old = names.updateValue(name.vm, forKey: name.key)
            require(old == nil || old == name.vm, "name \(name.key) was taken over")
        case let port as PortRow:
            let old = ports.updateValue(port.vm, forKey: port.key)
            require(old == nil || old == port.vm, "port \(port.key) was taken over")
        default: break
        }
    }

    private func moved(_ old: VM?, _ vm: VM) {
        scheduler.note(
            "  \(vm.name) \(vm.id.short) \(vm.status.state.rawValue) desired "
                + "\(vm.desired.rawValue) generation \(vm.generation) op "
                + "\(vm.runningOp?.short ?? "none"): \(vm.status.reason)"
        )
        scheduler.mix(UInt64(truncatingIfNeeded: vm.id.bits) ^ UInt64(vm.generation))
        require(!vm.status.reason.isEmpty, "\(vm.name) is \(vm.status.state) without a reason")
        guard let old else {
            require(!purged.contains(vm.id), "id \(vm.id) came back")
            require(vm.generation == 1, "\(vm.name) begins with generation \(vm.generation)")
            return
        }
        let from = old.status.state
        let to = vm.status.state
        if from != to, !from.canBecome(to) {
            world?.mark("moved unseen from \(from.rawValue) to \(to.rawValue)")
            require(
                from.canBecome(.lost) && VMState.lost.canBecome(to),
                "\(vm.name) went from \(from.rawValue) to \(to.rawValue)"
            )
        }
        require(
            (old.generation...old.generation + 1).contains(vm.generation),
            "\(vm.name) went from generation \(old.generation) to \(vm.generation)"
        )
        require(old.createOp == vm.createOp, "\(vm.name) changed the request that made it")
        let isLeftAlone = old.runningOp == nil && vm.runningOp == nil
        require(
            from != .suspended || to == .suspended || !isLeftAlone,
            "\(vm.name) was suspended and is \(to.rawValue) by itself: \(vm.status.reason)"
        )
        let bound = vm.spec.restart.maxRestarts
        require(
            vm.status.restarts <= old.status.restarts || bound == 0
                || vm.status.restarts <= bound,
            "\(vm.name) is started again for the \(vm.status.restarts). time of \(bound)"
        )
    }

    private func settled(_ old: OperationRow?, _ new: OperationRow) {
        guard let old else { return }
        require(!old.state.isTerminal, "operation \(new.id.short) ended twice")
        require(
            old.digest == new.digest && old.vm == new.vm,
            "operation \(new.id.short) became another"
        )
    }

    private func deleted(_ table: String, _ key: String, _ batch: Batch) {
        switch table {
        case NameRow.table: names[key] = nil
        case PortRow.table: ports[key] = nil
        case Checkpoint.table: forgot(key, batch)
        case DrainMark.table: drainMarks = drainMarks.filter { $0.key.description != key }
        case VM.table:
            guard let id = VMID(key), let vm = vms.removeValue(forKey: id) else { return }
            purged.insert(id)
            let settles = batch.writes.contains { write in
                guard case .put(let row as OperationRow) = write else { return false }
                return row.vm == id && row.state.isTerminal && row.intent.removesRow
            }
            require(settles, "\(vm.name) was removed, and not by a purge")
        default: break
        }
    }

    /// What the rows must be to each other, whoever crashed between which two commits.
    private func checkRows() {
        for vm in vms.values.sorted(by: { $0.id < $1.id }) {
            if vm.deletedAt == nil {
                let holder = names[vm.nameRow.key]
                require(holder == vm.id, "\(vm.name) \(vm.id.short) does not hold its name")
            }
            if let origin = vm.spec.template {
                require(
                    vms[origin.template]?.seal?.checkpoint == origin.checkpoint,
                    "\(vm.name) \(vm.id.short) was made from a template that is gone"
                )
            }
            guard let running = vm.runningOp else { continue }
            let row = operations[running]
            require(
                row?.state == .running && row?.vm == vm.id,
                "\(vm.name) is held by \(running.short), which does not run"
            )
        }
        for (key, id) in names.sorted(by: { $0.key < $1.key }) {
            require(vms[id] != nil, "name \(key) belongs to a VM that is gone")
        }
        for (key, id) in ports.sorted(by: { $0.key < $1.key }) {
            require(vms[id] != nil, "port \(key) belongs to a VM that is gone")
        }
        checkTrees()
        for operation in operations.values where operation.state == .running {
            require(
                vms[operation.vm]?.runningOp == operation.id,
                "operation \(operation.id.short) runs and does not hold its VM"
            )
        }
    }

    // MARK: After each change on a host

    func look() {
        guard let world else { return }
        var seen: Set<VMID> = []
        for node in world.nodes {
            let content = node.disk.content
            let machines = node.hypervisor.machines.filter { $0.launch.name != World.stranger }
            // A node makes its templates beside what is promised: nobody counts those.
            let counted = machines.filter { vms[$0.launch.id] != nil }
            let cores = counted.reduce(0) { $0 + $1.launch.cores }
            let memory = counted.reduce(0) { $0 + $1.launch.memoryMiB }
            let room = NodeFacts(
                id: node.id,
                cores: world.capacity.cores,
                memoryMiB: world.capacity.memoryMiB
            )
            require(
                cores <= room.promisableCores && memory <= room.promisableMemoryMiB,
                "\(cores) cores and \(memory) MiB run on \(node.name), which is too much"
            )
            for (id, directory) in content.live.sorted(by: { $0.key < $1.key }) {
                // A copy of a template is not synced, on purpose.
                let isWhole = directory.isSynced || directory.template != nil
                require(isWhole, "\(id.short) has disks that were never synced")
                require(
                    directory.template.map(content.templates.contains) != false,
                    "\(id.short) lies over a template that is gone"
                )
            }
            for machine in machines {
                let id = machine.launch.id
                require(seen.insert(id).inserted, "\(machine.launch.name) has two VMMs")
                require(
                    content.live[id] != nil,
                    "\(machine.launch.name) runs on \(node.name) without its disks"
                )
                require(
                    !purged.contains(id),
                    "\(machine.launch.name) was purged and runs on \(node.name)"
                )
            }
            lookAtCheckpoints(on: node)
            lookAtDrain(of: node)
            for id in purged.sorted() {
                require(
                    content.live[id] == nil && content.trashed[id] == nil,
                    "\(id.short) was purged and has disks on \(node.name)"
                )
            }
        }
    }

    /// The guests of `node` count on; none may go on from memory that is older than its disk.
    func work(_ node: NodeHost) {
        for machine in node.hypervisor.machines {
            let id = machine.launch.id
            if machine.goesOnInPlace,
                metMachines[node.id, default: []].insert(machine.pid).inserted
            {
                let memory = node.hypervisor.memory(of: machine.pid) ?? -1
                let said = node.hypervisor.diskCount(of: id)
                require(
                    memory == said,
                    "\(machine.launch.name) goes on at \(memory), and its disk is at \(said)"
                )
            }
            goesOn(machine, on: node)
            node.hypervisor.work(id)
        }
    }

    // MARK: What clients were told

    /// How the operation failed, as its row says.
    func recordedFault(of id: OperationID) -> Fault? { operations[id]?.fault?.fault }

    /// A refusal leaves no record, so that of two requests with one id the first may be refused and
    /// the other, a moment later, accepted.
    func answered(
        _ request: RequestContext,
        _ answer: Result<Response, Fault>,
        _ wish: Wish,
        isOneOfTwo: Bool = false
    ) {
        scheduler.note("\(request.operation.short) \(wish.line) is answered: \(answer.line)")
        let row = operations[request.operation]
        switch answer {
        case .success(let reply):
            world?.mark("\(request.method) succeeded")
            if case .create(let draft) = wish, case .vm(let outcome) = reply {
                checkNode(draft, outcome.vm)
            }
            require(
                row.map { isRecorded(reply, in: $0) } == true,
                "\(wish.line) was acknowledged, and no record says so"
            )
        case .failure(let fault):
            world?.mark("\(request.method) refused: \(fault.reason.rawValue)")
            if isOneOfTwo, row?.fault?.fault != fault { return }
            // It may have been made, and removed before the answer.
            let isGone = fault.reason == .checkpointNotFound && wish.method == "CreateCheckpoint"
            require(
                row?.state != .done || fault.reason == .opCancelled || isGone,
                "\(wish.line) was done, and answered with \(fault)"
            )
            require(fault.reason != .bug, "\(wish.line) met a bug: \(fault)")
            if case .create(let draft) = wish, draft.template.isEmpty {
                let isTemplates = [.savedStateDamaged, .shapeDiffers].contains(fault.reason)
                require(!isTemplates, "\(wish.line) failed for its template: \(fault)")
            }
        }
        guard row?.state.isTerminal == true else { return }
        if let first = answers[request.operation] {
            compare(request, first.answer, answer)
        } else {
            answers[request.operation] = Answer(wish: wish, request: request, answer: answer)
        }
    }

    /// What came of a request under the op id of an earlier one, which another row may hold.
    func answeredReused(
        _ request: RequestContext,
        _ answer: Result<Response, Fault>,
        wasRecorded: Bool
    ) {
        guard wasRecorded else { return }
        if case .failure(let fault) = answer, fault.reason == .opIDReused { return }
        violated("\(request.operation.short) was used twice, and answered \(answer.line)")
    }

    /// Whether there is an operation of this id, and whether it runs.
    func isRecorded(_ id: OperationID) -> Bool { operations[id] != nil }
    func isRunning(_ id: OperationID) -> Bool { operations[id]?.state == .running }

    func answeredAgain(
        _ request: RequestContext,
        _ first: Result<Response, Fault>,
        _ again: Result<Response, Fault>
    ) {
        compare(request, first, again)
    }

    private func compare(
        _ request: RequestContext,
        _ first: Result<Response, Fault>,
        _ again: Result<Response, Fault>
    ) {
        let isSame =
            switch (first, again) {
            case (.success(let left), .success(let right)): left.isSame(as: right)
            // It may have been removed since, on its own or with its VM.
            case (.success(.checkpoint(let left)), .failure(let right)):
                right.reason == .checkpointNotFound && checkpoints[left.id] == nil
            case (.failure(let left), .success(.checkpoint)):
                left.reason == .checkpointNotFound && operations[request.operation]?.state == .done
            case (.failure(let left), .failure(let right)): left == right
            default: false
            }
        require(
            isSame,
            "\(request.operation.short) was answered \(first.line), then \(again.line)"
        )
    }

    /// Every request whose answer is recorded, with that answer.
    var repeatable: [(RequestContext, Answer)] {
        answers.sorted { $0.key < $1.key }.map { ($0.value.request, $0.value) }
    }
}
