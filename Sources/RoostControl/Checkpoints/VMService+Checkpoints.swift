import RoostLink
package import RoostModel
package import RoostOperations
package import RoostStore

/// Kept moments of VMs: made, listed, gone back to, removed. README.md has the tree.
extension VMService {
    /// Keeps a VM as it is now: memory and disk of a RUNNING or PAUSED one, the disk of a STOPPED one.
    ///
    /// - Returns: the checkpoint; when only accepted, or only checked, as it is going to be, with
    ///   nothing kept yet.
    /// - Throws: what is wrong with the message, ``Reason/wrongState``, ``Reason/opInProgress``,
    ///   ``Reason/limitExceeded``, ``Reason/staleEtag``, and what the node says.
    package func makeCheckpoint(
        _ reference: String,
        project: ProjectView,
        message: String,
        etag: Revision?,
        _ context: RequestContext
    ) async throws(Fault) -> Checkpoint {
        if let problem = checkpointMessageProblem(message) { throw .invalid("message", problem) }
        let id: CheckpointID = parts.surroundings.identifier()
        let outcome = try await once(context) { live throws(Fault) in
            try await self.accept(live, context) { () async throws(Fault) -> Acceptance in
                try await self.acceptance(
                    try await self.find(reference, project: project),
                    etag,
                    .checkpoint(id),
                    message: message
                ) { vm throws(Fault) in
                    switch vm.status.state {
                    case .running, .paused, .stopped: break
                    default: throw self.wrongState("checkpoint", vm)
                    }
                    guard !vm.spec.disposable else {
                        throw .invalid("id", "\(vm.name) goes when its command ends")
                    }
                    let count = try await self.checkpointRows(of: vm.id).count
                    guard count < Limits.checkpoints else {
                        throw Fault(
                            .limitExceeded,
                            "\(vm.name) has \(count) checkpoints, which is the most there may be",
                            metadata: ["vm": vm.name]
                        )
                    }
                    return vm.desired
                }
            }
        }
        return try await answer(outcome, context, id, message)
    }

    /// The checkpoint that an operation made, or is to make.
    private func answer(
        _ outcome: VMOutcome,
        _ context: RequestContext,
        _ fresh: CheckpointID,
        _ message: String
    ) async throws(Fault) -> Checkpoint {
        let row = try await parts.store.get(OperationRow.self, context.operation.description)?.row
        var id = fresh
        if case .checkpoint(let made)? = row?.intent.action { id = made }
        if let found = try await parts.store.get(Checkpoint.self, id.description) {
            return found.row
        }
        guard row?.state != .done else {
            throw Fault(
                .checkpointNotFound,
                "the checkpoint \(id.short) of \(outcome.vm.name) was removed",
                metadata: ["vm": outcome.vm.name, "checkpoint": id.description]
            )
        }
        return Checkpoint(
            id: id,
            vm: outcome.vm.id,
            parent: outcome.vm.checkpoint,
            message: message,
            operation: context.operation,
            createdAt: now,
            spec: outcome.vm.spec,
            kept: KeptMoment(
                hasMemory: outcome.vm.status.state.hasProcess,
                memory: ByteCount(bytes: 0),
                disk: ByteCount(bytes: 0),
                files: []
            )
        )
    }

    /// Every checkpoint of a VM, the oldest first, and the one that it comes from. Also of a VM in
    /// the trash.
    package func checkpoints(
        _ reference: String,
        project: ProjectView
    ) async throws(Fault) -> (all: [Checkpoint], current: CheckpointID?) {
        let vm = try await get(reference, project: project).row
        return (try await checkpointRows(of: vm.id).map(\.row), vm.checkpoint)
    }

    /// Brings a VM back to one of its checkpoints, in place. It runs afterwards if it ran then, and has
    /// the cores, memory and disk that it had then (``VMSpec/goneBack(to:)``).
    ///
    /// - Throws: ``Reason/checkpointNotFound``, ``Reason/ambiguousCheckpoint``,
    ///   ``Reason/checkpointDamaged``, ``Reason/shapeDiffers``, ``Reason/needsForce`` while somebody
    ///   reads a command in it, ``Reason/wrongState``, ``Reason/noCapacity``; nothing has changed then.
    package func revert(
        _ reference: String,
        to checkpoint: String,
        project: ProjectView,
        force: Bool,
        etag: Revision?,
        _ context: RequestContext
    ) async throws(Fault) -> VMOutcome {
        try await once(context) { live throws(Fault) in
            try await self.accept(live, context) { () async throws(Fault) -> Acceptance in
                let found = try await self.find(reference, project: project)
                let target = try await self.checkpoint(checkpoint, of: found.row)
                let order = RevertOrder(
                    checkpoint: target.id,
                    hasMemory: target.kept.hasMemory,
                    force: force
                )
                return try await self.acceptance(
                    found,
                    etag,
                    .revert(order),
                    spec: found.row.spec.goneBack(to: target.spec)
                ) { vm throws(Fault) in
                    switch vm.status.state {
                    case .running, .paused, .stopped, .failed: break
                    default: throw self.wrongState("bring back", vm)
                    }
                    return target.kept.hasMemory ? .running : .stopped
                }
            }
        }
    }

    /// Removes a checkpoint; its children become its parent's.
    package func deleteCheckpoint(
        _ reference: String,
        _ checkpoint: String,
        project: ProjectView,
        etag: Revision?,
        _ context: RequestContext
    ) async throws(Fault) -> VMOutcome {
        try await once(context) { live throws(Fault) in
            try await self.accept(live, context) { () async throws(Fault) -> Acceptance in
                let found = try await self.find(reference, project: project)
                let target = try await self.checkpoint(checkpoint, of: found.row)
                return try await self.acceptance(found, etag, .forget(target.id)) { vm in
                    vm.desired
                }
            }
        }
    }

    /// What a request about a VM's checkpoints comes to. `spec` is what the VM is asked to be then, if it
    /// changes. `aim` judges the state and says the desired power afterwards; it is asked once no
    /// operation holds the VM.
    private func acceptance(
        _ found: Versioned<VM>,
        _ etag: Revision?,
        _ action: NodeAction,
        message: String? = nil,
        spec: VMSpec? = nil,
        _ aim: (VM) async throws(Fault) -> DesiredPower
    ) async throws(Fault) -> Acceptance {
        var vm = found.row
        if let etag, etag != found.version { throw stale(vm) }
        let words =
            switch action.kind {
            case .checkpoint: "keep a checkpoint"
            case .revert: "go back"
            default: "remove a checkpoint"
            }
        let intent = LifecycleIntent(
            action: action,
            formerDesired: vm.desired,
            failurePrefix: "Failed to \(words): ",
            message: message,
            formerSpec: spec == vm.spec ? nil : spec.map { _ in vm.spec }
        )
        // A state in passing is judged when the operation that passes it is over.
        if vm.runningOp == nil {
            vm.desired = try await aim(vm)
            vm.generation += 1
            if let spec { vm.spec = spec }
            if action.kind == .revert, vm.desired == .running, !vm.status.state.hasProcess {
                _ = vm.become(.starting, reason: "going back accepted", at: now)
            }
        }
        return Acceptance(found: found, vm: vm, intent: intent, preempts: false)
    }

    func wrongState(_ verb: String, _ vm: VM) -> Fault {
        Fault(
            .wrongState,
            "cannot \(verb) \(vm.name): it is \(vm.status.state.rawValue)",
            metadata: ["vm": vm.name, "state": vm.status.state.rawValue]
        )
    }
}
