import RoostLink
package import RoostModel
package import RoostOperations
import RoostScheduler
import RoostStore

extension VMService {
    /// Creates a VM, and starts it when the draft says so.
    ///
    /// Accepted by one commit: row, name, ports, operation and why it is where it is; the commit
    /// compares what operators say of the node. The node is chosen, its room promised, and image and
    /// kernel are resolved there before; everything slow comes after.
    /// - Throws: every violation of the draft at once, ``Reason/nameTaken``, ``Reason/portTaken``,
    ///   ``Reason/noCapacity`` or ``Reason/noNodeFits`` with the smallest change, a node or VM that a
    ///   rule names and that is not there, what the node says of image and kernel.
    package func create(
        _ draft: VMDraft,
        _ context: RequestContext
    ) async throws(Fault) -> VMOutcome {
        try await once(context) { _ throws(Fault) in
            try await self.acceptCreate(draft, context)
        }
    }

    private func acceptCreate(
        _ asked: VMDraft,
        _ context: RequestContext
    ) async throws(Fault) -> Accepted {
        while true {
            var draft = asked
            if let problem = referenceProblem(draft.template) {
                throw .invalid("spec.template", problem)
            }
            let template = try await fill(&draft)
            let violations = draft.violations()
            guard violations.isEmpty else { throw .invalid(violations) }
            let request = try await placementRequest(draft)
            let id: VMID = parts.surroundings.identifier()
            let isOnlyAsked = context.validateOnly
            let place = try await findPlace(id, request, draft, isOnlyAsked: isOnlyAsked)
            do throws(Fault) {
                let images = place.images
                let more = draft.violations(memoryFloorMiB: images.memoryFloorMiB)
                guard more.isEmpty else { throw .invalid(more) }
                var vm = try newVM(draft, images, id, place.decided.node, request, context)
                vm.spec.template = template?.origin
                if isOnlyAsked {
                    let operation = vm.createOp
                    return .settled(
                        VMOutcome(vm: vm, etag: nil, changed: false, operation: operation)
                    )
                }
                if let accepted = try await acceptAt(
                    place.decided,
                    vm,
                    draft,
                    request,
                    template,
                    context
                ) {
                    return accepted
                }
            } catch {
                if !isOnlyAsked { parts.nodes.forget(id) }
                throw error
            }
            parts.nodes.forget(id)
        }
    }

    /// `nil`: operators said something new of the node meanwhile, or somebody else took the template;
    /// decide again.
    private func acceptAt(
        _ decided: NodeDirectory.Decided,
        _ vm: VM,
        _ draft: VMDraft,
        _ request: PlacementRequest,
        _ template: Template?,
        _ context: RequestContext
    ) async throws(Fault) -> Accepted? {
        var vm = vm
        vm.spec.ports = try await choosePorts(vm.spec.ports, on: decided.node)
        let row = operation(
            context,
            vm,
            LifecycleIntent(
                action: draft.startOnCreate ? .start : .provision,
                formerDesired: nil,
                removesRow: vm.spec.disposable,
                isCreate: true,
                failurePrefix: draft.startOnCreate ? "Failed to start: " : "Failed to provision: "
            )
        )
        var batch = Batch()
        batch.insert(row)
        let name = NameRow(project: vm.project, name: vm.name, vm: vm.id)
        if parts.failpoints.skips(.takenName) { batch.put(name) } else { batch.insert(name) }
        for port in vm.spec.ports {
            let row = PortRow(node: decided.node, port: port, vm: vm.id)
            if parts.failpoints.skips(.takenPort) { batch.put(row) } else { batch.insert(row) }
        }
        batch.insert(vm)
        batch.put(placementRow(vm, decided, isExplicit: request.node != nil))
        require(decided, &batch)
        if let template { use(template, &batch) }
        try await parts.failpoints.pass(.beforeAccept)
        do throws(Fault) {
            try await commitCreate(batch, vm)
        } catch {
            if try await isOvertaken(error, decided.node) { return nil }
            if template != nil, error.metadata["table"] == VM.table { return nil }
            throw error
        }
        // What was promised was the request's; the row is what counts from now on.
        parts.nodes.count(vm)
        return .toDrive(row, vm)
    }

    /// Promises `vm` its room on `node`, or throws ``Reason/noCapacity``.
    func promise(_ vm: VM, on node: NodeID) throws(Fault) {
        if parts.failpoints.skips(.capacity) {
            parts.nodes.count(vm)
        } else {
            try parts.nodes.promise(vm, on: node)
        }
    }

    /// Commits, and says which of the things that must be free was taken.
    private func commitCreate(_ batch: Batch, _ vm: VM) async throws(Fault) {
        do throws(Fault) {
            try await commit(batch)
        } catch  where error.reason == .storeConflict {
            if [NodeRow.table, VM.table].contains(error.metadata["table"]) { throw error }
            if try await parts.store.get(NameRow.self, NameRow.key(vm.project, vm.name)) != nil {
                throw Fault(
                    .nameTaken,
                    "a VM named \(vm.name) exists in project \(vm.project)",
                    metadata: ["name": vm.name]
                )
            }
            throw Fault(.portTaken, "a published port was taken: \(error.message)")
        }
    }

    private func newVM(
        _ draft: VMDraft,
        _ images: ResolvedImages,
        _ id: VMID,
        _ node: NodeID,
        _ request: PlacementRequest,
        _ context: RequestContext
    ) throws(Fault) -> VM {
        let disk = draft.rootDiskGiB ?? max(images.rootDiskFloorGiB, 4)
        guard disk >= images.rootDiskFloorGiB else {
            throw .invalid(
                "spec.disk.size_gib",
                "\(disk) is less than the image needs (\(images.rootDiskFloorGiB))"
            )
        }
        // Which node has what is not the VM's own: it changes, and is asked anew each time.
        var rules = request.rules
        rules.localities = []
        let spec = VMSpec(
            cores: request.cores,
            memoryMiB: request.memoryMiB,
            rootDiskGiB: disk,
            image: images.image,
            kernel: images.kernel,
            ports: draft.ports.sorted(),
            network: draft.network,
            restart: draft.restart,
            disposable: draft.disposable,
            coldBoot: draft.coldBoot,
            placement: rules == PlacementRules() ? nil : rules
        )
        var vm = VM(
            id: id,
            name: draft.name,
            project: draft.project,
            labels: draft.labels,
            annotations: draft.annotations,
            spec: spec,
            desired: draft.startOnCreate ? .running : .stopped,
            status: VMStatus(
                state: draft.startOnCreate ? .starting : .provisioning,
                reason: "accepted",
                since: now,
                node: node
            ),
            createdAt: now,
            operation: context.operation
        )
        vm.member = draft.member
        return vm
    }

    /// Gives every port 0 a free one from 20,000 up; the commit finds out who was first.
    func choosePorts(
        _ ports: [PublishedPort],
        on node: NodeID
    ) async throws(Fault) -> [PublishedPort] {
        var next = 20_000
        return try await choosePorts(ports, on: node, from: &next)
    }

    /// Likewise from `next` up, which is after the last one then.
    func choosePorts(
        _ ports: [PublishedPort],
        on node: NodeID,
        from next: inout Int
    ) async throws(Fault) -> [PublishedPort] {
        var chosen: [PublishedPort] = []
        for var port in ports {
            while port.hostPort == 0 {
                guard next < 32_768 else {
                    throw Fault(.portTaken, "no host port is free in 20000 … 32767")
                }
                let key = PortRow.key(node, port.transport, port.hostAddress, next)
                if try await parts.store.get(PortRow.self, key) == nil { port.hostPort = next }
                next += 1
            }
            chosen.append(port)
        }
        return chosen.sorted()
    }

    /// A new operation's row.
    func operation(
        _ context: RequestContext,
        _ vm: VM,
        _ intent: LifecycleIntent
    ) -> OperationRow {
        var row = OperationRow(
            id: context.operation,
            principal: context.principal,
            method: context.method,
            digest: context.digest,
            vm: vm.id,
            vmName: vm.name,
            intent: intent,
            startedAt: now,
            traceParent: context.traceParent
        )
        row.parent = context.parent
        return row
    }
}
