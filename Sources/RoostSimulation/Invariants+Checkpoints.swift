import RoostControl
import RoostDriver
import RoostModel
import RoostOperations
import RoostStore

/// What must hold about copies of VMs, and about their kept moments.
extension Invariants {
    /// What was so when an operation was accepted.
    struct Moment {
        /// How often its VM had been brought back to a checkpoint.
        var reverts: Int
        /// How far its VM's guest had counted; `nil`: it had no machine.
        var memory: Int?
    }

    // MARK: What clients look up

    /// The names of VMs that could be forked or kept.
    var keepable: [String] {
        vms.values.filter { vm in
            vm.deletedAt == nil && !vm.spec.disposable && vm.status.state == .running
        }.map(\.name).sorted()
    }

    /// The checkpoints of the VM of that name.
    func checkpoints(of name: String) -> [CheckpointID] {
        guard let vm = names[NameRow.key("default", name)] else { return [] }
        return checkpoints.values.filter { $0.vm == vm }.map(\.id).sorted()
    }

    /// Those that it had.
    func forgotten(of name: String) -> [CheckpointID] {
        names[NameRow.key("default", name)].flatMap { forgotten[$0] } ?? []
    }

    // MARK: After each commit

    /// Whether the record of an operation says what its client was answered.
    func isRecorded(_ reply: Response, in row: OperationRow) -> Bool {
        guard row.state == .done else { return false }
        switch reply {
        case .vm(let outcome): return row.result == outcome.vm
        case .checkpoint(let checkpoint): return row.intent.action == .checkpoint(checkpoint.id)
        case .copies(let copies):
            return row.intent.copies == copies.map(\.vm.id)
                && copies.allSatisfy { operations[$0.operation]?.result == $0.vm }
        }
    }

    /// A checkpoint comes with the end of the request that made it, and only its parent ever changes.
    func kept(_ old: Checkpoint?, _ new: Checkpoint, _ batch: Batch) {
        if var old {
            let isOrphaned = batch.writes.contains { write in
                guard case .delete(Checkpoint.table, let key) = write else { return false }
                return key == old.parent?.description
            }
            require(
                old.parent == new.parent || isOrphaned,
                "checkpoint \(new.id.short) has another parent, and its own was not removed"
            )
            old.parent = new.parent
            return require(old == new, "checkpoint \(new.id.short) changed")
        }
        require(
            ends(batch) { row in
                guard row.state == .done else { return false }
                if case .derive(let order) = row.intent.action { return order.seal == new.id }
                return row.intent.action == .checkpoint(new.id)
            },
            "checkpoint \(new.id.short) came, and nobody made it"
        )
    }

    func forgot(_ key: String, _ batch: Batch) {
        guard let id = CheckpointID(key), let old = checkpoints.removeValue(forKey: id) else {
            return
        }
        forgotten[old.vm, default: []].append(id)
        require(
            ends(batch) { row in
                row.state == .done && row.vm == old.vm
                    && (row.intent.action == .forget(id) || row.intent.action == .purge)
            },
            "checkpoint \(id.short) went, and nobody removed it"
        )
    }

    private func ends(_ batch: Batch, _ isRight: (OperationRow) -> Bool) -> Bool {
        batch.writes.contains { write in
            guard case .put(let row as OperationRow) = write else { return false }
            return row.state.isTerminal && isRight(row)
        }
    }

    /// Every checkpoint is a VM's, and comes from another one of that VM or from its beginning.
    func checkTrees() {
        for checkpoint in checkpoints.values.sorted(by: { $0.id < $1.id }) {
            let what = "checkpoint \(checkpoint.id.short)"
            require(vms[checkpoint.vm] != nil, "\(what) belongs to a VM that is gone")
            var above = checkpoint.parent
            for _ in checkpoints {
                guard let id = above else { break }
                require(
                    checkpoints[id]?.vm == checkpoint.vm,
                    "\(what) comes from \(id.short), which is gone"
                )
                above = checkpoints[id]?.parent
            }
            require(above == nil, "\(what) comes from itself")
        }
        for vm in vms.values.sorted(by: { $0.id < $1.id }) {
            guard let id = vm.checkpoint else { continue }
            require(
                checkpoints[id]?.vm == vm.id,
                "\(vm.name) comes from checkpoint \(id.short), which is gone"
            )
        }
    }

    // MARK: What requests did

    func begun(_ row: OperationRow) {
        guard let node = host(of: row.vm) else { return }
        moments[row.id] = Moment(
            reverts: node.hypervisor.reverts(of: row.vm).count,
            memory: memory(of: row.vm, on: node)
        )
    }

    /// How far the guest has counted; -1 when it has just booted, `nil` when there is none.
    private func memory(of vm: VMID, on node: NodeHost) -> Int? {
        let machine = node.hypervisor.machines.last { $0.launch.id == vm }
        return machine.map { node.hypervisor.memory(of: $0.pid) ?? -1 }
    }

    func ended(_ row: OperationRow) {
        guard row.state.isTerminal, let moment = moments.removeValue(forKey: row.id),
            let node = host(of: row.vm)
        else { return }
        switch row.intent.action {
        case .revert(let order):
            let since = node.hypervisor.reverts(of: row.vm).dropFirst(moment.reverts)
            let folder = Self.folder(order.checkpoint, of: row.vm)
            if row.state == .done {
                require(
                    since.last == folder,
                    "\(row.vmName) was said to be brought back to \(order.checkpoint.short), "
                        + "and was not"
                )
                world?.mark("vm.brought-back")
            } else {
                // It was back, its node crashed before that was written down, and then the checkpoint was
                // damaged: nobody can go on, and nobody knows.
                let isDamaged =
                    row.fault?.fault.reason == .checkpointDamaged
                    && world?.damagedSaves.contains(folder) == true
                // It says so itself: it is back, and its guest does not answer any more.
                let saysSo = row.fault?.fault.message.contains(" is back, and ") == true
                require(
                    since.isEmpty || isDamaged || saysSo,
                    "\(row.vmName) was brought back, and answered with \(row.fault?.message ?? "")"
                )
            }
        case .fork, .branch:
            guard row.state == .done else { return }
            let isTemplate = row.intent.copies?.contains { vms[$0]?.seal != nil } == true
            world?.mark(isTemplate ? "vm.template-made" : "vm.forked")
            checkCopies(row, moment, node)
        case .checkpoint(let id):
            let folder = Self.folder(id, of: row.vm)
            guard row.state == .done else { return }
            require(
                node.hypervisor.isWhole(folder),
                "checkpoint \(id.short) of \(row.vmName) was acknowledged and is not there"
            )
        default: break
        }
    }

    /// Copies begin where what they are copied from was: the parent, between the request and now, or
    /// the checkpoint.
    private func checkCopies(_ row: OperationRow, _ moment: Moment, _ node: NodeHost) {
        let latest = node.hypervisor.diskCount(of: row.vm)
        for copy in row.intent.copies ?? [] {
            guard let began = beginning(of: copy, on: node) else { continue }
            let name = vms[copy]?.name ?? copy.short
            switch row.intent.action {
            case .branch(_, let id):
                guard let found = checkpoints[id], found.kept.hasMemory else { return }
                let folder = Self.folder(id, of: row.vm)
                guard world?.damagedSaves.contains(folder) == false else { return }
                let kept = node.hypervisor.keptMemory(in: folder)
                require(
                    kept == nil || kept == began,
                    "\(name) began at \(began), and its checkpoint is at \(kept ?? -1)"
                )
            default:
                // A parent that ended since has begun anew.
                let first = moment.memory ?? -1
                require(
                    began >= first && (latest < first || began <= latest),
                    "\(name) began at \(began), and its parent was at \(first) … \(latest)"
                )
            }
        }
    }

    /// Where the guest of `vm` began to count; `nil` when it never was.
    private func beginning(of vm: VMID, on node: NodeHost) -> Int? {
        node.hypervisor.said(vm).first.map { $0 - 1 } ?? memory(of: vm, on: node)
    }

    private func host(of vm: VMID) -> NodeHost? {
        world?.nodes.first { $0.id == vms[vm]?.status.node }
    }

    static func folder(_ checkpoint: CheckpointID, of vm: VMID) -> String {
        "/simulated/vms/\(vm)/checkpoints/\(checkpoint)"
    }

    // MARK: After each change on a host

    /// What is listed is there, unless its removal is under way.
    func lookAtCheckpoints(on node: NodeHost) {
        for checkpoint in checkpoints.values.sorted(by: { $0.id < $1.id }) {
            guard let vm = vms[checkpoint.vm], vm.status.node == node.id,
                !isBeingRemoved(checkpoint, of: vm)
            else { continue }
            require(
                node.hypervisor.isWhole(Self.folder(checkpoint.id, of: vm.id)),
                "checkpoint \(checkpoint.id.short) of \(vm.name) is listed, and \(node.name) has "
                    + "none"
            )
        }
    }

    private func isBeingRemoved(_ checkpoint: Checkpoint, of vm: VM) -> Bool {
        guard let running = vm.runningOp, let action = operations[running]?.intent.action else {
            return false
        }
        return action == .purge || action == .forget(checkpoint.id)
    }

    // MARK: Once the world has converged

    /// What `node` keeps that nobody needs, or has lost of what is listed.
    func strayMoments(on node: NodeHost) -> [String] {
        var found: [String] = []
        for folder in Set(node.hypervisor.savedFiles.map(Self.folder(of:))).sorted() {
            let words = folder.split(separator: "/").map(String.init)
            if words.count > 1, words[1] == "forks" {
                found.append("\(node.name) keeps the fork \(words.last ?? ""), and nobody needs it")
            }
            guard words.count == 5, words[3] == "checkpoints" else { continue }
            let listed = CheckpointID(words[4]).flatMap { checkpoints[$0] }
            if listed?.vm.description != words[2] {
                found.append("\(node.name) keeps the checkpoint \(words[4]), and nobody lists it")
            }
        }
        for checkpoint in checkpoints.values.sorted(by: { $0.id < $1.id }) {
            let folder = Self.folder(checkpoint.id, of: checkpoint.vm)
            guard vms[checkpoint.vm]?.status.node == node.id,
                world?.damagedSaves.isDisjoint(with: origins(of: checkpoint)) == true
            else { continue }
            if !node.hypervisor.isIntact(folder) {
                found.append("the checkpoint \(checkpoint.id.short) is not what it was")
            }
        }
        return found
    }

    /// Where what is kept as a checkpoint has been. A template's was a fork before, and perhaps
    /// another VM's checkpoint: damaged there, it is damaged in the template.
    private func origins(of checkpoint: Checkpoint) -> [String] {
        let folder = Self.folder(checkpoint.id, of: checkpoint.vm)
        guard case .derive(let order)? = operations[checkpoint.operation]?.intent.action else {
            return [folder]
        }
        let fork = operations[order.fork]
        guard let fork, case .branch(_, let source) = fork.intent.action else {
            return [folder, "/simulated/forks/\(order.fork)"]
        }
        let origin = Self.folder(source, of: fork.vm)
        return [folder, "/simulated/forks/\(order.fork)", origin]
    }

    private static func folder(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? path
    }
}
