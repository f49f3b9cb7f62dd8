package import RoostModel
package import RoostOperations
package import RoostStore

extension VMService {
    /// Brings a VM back from the trash, under `newName` if its old one is taken.
    ///
    /// - Throws: ``Reason/nameTaken`` when no free name was given, ``Reason/wrongState`` when it is
    ///   not in the trash, ``Reason/portTaken`` when somebody else publishes its ports now,
    ///   ``Reason/noNodeFits`` when a VM is on its node by now that it must be apart from.
    package func undelete(
        _ reference: String,
        project: ProjectView,
        newName: String,
        etag: Revision?,
        _ context: RequestContext
    ) async throws(Fault) -> VMOutcome {
        if !newName.isEmpty, let problem = nameProblem(newName) {
            throw .invalid("new_name", problem)
        }
        return try await once(context) { _ throws(Fault) in
            let found = try await self.trashed(reference, project)
            if let etag, etag != found.version { throw self.stale(found.row) }
            var vm = found.row
            try self.parts.nodes.admit(vm)
            if !newName.isEmpty { vm.name = newName }
            vm.generation += 1
            vm.desired = .stopped
            // Whoever brings it back wants it, whatever a fleet's state says.
            vm.member = nil
            vm.runningOp = context.operation
            vm.lastOp = context.operation
            vm.updatedAt = self.now
            let intent = LifecycleIntent(
                action: .restore,
                formerDesired: .stopped,
                failurePrefix: "Failed to undelete: "
            )
            let row = self.operation(context, vm, intent)
            var batch = Batch()
            batch.replace(found, with: vm)
            batch.insert(row)
            batch.insert(NameRow(project: vm.project, name: vm.name, vm: vm.id))
            if let node = vm.status.node {
                for port in vm.spec.ports {
                    batch.insert(PortRow(node: node, port: port, vm: vm.id))
                }
            }
            if context.validateOnly {
                await self.recount(vm.id)
                return .settled(self.outcome(found, changed: false, context))
            }
            do throws(Fault) {
                try await self.parts.failpoints.pass(.beforeAccept)
                try await self.commit(batch)
            } catch {
                await self.recount(vm.id)
                guard error.reason == .storeConflict else { throw error }
                throw try await self.conflict(of: vm, error)
            }
            self.parts.nodes.count(vm)
            return .toDrive(row, vm)
        }
    }

    private func conflict(of vm: VM, _ fault: Fault) async throws(Fault) -> Fault {
        if try await parts.store.get(NameRow.self, NameRow.key(vm.project, vm.name)) != nil {
            return Fault(
                .nameTaken,
                "a VM named \(vm.name) exists; give the one from the trash a new name",
                metadata: ["name": vm.name]
            )
        }
        if let node = vm.status.node {
            for port in vm.spec.ports {
                let key = PortRow(node: node, port: port, vm: vm.id).key
                if try await parts.store.get(PortRow.self, key) != nil {
                    return Fault(
                        .portTaken,
                        "host port \(port.hostPort) is published by another VM"
                    )
                }
            }
        }
        return fault
    }

    private func trashed(
        _ reference: String,
        _ project: ProjectView
    ) async throws(Fault) -> Versioned<VM> {
        let found = try await inTrash(reference, project)
        guard found.row.deletedAt != nil else {
            throw Fault(
                .wrongState,
                "\(found.row.name) is not in the trash: it is \(found.row.status.state.rawValue)",
                metadata: ["vm": found.row.name]
            )
        }
        if let running = found.row.runningOp {
            throw Fault(
                .opInProgress,
                "\(found.row.name) is busy with \(running)",
                metadata: ["op": running.description]
            )
        }
        return found
    }

    /// What `reference` means to somebody who looks into the trash: there a name belongs to the VM
    /// that was deleted last, whoever bears it among the living.
    private func inTrash(
        _ reference: String,
        _ project: ProjectView
    ) async throws(Fault) -> Versioned<VM> {
        if VMID(reference) == nil, let found = try await lastDeleted(reference, project) {
            return found
        }
        return try await find(reference, project: project)
    }

    /// Removes every byte of a VM in the trash.
    package func purge(
        _ reference: String,
        project: ProjectView,
        etag: Revision? = nil,
        _ context: RequestContext
    ) async throws(Fault) -> VMOutcome {
        try await once(context) { live throws(Fault) in
            try await self.accept(live, context) { () async throws(Fault) -> Acceptance in
                let found = try await self.trashed(reference, project)
                if let etag, etag != found.version { throw self.stale(found.row) }
                let intent = LifecycleIntent(
                    action: .purge,
                    formerDesired: .stopped,
                    removesRow: true,
                    failurePrefix: "Failed to purge: "
                )
                var vm = found.row
                vm.generation += 1
                return Acceptance(found: found, vm: vm, intent: intent, preempts: false)
            }
        }
    }

    /// Purges what has been in the trash for its time, at most 100 VMs a call.
    ///
    /// - Returns: how many.
    package func purgeExpired() async throws(Fault) -> Int {
        let due = now
        let rows = try await parts.store.list(VM.self, Query()).rows
            .filter { found in
                guard let purgeAt = found.row.purgeAt else { return false }
                return purgeAt <= due && found.row.runningOp == nil
            }
        for found in rows.prefix(100) {
            let context = RequestContext(
                operation: parts.surroundings.operationID(),
                principal: "system",
                method: "PurgeVM",
                digest: "expired:\(found.row.id)"
            )
            _ = try await purge(
                found.row.id.description,
                project: ProjectView(found.row.project),
                context
            )
        }
        return min(rows.count, 100)
    }
}
