package import RoostModel
internal import SwiftProtobuf

extension VMDraft {
    /// The request as it came in: what is missing stays missing, so that validation can name it.
    package init(_ request: Roost_Compute_V1_CreateVMRequest) throws(Fault) {
        try self.init(
            name: request.name,
            labels: request.labels,
            annotations: request.annotations,
            spec: request.spec
        )
        if !request.project.isEmpty { project = request.project }
        startOnCreate = request.startOnCreate
        node = request.node
    }

    /// The new values of an update.
    package init(_ vm: Roost_Compute_V1_VM) throws(Fault) {
        try self.init(name: vm.name, labels: vm.labels, annotations: vm.annotations, spec: vm.spec)
    }

    private init(
        name: String,
        labels: [String: String],
        annotations: [String: String],
        spec: Roost_Compute_V1_VMSpec
    ) throws(Fault) {
        self.init(
            name: name,
            cores: spec.hasCpu ? Int(spec.cpu.cores) : nil,
            memoryMiB: spec.hasMemory ? Int(spec.memory.sizeMib) : nil
        )
        self.labels = labels
        self.annotations = annotations
        rootDiskGiB = spec.hasDisk ? Int(spec.disk.sizeGib) : nil
        image = spec.image
        kernel = spec.kernel
        disposable = spec.disposable
        coldBoot = spec.coldBoot
        template = spec.template
        placement = try PlacementDraft(spec.placement)
        network = try NetworkMode(spec.network.mode)
        restart = RestartPolicy(
            mode: try RestartMode(spec.restart.mode),
            maxRestarts: Int(spec.restart.maxRestarts)
        )
        for (index, port) in spec.ports.enumerated() {
            ports.append(
                PublishedPort(
                    hostAddress: port.hostAddress.isEmpty ? "127.0.0.1" : port.hostAddress,
                    hostPort: Int(port.hostPort),
                    guestPort: Int(port.guestPort),
                    transport: try PortTransport(
                        port.protocol,
                        field: "spec.ports[\(index)].protocol"
                    )
                )
            )
        }
    }
}

extension Roost_Compute_V1_VM {
    /// `vm` as the API shows it: every default is visible.
    package init(_ vm: VM, etag: String) {
        self.init()
        id = vm.id.description
        name = vm.name
        project = vm.project
        labels = vm.labels
        annotations = vm.annotations
        self.etag = etag
        generation = Int64(vm.generation)
        spec = Roost_Compute_V1_VMSpec(vm.spec)
        desiredPower = .init(vm.desired)
        status = Roost_Compute_V1_VMStatus(vm.status)
        createTime = .init(vm.createdAt)
        updateTime = .init(vm.updatedAt)
        if let deletedAt = vm.deletedAt { deleteTime = .init(deletedAt) }
        if let purgeAt = vm.purgeAt { purgeTime = .init(purgeAt) }
        createOp = vm.createOp.description
        lastOp = vm.lastOp.description
        runningOp = vm.runningOp?.description ?? ""
        checkpoint = vm.checkpoint?.description ?? ""
        fleet = vm.member?.fleet ?? ""
    }
}

extension Roost_Compute_V1_VMSpec {
    /// `spec` as the API shows it.
    package init(_ spec: VMSpec) {
        self.init()
        cpu.cores = Int32(spec.cores)
        memory.sizeMib = Int64(spec.memoryMiB)
        disk.sizeGib = Int64(spec.rootDiskGiB)
        image = spec.image
        kernel = spec.kernel
        ports = spec.ports.map { port in
            .with {
                $0.hostAddress = port.hostAddress
                $0.hostPort = Int32(port.hostPort)
                $0.guestPort = Int32(port.guestPort)
                $0.protocol = .init(port.transport)
            }
        }
        switch spec.network {
        case .user: network.mode = .user
        case .none: network.mode = .none
        }
        switch spec.restart.mode {
        case .never: restart.mode = .never
        case .onFailure: restart.mode = .onFailure
        case .always: restart.mode = .always
        }
        restart.maxRestarts = Int32(clamping: spec.restart.maxRestarts)
        disposable = spec.disposable
        coldBoot = spec.coldBoot
        if let origin = spec.template {
            template = origin.template.description
            templateCheckpoint = origin.checkpoint.description
        }
        if let rules = spec.placement { placement = Roost_Fleet_V1_Placement(rules) }
    }
}

extension Roost_Compute_V1_VMStatus {
    /// `status` as the API shows it.
    package init(_ status: VMStatus) {
        self.init()
        state = .init(status.state)
        reason = status.reason
        since = .init(status.since)
        nodeID = status.node?.description ?? ""
        addresses = status.addresses
        observedGeneration = Int64(status.observedGeneration)
        restarts = Int32(clamping: status.restarts)
    }
}

extension VMSpec {
    /// A complete spec, as the control side sends it to a node and the API answers with it; without
    /// its placement, which is no matter of a node's.
    ///
    /// - Throws: one violation for each field that is missing: nothing is filled in here.
    package init(_ spec: Roost_Compute_V1_VMSpec) throws(Fault) {
        var missing: [FieldViolation] = []
        for (field, isThere) in [
            ("spec.cpu", spec.hasCpu), ("spec.memory", spec.hasMemory), ("spec.disk", spec.hasDisk),
            ("spec.image", !spec.image.isEmpty), ("spec.kernel", !spec.kernel.isEmpty),
        ] where !isThere {
            missing.append(FieldViolation(field, "is required"))
        }
        guard missing.isEmpty else { throw .invalid(missing) }
        var vm = Roost_Compute_V1_VM()
        vm.spec = spec
        let draft = try VMDraft(vm)
        self.init(
            cores: Int(spec.cpu.cores),
            memoryMiB: Int(spec.memory.sizeMib),
            rootDiskGiB: Int(spec.disk.sizeGib),
            image: spec.image,
            kernel: spec.kernel,
            ports: draft.ports,
            network: draft.network,
            restart: draft.restart,
            disposable: spec.disposable,
            coldBoot: spec.coldBoot,
            template: try TemplateOrigin(spec)
        )
    }
}

extension TemplateOrigin {
    /// The template of a complete spec; `nil` without one. Throws one violation for ids that are none.
    fileprivate init?(_ spec: Roost_Compute_V1_VMSpec) throws(Fault) {
        guard !spec.template.isEmpty else { return nil }
        guard let template = VMID(spec.template) else {
            throw .invalid("spec.template", "'\(shown(spec.template))' is no id")
        }
        guard let checkpoint = CheckpointID(spec.templateCheckpoint) else {
            throw .invalid(
                "spec.template_checkpoint",
                "'\(shown(spec.templateCheckpoint))' is no id"
            )
        }
        self.init(template: template, checkpoint: checkpoint)
    }
}
