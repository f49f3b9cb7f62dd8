import Logging
import RoostLink
package import RoostModel
package import RoostOperations
import RoostScheduler
package import RoostStore

/// What is to be made of a VM.
package struct ForkOrder: Sendable, Hashable {
    /// What the copies are.
    package enum Kind: Sendable, Hashable {
        /// VMs that run, from where the VM runs or from a checkpoint.
        case forks
        /// VMs that are stopped, with the disk of a stopped VM or of a checkpoint; `isWhole`: with
        /// every byte of their own.
        case clones(isWhole: Bool)
        /// Templates, of a stopped VM or a checkpoint.
        case templates
    }

    package var kind: Kind
    /// The copies' names; empty: as many as `count`, after the VM with the first free numbers.
    package var names: [String]
    /// 1 … 64; `nil`: one for each name, or one.
    package var count: Int?
    /// The checkpoint of the VM that is copied, by id or unique prefix; empty: the VM as it runs.
    package var checkpoint: String
    /// Happen only if the VM is still the one that was read.
    package var etag: Revision?

    package init(
        _ kind: Kind = .forks,
        names: [String] = [],
        count: Int? = nil,
        checkpoint: String = "",
        etag: Revision? = nil
    ) {
        self.kind = kind
        self.names = names
        self.count = count
        self.checkpoint = checkpoint
        self.etag = etag
    }

    /// How many copies.
    var number: Int { count ?? max(names.count, 1) }

    /// Everything that is wrong with it, in the order of the fields.
    var violations: [FieldViolation] {
        var found: [FieldViolation] = []
        let limits = Limits.forks
        if !limits.contains(number) {
            let text = "\(number) is outside \(limits.lowerBound) … \(limits.upperBound)"
            found.append(.init(count == nil ? "names" : "count", text))
        } else if !names.isEmpty, number != names.count {
            found.append(.init("count", "\(number) copies have \(names.count) names"))
        }
        for (index, name) in names.prefix(limits.upperBound).enumerated() {
            if let problem = nameProblem(name) {
                found.append(.init("names[\(index)]", problem))
            } else if names[..<index].contains(name) {
                found.append(.init("names[\(index)]", "'\(name)' is there twice"))
            }
        }
        return found
    }
}

extension ForkOrder.Kind {
    /// What is done to the VM, in words.
    var verb: String {
        switch self {
        case .forks: "fork"
        case .clones: "clone"
        case .templates: "make a template of"
        }
    }

    /// What a node does to begin `copy` as one of `fork`.
    func beginning(_ copy: VM, _ fork: OperationID) -> NodeAction {
        switch self {
        case .forks: .become(fork)
        case .clones(let isWhole):
            .derive(DeriveOrder(fork: fork, isWhole: isWhole, seal: nil))
        case .templates:
            .derive(DeriveOrder(fork: fork, isWhole: false, seal: copy.seal?.checkpoint))
        }
    }
}

extension VMService {
    /// Makes copies of a VM, or of a checkpoint, in the order of their names; all of them, or none.
    ///
    /// Accepted by one commit: the operation on the VM, and for each copy its row, name, ports and an
    /// operation whose id follows from this one's and the copy. The room is promised before.
    /// - Throws: every violation of the order at once, ``Reason/wrongState`` for a VM that does not
    ///   run and is to be forked, ``Reason/needsStopped`` for one that is not stopped and is to be
    ///   cloned, ``Reason/opInProgress``, ``Reason/nameTaken``, ``Reason/noCapacity`` with the number
    ///   that would fit, ``Reason/staleEtag``, and what the node says; then there is no copy.
    package func fork(
        _ reference: String,
        project: ProjectView,
        _ order: ForkOrder,
        _ context: RequestContext
    ) async throws(Fault) -> [VMOutcome] {
        let violations = order.violations
        guard violations.isEmpty else { throw .invalid(violations) }
        if context.validateOnly {
            let plan = try await planFork(reference, project, order, context)
            _ = try promiseAll(plan)
            for copy in plan.copies { parts.nodes.forget(copy.id) }
            return plan.copies.map { copy in
                VMOutcome(vm: copy, etag: nil, changed: false, operation: copy.createOp)
            }
        }
        let outcome = try await once(context) { _ throws(Fault) in
            try await self.acceptFork(reference, project, order, context)
        }
        return try await copies(of: outcome.operation)
    }

    /// The first answers of the copies that `operation` made.
    private func copies(of operation: OperationID) async throws(Fault) -> [VMOutcome] {
        var found: [VMOutcome] = []
        let row = try await parts.store.get(OperationRow.self, operation.description)?.row
        for id in row?.intent.copies ?? [] {
            let key = operation.child(id.description).description
            guard let row = try await parts.store.get(OperationRow.self, key)?.row else { continue }
            found.append(try await replay(row))
        }
        return found
    }

    // MARK: Accepting

    /// What a fork comes to, given the VM as it is.
    private struct ForkPlan {
        var found: Versioned<VM>
        var kind: ForkOrder.Kind
        var node: NodeID
        var copies: [VM]
        /// What is copied; `nil`: the VM as it runs.
        var checkpoint: CheckpointID?

        /// What the node does first, under the op id.
        func action(_ operation: OperationID) -> NodeAction {
            if let checkpoint { return .branch(operation, checkpoint) }
            return kind == .forks ? .fork(operation) : .freeze(operation)
        }
    }

    private func planFork(
        _ reference: String,
        _ project: ProjectView,
        _ order: ForkOrder,
        _ context: RequestContext
    ) async throws(Fault) -> ForkPlan {
        let found = try await find(reference, project: project)
        let vm = found.row
        if let etag = order.etag, etag != found.version { throw stale(vm) }
        if let running = vm.runningOp, running != context.operation {
            try await makeWay(vm, running, preempts: false)
        }
        let source = try await source(order, of: vm)
        guard let node = vm.status.node else { throw wrongState(order.kind.verb, vm) }
        guard !vm.spec.disposable else {
            throw .invalid("id", "\(vm.name) goes when its command ends; run one with --name")
        }
        var copies: [VM] = []
        var nextPort = 20_000
        for name in try await names(order, of: vm) {
            let id: VMID = parts.surroundings.identifier()
            var spec = source?.spec ?? vm.spec
            if order.kind == .templates {
                // It never runs: only those that are made from it have ports and a place.
                (spec.ports, spec.placement) = ([], nil)
            }
            // A host port has one owner: the copies' guests are reached by ports of their own.
            for index in spec.ports.indices { spec.ports[index].hostPort = 0 }
            spec.ports = try await choosePorts(spec.ports, on: node, from: &nextPort)
            let runs = order.kind == .forks
            let state: VMState = runs ? .starting : .provisioning
            var copy = VM(
                id: id,
                name: name,
                project: vm.project,
                labels: order.kind == .templates ? [:] : vm.labels,
                annotations: vm.annotations,
                spec: spec,
                desired: runs ? .running : .stopped,
                status: VMStatus(state: state, reason: "accepted", since: now, node: node),
                createdAt: now,
                operation: context.operation.child(id.description)
            )
            if order.kind == .templates {
                copy.seal = TemplateSeal(
                    checkpoint: parts.surroundings.identifier(),
                    origin: source.map { "\(vm.name)@\($0.id.description.prefix(8))" } ?? vm.name
                )
            }
            copies.append(copy)
        }
        return ForkPlan(
            found: found,
            kind: order.kind,
            node: node,
            copies: copies,
            checkpoint: source?.id
        )
    }

    /// The checkpoint that is to be copied; `nil` for the VM as it runs.
    private func source(_ order: ForkOrder, of vm: VM) async throws(Fault) -> Checkpoint? {
        guard order.checkpoint.isEmpty else {
            switch vm.status.state {
            case .running, .paused, .stopped, .suspended, .failed:
                return try await checkpoint(order.checkpoint, of: vm)
            default: throw wrongState(order.kind.verb, vm)
            }
        }
        if order.kind == .forks {
            guard vm.status.state == .running else { throw wrongState("fork", vm) }
            return nil
        }
        guard vm.status.state == .stopped else { throw notStopped(order.kind.verb, vm) }
        return nil
    }

    private func notStopped(_ verb: String, _ vm: VM) -> Fault {
        let name = vm.name
        let also = verb == "clone" ? ", or copy it as it runs: roost fork \(name)" : ""
        return Fault(
            .needsStopped,
            "cannot \(verb) \(name) while it is \(vm.status.state.rawValue), since its disk changes: stop "
                + "it, or keep it and name that, roost checkpoint \(name) and \(name)@CHECKPOINT\(also)",
            metadata: ["vm": name, "state": vm.status.state.rawValue]
        )
    }

    /// The names as asked for, or the first ones that are free.
    private func names(_ order: ForkOrder, of vm: VM) async throws(Fault) -> [String] {
        for name in order.names {
            let isTemplate = order.kind == .templates
            if try await isTaken(isTemplate ? NameRow.template(name) : name, vm.project) {
                throw taken(name, vm.project, isTemplate ? "template" : "VM")
            }
        }
        guard order.names.isEmpty else { return order.names }
        var names: [String] = []
        var number = 1
        while names.count < order.number {
            let name = "\(vm.name)-\(number)"
            if let problem = nameProblem(name) { throw .invalid("names", problem) }
            if try await !isTaken(name, vm.project) { names.append(name) }
            number += 1
        }
        return names
    }

    private func isTaken(_ name: String, _ project: String) async throws(Fault) -> Bool {
        try await parts.store.get(NameRow.self, NameRow.key(project, name)) != nil
    }

    private func taken(_ name: String, _ project: String, _ noun: String) -> Fault {
        Fault(
            .nameTaken,
            "a \(noun) named \(name) exists in project \(project)",
            metadata: ["name": name]
        )
    }

    /// Promises every copy its room where the memory is, or none. Its node must take new VMs, and the
    /// rules that it has from its parent hold for it too.
    private func promiseAll(_ plan: ForkPlan) throws(Fault) -> [NodeDirectory.Decided] {
        var decisions: [NodeDirectory.Decided] = []
        for (index, copy) in plan.copies.enumerated() {
            do throws(Fault) {
                var request = PlacementRequest(copy)
                request.node = plan.node
                let runs = plan.kind == .forks
                decisions.append(try parts.nodes.place(request, for: copy.id, isRunning: runs))
            } catch {
                for promised in plan.copies[..<index] { parts.nodes.forget(promised.id) }
                var fault = error
                fault.message =
                    "there is room for \(index) of \(plan.copies.count) copies of "
                    + "\(plan.found.row.name): \(error.message)"
                fault.metadata["fits"] = "\(index)"
                throw fault
            }
        }
        return decisions
    }

    private func acceptFork(
        _ reference: String,
        _ project: ProjectView,
        _ order: ForkOrder,
        _ context: RequestContext
    ) async throws(Fault) -> Accepted {
        while true {
            let plan = try await planFork(reference, project, order, context)
            let decisions = try promiseAll(plan)
            do throws(Fault) {
                if let accepted = try await commitFork(plan, decisions, context) {
                    return accepted
                }
            } catch {
                for copy in plan.copies {
                    parts.nodes.forget(copy.id)
                    ledger.end(copy.createOp)
                }
                throw error
            }
            for copy in plan.copies {
                parts.nodes.forget(copy.id)
                ledger.end(copy.createOp)
            }
        }
    }

    /// `nil`: somebody else was first, look again.
    private func commitFork(
        _ plan: ForkPlan,
        _ decisions: [NodeDirectory.Decided],
        _ context: RequestContext
    ) async throws(Fault) -> Accepted? {
        var vm = plan.found.row
        vm.generation += 1
        vm.runningOp = context.operation
        vm.lastOp = context.operation
        vm.updatedAt = now
        let row = operation(
            context,
            vm,
            LifecycleIntent(
                action: plan.action(context.operation),
                formerDesired: vm.desired,
                failurePrefix: "Failed to \(plan.kind.verb): ",
                copies: plan.copies.map(\.id)
            )
        )
        // Whoever pre-empts a copy waits for its operation, so that it is known before it is durable.
        for copy in plan.copies { _ = ledger.begin(copy.createOp) }
        var batch = forkBatch(plan, vm, row, context)
        for (copy, decided) in zip(plan.copies, decisions) {
            batch.put(placementRow(copy, decided, isExplicit: true))
        }
        if let decided = decisions.first { require(decided, &batch) }
        do throws(Fault) {
            try await parts.failpoints.pass(.beforeAccept)
            try await commit(batch)
            return .toDrive(row, vm)
        } catch  where error.reason == .storeConflict {
            parts.failpoints.mark(.overtaken)
            if try await parts.store.get(OperationRow.self, row.key) != nil {
                throw Fault(.storeConflict, "op id \(row.id) was accepted meanwhile; send it again")
            }
            _ = try await isOvertaken(error, plan.node)
            return nil
        }
    }

    private func forkBatch(
        _ plan: ForkPlan,
        _ vm: VM,
        _ row: OperationRow,
        _ context: RequestContext
    ) -> Batch {
        var batch = Batch()
        batch.insert(row)
        batch.replace(plan.found, with: vm)
        for copy in plan.copies {
            var own = context
            own.operation = copy.createOp
            batch.insert(
                operation(
                    own,
                    copy,
                    LifecycleIntent(
                        action: plan.kind.beginning(copy, context.operation),
                        formerDesired: nil,
                        removesRow: true,
                        isCreate: true,
                        failurePrefix: "Failed to \(plan.kind.verb): "
                    )
                )
            )
            batch.insert(copy.nameRow)
            for port in copy.spec.ports {
                batch.insert(PortRow(node: plan.node, port: port, vm: copy.id))
            }
            batch.insert(copy)
        }
        return batch
    }
}
