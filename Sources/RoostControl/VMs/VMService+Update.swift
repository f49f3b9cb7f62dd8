import RoostLink
package import RoostModel
package import RoostOperations
package import RoostStore

/// A field that an update may change, by its path in the API.
package enum VMField: String, CaseIterable, Sendable {
    case labels
    case annotations
    case cpu = "spec.cpu"
    case memory = "spec.memory"
    case disk = "spec.disk"
    case ports = "spec.ports"
    case restart = "spec.restart"

    /// Whether a running VM can have it changed.
    package var isLive: Bool {
        switch self {
        case .labels, .annotations, .restart: true
        case .cpu, .memory, .disk, .ports: false
        }
    }
}

/// New values, and which of them are meant.
package struct VMUpdate: Sendable, Hashable {
    package var fields: Set<VMField>
    package var draft: VMDraft
    package var etag: Revision?

    package init(fields: Set<VMField>, draft: VMDraft, etag: Revision?) {
        self.fields = fields
        self.draft = draft
        self.etag = etag
    }
}

extension VMService {
    /// Changes the fields that the mask names. What the VMM cannot change while it runs takes effect
    /// at the next start, and is refused while the VM runs.
    ///
    /// - Throws: every violation at once, ``Reason/needsStopped``, ``Reason/staleEtag``,
    ///   ``Reason/portTaken``.
    package func update(
        _ reference: String,
        project: ProjectView,
        _ update: VMUpdate,
        _ context: RequestContext
    ) async throws(Fault) -> VMOutcome {
        guard !update.fields.isEmpty else { throw .invalid("update_mask", "names no field") }
        return try await once(context) { _ throws(Fault) in
            while true {
                let found = try await self.find(reference, project: project)
                let vm = try await self.changed(found, update, context)
                if context.validateOnly {
                    return .settled(self.outcome(found, changed: false, context))
                }
                if let done = try await self.write(vm, over: found, context) {
                    return .settled(done)
                }
            }
        }
    }

    private func changed(
        _ found: Versioned<VM>,
        _ update: VMUpdate,
        _ context: RequestContext
    ) async throws(Fault) -> VM {
        var vm = found.row
        if let etag = update.etag, etag != found.version { throw stale(vm) }
        let fixed = update.fields.filter { !$0.isLive }
        if let running = vm.runningOp {
            throw Fault(
                .opInProgress,
                "\(vm.name) is busy with \(running)",
                metadata: ["op": running.description]
            )
        }
        // The memory that a suspended VM comes back with fits its old shape only.
        let isFixed = vm.status.state.hasProcess || vm.status.state == .suspended
        guard fixed.isEmpty || !isFixed else {
            let names = fixed.map(\.rawValue).sorted().joined(separator: ", ")
            throw Fault(
                .needsStopped,
                "\(names) of \(vm.name) cannot change while it is \(vm.status.state.rawValue)",
                metadata: ["vm": vm.name, "state": vm.status.state.rawValue]
            )
        }
        let problems = problems(vm, update)
        guard problems.isEmpty else { throw .invalid(problems) }
        if update.fields.contains(.labels) { vm.labels = update.draft.labels }
        if update.fields.contains(.annotations) { vm.annotations = update.draft.annotations }
        if update.fields.contains(.restart) { vm.spec.restart = update.draft.restart }
        if update.fields.contains(.cpu) { vm.spec.cores = update.draft.cores ?? vm.spec.cores }
        if update.fields.contains(.memory) {
            vm.spec.memoryMiB = update.draft.memoryMiB ?? vm.spec.memoryMiB
        }
        if update.fields.contains(.disk) {
            vm.spec.rootDiskGiB = update.draft.rootDiskGiB ?? vm.spec.rootDiskGiB
        }
        if update.fields.contains(.ports), let node = vm.status.node {
            vm.spec.ports = try await choosePorts(update.draft.ports, on: node)
        }
        if vm.spec != found.row.spec { vm.generation += 1 }
        vm.lastOp = context.operation
        vm.updatedAt = now
        return vm
    }

    /// What is wrong with the fields that are meant, and only with those.
    private func problems(_ vm: VM, _ update: VMUpdate) -> [FieldViolation] {
        var whole = VMDraft(name: vm.name, cores: vm.spec.cores, memoryMiB: vm.spec.memoryMiB)
        whole.project = vm.project
        if update.fields.contains(.labels) { whole.labels = update.draft.labels }
        if update.fields.contains(.annotations) { whole.annotations = update.draft.annotations }
        if update.fields.contains(.cpu) { whole.cores = update.draft.cores }
        if update.fields.contains(.memory) { whole.memoryMiB = update.draft.memoryMiB }
        if update.fields.contains(.disk) { whole.rootDiskGiB = update.draft.rootDiskGiB }
        if update.fields.contains(.ports) { whole.ports = update.draft.ports }
        if update.fields.contains(.restart) { whole.restart = update.draft.restart }
        var found = whole.violations()
        if update.fields.contains(.disk), let size = update.draft.rootDiskGiB,
            size < vm.spec.rootDiskGiB
        {
            found.append(
                .init(
                    "spec.disk.size_gib",
                    "\(size) is less than now (\(vm.spec.rootDiskGiB)); a disk cannot shrink"
                )
            )
        }
        return found
    }

    /// `nil`: somebody else was first, look again.
    private func write(
        _ vm: VM,
        over found: Versioned<VM>,
        _ context: RequestContext
    ) async throws(Fault) -> VMOutcome? {
        let intent = LifecycleIntent(
            action: .provision,
            formerDesired: vm.desired,
            failurePrefix: "Failed to update: "
        )
        var row = operation(context, vm, intent)
        row.changed =
            vm.spec != found.row.spec || vm.labels != found.row.labels
            || vm.annotations != found.row.annotations
        row.finish(.done, fault: nil, result: vm, at: now)
        var batch = Batch()
        batch.replace(found, with: vm)
        batch.insert(row)
        if let node = vm.status.node {
            let old = Set(found.row.spec.ports.map { PortRow(node: node, port: $0, vm: vm.id).key })
            let new = Set(vm.spec.ports.map { PortRow(node: node, port: $0, vm: vm.id).key })
            for port in vm.spec.ports {
                let portRow = PortRow(node: node, port: port, vm: vm.id)
                if !old.contains(portRow.key) { batch.insert(portRow) }
            }
            for key in old.subtracting(new).sorted() { batch.delete(PortRow.self, key) }
        }
        do throws(Fault) {
            let revision = try await commit(batch)
            // Its labels may count for the rules of others.
            parts.nodes.count(vm)
            // A policy may have been given to one that has failed.
            restartIfWished(vm)
            return VMOutcome(
                vm: vm,
                etag: revision,
                changed: row.changed,
                operation: context.operation
            )
        } catch  where error.reason == .storeConflict {
            let current = try await parts.store.get(VM.self, vm.key)
            guard current?.version == found.version else { return nil }
            throw Fault(.portTaken, "a published port was taken: \(error.message)")
        }
    }

    /// Takes the node's word for what a VM is, and frees it from an operation that nobody runs.
    ///
    /// For an operator, when a state is stuck. What the node says is never doubted.
    package func resetState(
        _ reference: String,
        project: ProjectView,
        _ context: RequestContext
    ) async throws(Fault) -> VMOutcome {
        try await once(context) { _ throws(Fault) in
            while true {
                let found = try await self.find(reference, project: project)
                if let running = found.row.runningOp, self.ledger.runs(running) {
                    throw Fault(
                        .opInProgress,
                        "\(found.row.name) is busy with \(running), which is being carried out",
                        metadata: ["op": running.description]
                    )
                }
                let link = try self.parts.nodes.link(found.row.status.node)
                let seen = try await link.inspect(found.row.id)
                var vm = found.row
                vm.runningOp = nil
                if let seen {
                    self.take(
                        seen,
                        into: &vm,
                        reason: "reset to what the node says: \(seen.reason)"
                    )
                } else {
                    _ = vm.become(
                        .failed,
                        reason: "reset: the node holds nothing of it",
                        at: self.now
                    )
                }
                if let done = try await self.write(vm, over: found, context) {
                    return .settled(done)
                }
            }
        }
    }
}
