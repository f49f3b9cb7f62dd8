import RoostLink
package import RoostModel
package import RoostOperations
package import RoostStore

/// How a verb is to be carried out.
package struct PowerOptions: Sendable, Hashable {
    /// How long a guest may take to shut down, in seconds.
    package var graceSeconds: Int
    /// Do not ask the guest, and pre-empt whatever runs.
    package var force: Bool
    /// For delete: past the trash, remove every byte.
    package var purge: Bool
    /// Happen only if the VM is still the one that was read.
    package var etag: Revision?
    /// The drain of its node that asks, if one does: then only while that lasts.
    var drain: OperationID?

    package init(
        graceSeconds: Int = 30,
        force: Bool = false,
        purge: Bool = false,
        etag: Revision? = nil
    ) {
        self.graceSeconds = graceSeconds
        self.force = force
        self.purge = purge
        self.etag = etag
    }
}

extension VMService {
    /// Changes a VM's power, or deletes it.
    ///
    /// Asking for what holds succeeds with `changed = false`.
    /// - Throws: ``Reason/wrongState`` naming state and verb, ``Reason/opInProgress`` with the
    ///   running op id, ``Reason/needsForce`` for deleting what runs, ``Reason/staleEtag``,
    ///   ``Reason/noCapacity``, ``Reason/nodeDraining`` for a start where nothing shall run, and what
    ///   the node says.
    package func power(
        _ verb: PowerVerb,
        _ reference: String,
        project: ProjectView,
        options: PowerOptions,
        _ context: RequestContext
    ) async throws(Fault) -> VMOutcome {
        guard (0...86_400).contains(options.graceSeconds) else {
            throw .invalid("timeout_seconds", "\(options.graceSeconds) is outside 0 … 86400")
        }
        return try await once(context) { live throws(Fault) in
            try await self.accept(live, context) { () async throws(Fault) -> Acceptance in
                let found = try await self.find(reference, project: project)
                return try self.decide(verb, found, options, by: context.principal)
            }
        }
    }

    /// What a request comes to, given the VM as it is.
    struct Acceptance {
        var found: Versioned<VM>
        /// The VM as accepted; `nil` when what was asked for holds already.
        var vm: VM?
        var intent: LifecycleIntent
        /// Whether it stops a running operation instead of being refused by it.
        var preempts: Bool
        /// The drain that it happens for, and with which it ends.
        var drain: OperationID?
    }

    private func decide(
        _ verb: PowerVerb,
        _ found: Versioned<VM>,
        _ options: PowerOptions,
        by principal: String
    ) throws(Fault) -> Acceptance {
        let vm = found.row
        if let etag = options.etag, etag != found.version { throw stale(vm) }
        let preempts = verb == .kill || (options.force && (verb == .stop || verb == .delete))
        var acceptance = Acceptance(
            found: found,
            vm: nil,
            intent: intent(verb, vm, options),
            preempts: preempts,
            drain: options.drain
        )
        // A state in passing is judged when the operation that passes it is over.
        if vm.runningOp != nil {
            acceptance.vm = vm
            return acceptance
        }
        // Whoever forces a stop means what a kill does: of a suspended VM, kept memory is given up.
        let judged = verb == .stop && options.force ? PowerVerb.kill : verb
        switch judged.verdict(in: vm.status.state) {
        case .refused:
            throw Fault(
                .wrongState,
                "cannot \(verb.rawValue) \(vm.name): it is \(vm.status.state.rawValue)",
                metadata: ["vm": vm.name, "state": vm.status.state.rawValue]
            )
        // What a drain holds down is its owner's again by this.
        case .alreadyHolds where vm.desired == verb.aim(vm.desired) && vm.hold == nil:
            return acceptance
        case .alreadyHolds, .allowed:
            if verb == .delete, vm.status.state.hasProcess, !options.force {
                throw Fault(
                    .needsForce,
                    "\(vm.name) is \(vm.status.state.rawValue)",
                    metadata: ["vm": vm.name]
                )
            }
            var next = accepted(verb, vm)
            // A person's start begins a new count; the policy's goes on with the old one.
            next.status.restarts = principal == Self.reconciler ? vm.status.restarts + 1 : 0
            next.hold = options.drain.map { DrainHold(drain: $0, desired: vm.desired) }
            acceptance.vm = next
            return acceptance
        }
    }

    private func accepted(_ verb: PowerVerb, _ vm: VM) -> VM {
        var vm = vm
        vm.desired = verb.aim(vm.desired)
        vm.generation += 1
        let passing: VMState? =
            switch verb {
            case .start, .restart: vm.status.state == .paused ? nil : .starting
            case .stop, .kill: vm.status.state.hasProcess ? .stopping : nil
            case .delete: .deleting
            case .reboot, .pause, .resume, .suspend: nil
            }
        if let passing { _ = vm.become(passing, reason: "\(verb.rawValue) accepted", at: now) }
        return vm
    }

    private func intent(_ verb: PowerVerb, _ vm: VM, _ options: PowerOptions) -> LifecycleIntent {
        let grace = options.force ? 0 : options.graceSeconds
        let removes = options.purge || vm.spec.disposable
        let (action, prefix): (NodeAction, String) =
            switch verb {
            case .start: (.start, "Failed to start: ")
            case .stop: (.stop(graceSeconds: grace), "Failed to stop: ")
            case .kill: (.stop(graceSeconds: 0), "Failed to kill: ")
            case .restart: (.restart(graceSeconds: grace), "Failed to restart: ")
            case .reboot: (.reboot, "Failed to reboot: ")
            case .pause: (.pause, "Failed to pause: ")
            case .resume: (.resume, "Failed to resume: ")
            case .suspend: (.suspend, "Failed to suspend: ")
            case .delete: (removes ? .purge : .discard, "Failed to delete: ")
            }
        return LifecycleIntent(
            action: action,
            formerDesired: vm.desired,
            removesRow: removes && verb == .delete,
            failurePrefix: prefix
        )
    }

    // MARK: The one way in

    /// Makes an operation durable together with its VM, as soon as the VM is free for it.
    ///
    /// `decide` looks at the VM as it is now; it runs again after every wait and every conflict.
    func accept(
        _ live: OperationLedger.Live,
        _ context: RequestContext,
        _ decide: () async throws(Fault) -> Acceptance
    ) async throws(Fault) -> Accepted {
        while true {
            let acceptance = try await decide()
            let found = acceptance.found
            if let running = found.row.runningOp, running != context.operation,
                !parts.failpoints.skips(.runningOp)
            {
                try await makeWay(found.row, running, preempts: acceptance.preempts)
                continue
            }
            if context.validateOnly {
                return .settled(outcome(found, changed: false, context))
            }
            guard var vm = acceptance.vm else {
                return .settled(try await record(found, acceptance.intent, context))
            }
            vm.runningOp = context.operation
            vm.lastOp = context.operation
            vm.updatedAt = now
            let row = operation(context, vm, acceptance.intent)
            let fence = try drainFence(vm, over: found.row, acceptance)
            if try await commitAccepted(vm, over: found, row, fence) { return .toDrive(row, vm) }
        }
    }

    /// `false`: somebody else was first, look again.
    private func commitAccepted(
        _ vm: VM,
        over found: Versioned<VM>,
        _ row: OperationRow,
        _ fence: DrainFence?
    ) async throws(Fault) -> Bool {
        // One that runs holds its room already, unless it is going to need another.
        let runs =
            vm.desired == .running
            && (!found.row.status.state.hasProcess || !vm.spec.needsRoom(of: found.row.spec))
        if runs, let node = vm.status.node {
            try promise(vm, on: node)
        }
        var batch = Batch()
        if parts.failpoints.skips(.fence) {
            batch.overwrite(found, with: vm)
        } else {
            batch.replace(found, with: vm)
        }
        batch.insert(row)
        if !parts.failpoints.skips(.drainFence) { fence?.guards(&batch) }
        do throws(Fault) {
            try await parts.failpoints.pass(.beforeAccept)
            if !parts.failpoints.skips(.accept) { try await commit(batch) }
            if runs { keepPromise(vm) }
            return true
        } catch {
            // Whoever was first may have been promised the same room.
            if runs { await recount(vm.id, withSpec: vm.spec != found.row.spec) }
            guard error.reason == .storeConflict else { throw error }
            parts.failpoints.mark(.overtaken)
            if let fence, error.metadata["table"] == DrainMark.table {
                try await takeDrain(of: fence.node)
                return false
            }
            // The conflict is about the VM, or this id was accepted by an earlier process.
            if try await parts.store.get(OperationRow.self, row.key) != nil {
                throw Fault(.storeConflict, "op id \(row.id) was accepted meanwhile; send it again")
            }
            return false
        }
    }

    /// Pre-empts the operation that holds `vm` and waits for its end, or refuses.
    func makeWay(_ vm: VM, _ running: OperationID, preempts: Bool) async throws(Fault) {
        guard preempts else {
            throw Fault(
                .opInProgress,
                "\(vm.name) is busy with \(running)",
                metadata: ["op": running.description, "vm": vm.name]
            )
        }
        parts.failpoints.mark(.madeWay)
        if !parts.failpoints.skips(.preempt) {
            ledger.preempt(running)
            let link = try parts.nodes.link(vm.status.node)
            try await link.preempt(vm.id, operation: running)
        }
        _ = try await ledger.ending(of: running)
        try unlessCallerLeft()
    }

    /// Records that nothing had to be done, so that a repeat of the id says the same.
    func record(
        _ found: Versioned<VM>,
        _ intent: LifecycleIntent,
        _ context: RequestContext
    ) async throws(Fault) -> VMOutcome {
        var row = operation(context, found.row, intent)
        row.changed = false
        row.finish(.done, fault: nil, result: found.row, at: now)
        var batch = Batch()
        batch.insert(row)
        try await commit(batch)
        return outcome(found, changed: false, context)
    }

    func outcome(_ found: Versioned<VM>, changed: Bool, _ context: RequestContext) -> VMOutcome {
        VMOutcome(
            vm: found.row,
            etag: found.version,
            changed: changed,
            operation: context.operation
        )
    }

    func stale(_ vm: VM) -> Fault {
        Fault(.staleEtag, "\(vm.name) has changed since it was read", metadata: ["vm": vm.name])
    }
}

extension VMSpec {
    /// Whether it takes as much of its node as `other`.
    fileprivate func needsRoom(of other: VMSpec) -> Bool {
        cores == other.cores && memoryMiB == other.memoryMiB
    }
}

extension PowerVerb {
    /// The desired power after the verb.
    func aim(_ former: DesiredPower) -> DesiredPower {
        switch self {
        case .start, .restart, .resume: .running
        case .stop, .kill, .delete: .stopped
        case .pause: .paused
        case .suspend: .suspended
        case .reboot: former
        }
    }
}
