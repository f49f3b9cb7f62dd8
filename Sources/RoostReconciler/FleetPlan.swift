package import RoostModel

/// What is to be done until the VMs of a fleet are what its state says. Decides; does nothing.
package struct FleetPlan: Hashable, Sendable {
    /// What one VM needs.
    package enum Change: Hashable, Sendable {
        case create
        /// These fields, while it runs.
        case update([String])
        /// These fields, for which it has to be down for a moment. Its disk stays.
        case restart([String])
        /// A new VM in its place: these fields cannot change. The old one's disk goes to the trash.
        case replace([String])
        case start
        case stop
        /// To the trash: the state no longer names it.
        case remove
        /// Nothing can be done before somebody has seen to this.
        case blocked(String)
    }

    /// One VM and what it needs.
    package struct Step: Hashable, Sendable {
        package var name: String
        package var group: String
        /// `nil`: it is not there yet.
        package var vm: VMID?
        package var change: Change
        /// The operation that holds it now.
        package var runningOp: OperationID?
        /// `nil`: it is not there yet.
        package var state: VMState?

        /// Whether it has a process: doing something to it costs somebody something.
        package var isUp: Bool { state?.hasProcess ?? false }
    }

    /// What is to be done, by name.
    package var steps: [Step]
    /// VMs that shall be there, and those of them that are as they shall be.
    package var wanted: Int
    package var settled: Int

    /// Compares `state` with `present`: the VMs of its project that are not deleted. `drained`: what
    /// people call the nodes on which nothing shall run.
    package init(_ state: FleetState, present: [VM], drained: [NodeID: String] = [:]) {
        let byName = Dictionary(present.map { ($0.name, $0) }) { first, _ in first }
        var steps: [Step] = []
        let members = state.members
        var names: Set<String> = []
        for (name, group) in members {
            names.insert(name)
            var change = byName[name].map { Self.change($0, state, group) } ?? .create
            if change == .start, let node = byName[name]?.status.node, let drained = drained[node] {
                change = .blocked(
                    "its disk is on \(drained), which is drained: roost node uncordon \(drained); "
                        + "or, for a new one elsewhere with an empty disk: roost rm \(name)"
                )
            }
            guard let change else { continue }
            steps.append(Step(name, group.name, byName[name], change))
        }
        for vm in present where vm.member?.fleet == state.name && !names.contains(vm.name) {
            steps.append(Step(vm.name, vm.member?.group ?? "", vm, .remove))
        }
        wanted = members.count
        settled = members.count - steps.count { $0.change != .remove }
        self.steps = steps.sorted { $0.name < $1.name }
    }

    /// Whether everything is as it shall be.
    package var isSettled: Bool { steps.isEmpty }

    /// The hundredth parts that are as they shall be; 100 only when nothing is left to do.
    package var percent: Int {
        if isSettled { return 100 }
        return wanted == 0 ? 0 : min(99, settled * 100 / wanted)
    }

    /// Sixteen digits that differ for plans that differ (FNV-1a). No secret.
    package var fingerprint: String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        let lines = steps.map { "\($0.name)/\($0.group)/\($0.vm?.description ?? "-") \($0.change)" }
        for byte in lines.joined(separator: "\n").utf8 {
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
        }
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }

    /// What is to be done now and was not before, and the other way round, in words.
    package func difference(from former: FleetPlan?) -> [String] {
        guard let former else { return steps.map { "\($0.name): \($0.change.words)" } }
        let before = Dictionary(former.steps.map { ($0.name, $0) }) { first, _ in first }
        let after = Dictionary(steps.map { ($0.name, $0) }) { first, _ in first }
        return Set(before.keys).union(after.keys).sorted().compactMap { name in
            let (old, new) = (before[name], after[name])
            guard old?.change != new?.change || old?.vm != new?.vm else { return nil }
            let was = old?.change.words ?? "nothing"
            return "\(name): \(was) before, \(new?.change.words ?? "nothing") now"
        }
    }

    // MARK: One VM

    /// `nil`: it is as it shall be.
    private static func change(_ vm: VM, _ state: FleetState, _ group: FleetGroup) -> Change? {
        guard let member = vm.member, member.fleet == state.name else {
            let owner = vm.member.map { "the fleet \($0.fleet)" } ?? "nobody's fleet"
            return .blocked("a VM of that name is there already and belongs to \(owner)")
        }
        switch vm.status.state {
        case .deleting: return .create
        case .lost: return .blocked("its node is not heard of, and it may run there")
        case .failed where vm.createOp == vm.lastOp:
            return .replace(["it never came to be: \(vm.status.reason)"])
        default: break
        }
        let fixed = replacing(vm, member, group)
        if !fixed.isEmpty { return .replace(fixed) }
        let shape = restarting(vm, group.draft)
        if !shape.isEmpty { return .restart(shape) }
        let live = updating(vm, group.draft)
        if !live.isEmpty { return .update(live) }
        return power(vm, group)
    }

    /// What only a new VM can have.
    private static func replacing(_ vm: VM, _ member: FleetMember, _ group: FleetGroup) -> [String]
    {
        let draft = group.draft
        let wanted = FleetMember(fleet: member.fleet, group: group)
        var fields: [String] = []
        if member.image != wanted.image { fields.append("spec.image") }
        if member.kernel != wanted.kernel { fields.append("spec.kernel") }
        if vm.spec.network != draft.network { fields.append("spec.network") }
        if let disk = draft.rootDiskGiB, disk < vm.spec.rootDiskGiB { fields.append("spec.disk") }
        if member.node != wanted.node { fields.append("node") }
        if member.placement != wanted.placement { fields.append("spec.placement") }
        return fields
    }

    private static func restarting(_ vm: VM, _ draft: VMDraft) -> [String] {
        var fields: [String] = []
        if let cores = draft.cores, cores != vm.spec.cores { fields.append("spec.cpu") }
        if let memory = draft.memoryMiB, memory != vm.spec.memoryMiB {
            fields.append("spec.memory")
        }
        if let disk = draft.rootDiskGiB, disk > vm.spec.rootDiskGiB { fields.append("spec.disk") }
        if !agree(draft.ports, vm.spec.ports) { fields.append("spec.ports") }
        return fields
    }

    /// Host port 0 is whichever was free.
    private static func agree(_ wanted: [PublishedPort], _ found: [PublishedPort]) -> Bool {
        guard wanted.count == found.count else { return false }
        var left = found
        for port in wanted.sorted(by: { $0.hostPort > $1.hostPort }) {
            let match = left.firstIndex {
                $0.guestPort == port.guestPort && $0.transport == port.transport
                    && $0.hostAddress == port.hostAddress
                    && (port.hostPort == 0 || $0.hostPort == port.hostPort)
            }
            guard let match else { return false }
            left.remove(at: match)
        }
        return true
    }

    private static func updating(_ vm: VM, _ draft: VMDraft) -> [String] {
        var fields: [String] = []
        if vm.labels != draft.labels { fields.append("labels") }
        if vm.annotations != draft.annotations { fields.append("annotations") }
        if vm.spec.restart != draft.restart { fields.append("spec.restart") }
        return fields
    }

    private static func power(_ vm: VM, _ group: FleetGroup) -> Change? {
        let policy = vm.spec.restart
        if group.runs {
            guard vm.status.state != .running else { return nil }
            let hasGivenUp =
                vm.status.state == .failed && policy.mode != .never && policy.maxRestarts > 0
                && vm.status.restarts >= policy.maxRestarts
            guard !hasGivenUp else {
                return .blocked("its restart policy has given up: \(vm.status.reason)")
            }
            return .start
        }
        return vm.status.state.hasProcess || vm.status.state == .suspended ? .stop : nil
    }
}

extension FleetPlan.Step {
    fileprivate init(_ name: String, _ group: String, _ vm: VM?, _ change: FleetPlan.Change) {
        self.init(
            name: name,
            group: group,
            vm: vm?.id,
            change: change,
            runningOp: vm?.runningOp,
            state: vm?.status.state
        )
    }
}

extension FleetPlan.Step {
    /// Whether a VM comes to be by it.
    package var makesNew: Bool {
        switch change {
        case .create, .replace: true
        case .update, .restart, .start, .stop, .remove, .blocked: false
        }
    }
}

extension FleetPlan.Change {
    /// In one word: how people and programs call it.
    package var verb: String {
        switch self {
        case .create: "create"
        case .update: "update"
        case .restart: "restart"
        case .replace: "replace"
        case .start: "start"
        case .stop: "stop"
        case .remove: "remove"
        case .blocked: "blocked"
        }
    }

    /// The fields that are different, or why nothing can be done.
    package var details: [String] {
        switch self {
        case .create, .start, .stop, .remove: []
        case .update(let fields), .restart(let fields), .replace(let fields): fields
        case .blocked(let why): [why]
        }
    }

    /// Such as `restart (spec.memory)`.
    package var words: String {
        details.isEmpty ? verb : "\(verb) (\(details.joined(separator: ", ")))"
    }
}
