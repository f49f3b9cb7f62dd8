import RoostControl
import RoostDriver
import RoostHost
import RoostLink
import RoostModel
import RoostNode
import RoostOperations
import RoostScheduler
import RoostStore

extension Invariants {
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
        found += fleetProblems(world)
        found += drainProblems()
        return found
    }

    private func problems(of vm: VM, _ world: World) -> [String] {
        guard let node = world.nodes.first(where: { $0.id == vm.status.node }) else {
            return ["\(vm.name) is on no node"]
        }
        let machine = node.hypervisor.machines.first { $0.launch.id == vm.id }
        let disks = node.disk.content
        let saved = "/simulated/vms/\(vm.id)/saved"
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
        if state != .suspended, node.hypervisor.isWhole(saved) {
            found.append("\(what) and its memory is kept, which is older than its disk")
        }
        found += guestProblems(vm)
        if state == .running, disks.live[vm.id]?.isUnrenewed == true {
            found.append("\(what) and believes to be its template")
        }
        switch state {
        case .running where machine?.isPaused != false:
            found.append("\(what) and its VMM is not")
        case .paused where machine?.isPaused != true:
            found.append("\(what) and its VMM is not")
        case .stopped where machine != nil, .failed where machine != nil:
            found.append("\(what) and has a VMM")
        case .suspended where machine != nil:
            found.append("\(what) and has a VMM")
        case .suspended where !node.hypervisor.isWhole(saved):
            found.append("\(what) and its memory is not kept")
        case .stopped where disks.live[vm.id] == nil, .suspended where disks.live[vm.id] == nil:
            found.append("\(what) and has no disks")
        case .running, .paused, .stopped, .failed, .suspended: break
        default: found.append("\(what), in passing")
        }
        let waits = wishesRestart(vm)
        let room = world.control?.service?.nodes.fleet.free(node.id)
        let fits = room.map {
            $0.cores >= vm.spec.cores && $0.memoryMiB >= vm.spec.memoryMiB
        }
        if waits, fits == true {
            found.append("\(what), and its policy wishes that it is started again")
        }
        let bound = vm.spec.restart.maxRestarts
        let isGivenUp =
            vm.spec.restart.mode == .always && bound > 0 && vm.status.restarts >= bound
        let isAsWished =
            vm.desired.rawValue == state.rawValue || state == .failed || isGivenUp
        if !isAsWished, !waits { found.append("\(what) and shall be \(vm.desired.rawValue)") }
        return found
    }

    private func wishesRestart(_ vm: VM) -> Bool {
        let policy = vm.spec.restart
        guard vm.desired == .running, policy.mode != .never,
            policy.maxRestarts == 0 || vm.status.restarts < policy.maxRestarts
        else { return false }
        return vm.status.state == .failed || (vm.status.state == .stopped && policy.mode == .always)
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
        for path in node.hypervisor.savedFiles {
            guard let id = World.owner(ofSave: path), vms[id] == nil else { continue }
            found.append("\(node.name) keeps memory of \(id.short), which nobody knows")
        }
        found += strayMoments(on: node)
        for name in content.templates.sorted()
        where !node.hypervisor.isWhole("/simulated/templates/\(name)") {
            found.append("\(node.name) has a half template \(name)")
        }
        let store = MemoryStore(disk: node.rows)
        if let builders = try? store.list(TemplateRow.self, Query()).rows, !builders.isEmpty {
            found.append("\(node.name) is making a template")
        }
        guard let rows = try? store.list(AssignmentRow.self, Query()).rows
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
            // A guest that powered off is noted there; whether it runs again is its policy's.
            let isOff = vm.status.state == .stopped && vm.spec.restart.mode == .always
            if row.assignment.desired != vm.desired, vm.status.state != .failed, !isOff {
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
        let fleet = control.nodes.fleet
        for node in fleet.nodes {
            let runs = vms.values.filter {
                $0.status.node == node.id && $0.status.state.hasProcess
            }
            let cores = runs.reduce(0) { $0 + $1.spec.cores }
            let memory = runs.reduce(0) { $0 + $1.spec.memoryMiB }
            guard let free = fleet.free(node.id) else { continue }
            let promisedCores = node.promisableCores - free.cores
            let promisedMemory = node.promisableMemoryMiB - free.memoryMiB
            if promisedCores != cores || promisedMemory != memory {
                found.append(
                    "node \(node.id.short) has promised \(promisedCores) cores and "
                        + "\(promisedMemory) MiB; \(cores) and \(memory) run"
                )
            }
        }
        return found
    }
}
