/// What a VM is asked to be, complete: every default is filled in and every reference resolved.
package struct VMSpec: Hashable, Sendable, Codable {
    /// Virtual CPUs, 1 … 256.
    package var cores: Int
    /// Guest memory in MiB, 128 … 1,048,576.
    package var memoryMiB: Int
    /// Virtual size of the root disk in GiB, 1 … 65,536. Sparse: unused bytes cost nothing.
    package var rootDiskGiB: Int
    /// The image's digest (`sha256:` and 64 digits). Tags resolve at create.
    package var image: String
    /// The kernel's digest, likewise.
    package var kernel: String
    /// Host ports that lead into the guest, sorted.
    package var ports: [PublishedPort]
    /// Whether and how the guest sees a network.
    package var network: NetworkMode
    /// What happens when the VM ends unasked.
    package var restart: RestartPolicy
    /// Removed with everything it has when its command ends; never in the trash.
    package var disposable: Bool
    /// Boots its kernel even where a copy of a template could be had.
    package var coldBoot: Bool
    /// Where it may be, should be and must not be; `nil`: wherever there is room. Control's alone:
    /// nodes are not told.
    package var placement: PlacementRules?
    /// The template that it begins as a copy of; `nil`: it begins with its image.
    package var template: TemplateOrigin?

    package init(
        cores: Int,
        memoryMiB: Int,
        rootDiskGiB: Int = 4,
        image: String,
        kernel: String,
        ports: [PublishedPort] = [],
        network: NetworkMode = .user,
        restart: RestartPolicy = RestartPolicy(),
        disposable: Bool = false,
        coldBoot: Bool = false,
        placement: PlacementRules? = nil,
        template: TemplateOrigin? = nil
    ) {
        self.cores = cores
        self.memoryMiB = memoryMiB
        self.rootDiskGiB = rootDiskGiB
        self.image = image
        self.kernel = kernel
        self.ports = ports
        self.network = network
        self.restart = restart
        self.disposable = disposable
        self.coldBoot = coldBoot
        self.placement = placement
        self.template = template
    }
}

/// One host port that leads into the guest.
package struct PublishedPort: Hashable, Comparable, Sendable, Codable {
    /// The host address to listen on. Loopback unless the user said otherwise.
    package var hostAddress: String
    /// 1 … 65,535.
    package var hostPort: Int
    /// 1 … 65,535.
    package var guestPort: Int
    package var transport: PortTransport

    package init(
        hostAddress: String = "127.0.0.1",
        hostPort: Int,
        guestPort: Int,
        transport: PortTransport = .tcp
    ) {
        self.hostAddress = hostAddress
        self.hostPort = hostPort
        self.guestPort = guestPort
        self.transport = transport
    }

    package static func < (left: PublishedPort, right: PublishedPort) -> Bool {
        (left.transport.rawValue, left.hostPort, left.hostAddress, left.guestPort)
            < (right.transport.rawValue, right.hostPort, right.hostAddress, right.guestPort)
    }
}

/// The transport of a published port.
package enum PortTransport: String, CaseIterable, Sendable, Codable {
    case tcp
    case udp
}

/// How a VM reaches a network.
package enum NetworkMode: String, CaseIterable, Sendable, Codable {
    /// The VMM's own user-mode stack: needs no privilege.
    case user
    /// No network device.
    case none
}

/// What happens when a VM ends unasked.
package struct RestartPolicy: Hashable, Sendable, Codable {
    package var mode: RestartMode
    /// Restarts before giving up; 0 means no bound.
    package var maxRestarts: Int

    package init(mode: RestartMode = .never, maxRestarts: Int = 0) {
        self.mode = mode
        self.maxRestarts = maxRestarts
    }
}

/// When a VM that ended is started again.
package enum RestartMode: String, CaseIterable, Sendable, Codable {
    case never
    case onFailure
    case always
}

/// What is known of a VM's reality: as reported, never as wished.
package struct VMStatus: Hashable, Sendable, Codable {
    package var state: VMState
    /// Why it is in this state; never empty.
    package var reason: String
    /// Since when.
    package var since: Timestamp
    /// The node that has it, once placed.
    package var node: NodeID?
    /// Guest addresses as text, in the order the guest reports them.
    package var addresses: [String]
    /// The generation of the spec that the running process was started with.
    package var observedGeneration: Int
    /// How often it was started again by its policy since the last request.
    package var restarts: Int

    package init(
        state: VMState,
        reason: String,
        since: Timestamp,
        node: NodeID? = nil,
        addresses: [String] = [],
        observedGeneration: Int = 0,
        restarts: Int = 0
    ) {
        self.state = state
        self.reason = reason
        self.since = since
        self.node = node
        self.addresses = addresses
        self.observedGeneration = observedGeneration
        self.restarts = restarts
    }
}

/// That a drain of its node took a VM down, and what its owner wants of it all the same.
package struct DrainHold: Hashable, Sendable, Codable {
    /// The drain's op id.
    package var drain: OperationID
    /// What its owner wanted before.
    package var desired: DesiredPower

    package init(drain: OperationID, desired: DesiredPower) {
        self.drain = drain
        self.desired = desired
    }
}

/// One VM as the control side keeps it.
package struct VM: Hashable, Sendable, Codable {
    package var id: VMID
    package var name: String
    package var project: String
    package var labels: [String: String]
    package var annotations: [String: String]
    package var spec: VMSpec
    /// Rises with every change of `spec`, desired power or deletion. Starts at 1.
    package var generation: Int
    package var desired: DesiredPower
    package var status: VMStatus
    package var createdAt: Timestamp
    package var updatedAt: Timestamp
    /// The request that made it.
    package var createOp: OperationID
    /// The latest operation on it, running or finished.
    package var lastOp: OperationID
    /// The operation that holds it now. A second one is refused with its id.
    package var runningOp: OperationID?
    /// When it went to the trash; its disks are purged at `purgeAt`.
    package var deletedAt: Timestamp?
    package var purgeAt: Timestamp?
    /// The checkpoint that it was made or brought back to last: the next one's parent.
    package var checkpoint: CheckpointID?
    /// The fleet whose state names it; `nil`: it is its users' own.
    package var member: FleetMember?
    /// `nil`: it is a VM. Else it is a template, which no request about VMs finds.
    package var seal: TemplateSeal?
    /// Set while it is down only because its node is drained. Whoever asks for its power ends it.
    package var hold: DrainHold?

    package init(
        id: VMID,
        name: String,
        project: String,
        labels: [String: String],
        annotations: [String: String],
        spec: VMSpec,
        desired: DesiredPower,
        status: VMStatus,
        createdAt: Timestamp,
        operation: OperationID
    ) {
        self.id = id
        self.name = name
        self.project = project
        self.labels = labels
        self.annotations = annotations
        self.spec = spec
        generation = 1
        self.desired = desired
        self.status = status
        self.createdAt = createdAt
        updatedAt = createdAt
        createOp = operation
        lastOp = operation
        runningOp = operation
    }

    /// Whether its cores and memory are taken on its node: its VMM runs, or is about to.
    ///
    /// One that is on its way to the trash may run until its node has answered. One that failed is
    /// meant to run and does not: it holds no room until it is started.
    package var holdsRoom: Bool {
        if status.state.hasProcess { return true }
        return runningOp != nil && (desired == .running || status.state == .deleting)
    }

    /// Moves to `state` with `reason`, keeping `since` when nothing changed.
    ///
    /// - Returns: `false` when ``VMState/canBecome(_:)`` forbids the move; nothing is changed then.
    package mutating func become(_ state: VMState, reason: String, at now: Timestamp) -> Bool {
        if status.state == state {
            status.reason = reason
            return true
        }
        guard status.state.canBecome(state) else { return false }
        status.state = state
        status.reason = reason
        status.since = now
        return true
    }
}
