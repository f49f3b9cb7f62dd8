import RoostControl
import RoostDriver
import RoostHost
import RoostLink
import RoostModel
import RoostNode
import RoostOperations
import RoostScheduler
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
    private var vms: [VMID: VM] = [:]
    private var operations: [OperationID: OperationRow] = [:]
    private var names: [String: VMID] = [:]
    private var ports: [String: VMID] = [:]
    /// VMs that are gone for good.
    private var purged: Set<VMID> = []
    private var answers: [OperationID: Answer] = [:]

    /// What a client was told.
    struct Answer {
        let wish: Wish
        let request: RequestContext
        let answer: Result<VMOutcome, Fault>
    }

    init(_ scheduler: Scheduler) { self.scheduler = scheduler }

    func violated(_ text: String) {
        violations.append(text)
        scheduler.note("VIOLATED: \(text)")
    }

    private func require(_ holds: Bool, _ text: @autoclosure () -> String) {
        if !holds { violated(text()) }
    }

    // MARK: After each commit of the control side

    func committed(_ batch: Batch) {
        for write in batch.writes {
            switch write {
            case .put(let row): put(row, batch)
            case .delete(let table, let key): deleted(table, key, batch)
            }
        }
        checkRows()
        look()
    }

    private func put(_ row: any Row, _ batch: Batch) {
        switch row {
        case let vm as VM: moved(vms.updateValue(vm, forKey: vm.id), vm)
        case let operation as OperationRow:
            let old = operations.updateValue(operation, forKey: operation.id)
            settled(old, operation)
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
                let holder = names[NameRow.key(vm.project, vm.name)]
                require(holder == vm.id, "\(vm.name) \(vm.id.short) does not hold its name")
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
            for machine in node.hypervisor.machines {
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
            for id in purged.sorted() {
                require(
                    content.live[id] == nil && content.trashed[id] == nil,
                    "\(id.short) was purged and has disks on \(node.name)"
                )
            }
        }
    }

    // MARK: What clients were told

    /// How the operation failed, as its row says.
    func recordedFault(of id: OperationID) -> Fault? { operations[id]?.fault?.fault }

    /// A refusal leaves no record, so that of two requests with one id the first may be refused and
    /// the other, a moment later, accepted.
    func answered(
        _ request: RequestContext,
        _ answer: Result<VMOutcome, Fault>,
        _ wish: Wish,
        isOneOfTwo: Bool = false
    ) {
        scheduler.note("\(request.operation.short) \(wish.line) is answered: \(answer.line)")
        let row = operations[request.operation]
        switch answer {
        case .success(let outcome):
            world?.mark("\(request.method) succeeded")
            require(
                row?.state == .done && row?.result == outcome.vm,
                "\(wish.line) was acknowledged, and no record says so"
            )
        case .failure(let fault):
            world?.mark("\(request.method) refused: \(fault.reason.rawValue)")
            if isOneOfTwo, row?.fault?.fault != fault { return }
            require(
                row?.state != .done || fault.reason == .opCancelled,
                "\(wish.line) was done, and answered with \(fault)"
            )
            require(fault.reason != .bug, "\(wish.line) met a bug: \(fault)")
        }
        guard row?.state.isTerminal == true else { return }
        if let first = answers[request.operation] {
            compare(request, first.answer, answer)
        } else {
            answers[request.operation] = Answer(wish: wish, request: request, answer: answer)
        }
    }

    func answeredAgain(
        _ request: RequestContext,
        _ first: Result<VMOutcome, Fault>,
        _ again: Result<VMOutcome, Fault>
    ) {
        compare(request, first, again)
    }

    private func compare(
        _ request: RequestContext,
        _ first: Result<VMOutcome, Fault>,
        _ again: Result<VMOutcome, Fault>
    ) {
        let isSame =
            switch (first, again) {
            case (.success(let left), .success(let right)):
                left.vm == right.vm && left.changed == right.changed
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

    // MARK: Once the faults have ended

    /// What is not yet as it must come to be; empty once the world has converged.
    func unsettled() -> [String] {
        guard let world else { return [] }
        var found: [String] = []
        for operation in operations.values.sorted(by: { $0.id < $1.id })
        where operation.state == .running {
            found.append("\(operation.method) \(operation.id.short) has not ended")
        }
        if world.control?.service == nil { found.append("the control process is not up") }
        for vm in vms.values.sorted(by: { $0.id < $1.id }) {
            found += problems(of: vm, world)
        }
        for node in world.nodes { found += strays(on: node) }
        found += promises(world)
        return found
    }

    private func problems(of vm: VM, _ world: World) -> [String] {
        guard let node = world.nodes.first(where: { $0.id == vm.status.node }) else {
            return ["\(vm.name) is on no node"]
        }
        let machine = node.hypervisor.machines.first { $0.launch.id == vm.id }
        let disks = node.disk.content
        let state = vm.status.state
        let what = "\(vm.name) \(vm.id.short) is \(state.rawValue)"
        var found: [String] = []
        if vm.deletedAt != nil {
            if state != .deleted { found.append("\(what) in the trash") }
            if machine != nil { found.append("\(what) in the trash and runs") }
            if disks.live[vm.id] != nil { found.append("\(what) and its disks are in place") }
            let holdsName = names[NameRow.key(vm.project, vm.name)] == vm.id
            if holdsName { found.append("\(what) in the trash and holds its name") }
            if ports.values.contains(vm.id) { found.append("\(what) and holds a port") }
            return found
        }
        switch state {
        case .running where machine?.isPaused != false:
            found.append("\(what) and its VMM is not")
        case .paused where machine?.isPaused != true:
            found.append("\(what) and its VMM is not")
        case .stopped where machine != nil, .failed where machine != nil:
            found.append("\(what) and has a VMM")
        case .stopped where disks.live[vm.id] == nil:
            found.append("\(what) and has no disks")
        case .running, .paused, .stopped, .failed: break
        default: found.append("\(what), in passing")
        }
        let isAsWished = vm.desired.rawValue == state.rawValue || state == .failed
        if !isAsWished { found.append("\(what) and shall be \(vm.desired.rawValue)") }
        return found
    }

    /// What a node holds of a VM that nobody knows, or has not finished.
    private func strays(on node: NodeHost) -> [String] {
        var found: [String] = []
        if node.server?.service == nil { found.append("\(node.name) is not up") }
        let content = node.disk.content
        for id in (Array(content.live.keys) + Array(content.trashed.keys)).sorted()
        where vms[id] == nil {
            found.append("\(node.name) holds disks of \(id.short), which nobody knows")
        }
        for machine in node.hypervisor.machines where vms[machine.launch.id] == nil {
            found.append("\(node.name) runs \(machine.launch.name), which nobody knows")
        }
        guard let rows = try? MemoryStore(disk: node.rows).list(AssignmentRow.self, Query()).rows
        else { return found + ["\(node.name) has rows that cannot be read"] }
        for row in rows.map(\.row) {
            let name = row.assignment.name
            guard let vm = vms[row.assignment.id] else {
                found.append("\(node.name) is assigned \(name), which nobody knows")
                continue
            }
            if let unfinished = row.unfinished {
                found.append(
                    "\(node.name) has not finished \(unfinished.operation.short) of \(name)"
                )
            }
            if row.assignment.desired != vm.desired, vm.status.state != .failed {
                found.append(
                    "\(node.name) was told that \(name) shall be "
                        + "\(row.assignment.desired.rawValue), not \(vm.desired.rawValue)"
                )
            }
        }
        return found
    }

    /// What is promised of each node must be what runs there.
    private func promises(_ world: World) -> [String] {
        guard let control = world.control?.service else { return [] }
        var found: [String] = []
        for candidate in control.nodes.candidates {
            let runs = vms.values.filter {
                $0.status.node == candidate.id && $0.status.state.hasProcess
            }
            let cores = runs.reduce(0) { $0 + $1.spec.cores }
            let memory = runs.reduce(0) { $0 + $1.spec.memoryMiB }
            if candidate.usedCores != cores || candidate.usedMemoryMiB != memory {
                found.append(
                    "node \(candidate.id.short) has promised \(candidate.usedCores) cores and "
                        + "\(candidate.usedMemoryMiB) MiB; \(cores) and \(memory) run"
                )
            }
        }
        return found
    }
}

extension Result<VMOutcome, Fault> {
    /// For the event log.
    var line: String {
        switch self {
        case .success(let outcome):
            "\(outcome.vm.status.state.rawValue)\(outcome.changed ? "" : ", unchanged")"
        case .failure(let fault): "\(fault)"
        }
    }
}
