/// A request for a VM as it came in: anything may be missing or wrong.
package struct VMDraft: Hashable, Sendable, Codable {
    package var name: String
    package var project: String
    package var labels: [String: String]
    package var annotations: [String: String]
    /// `nil` when the request had no `spec.cpu`.
    package var cores: Int?
    /// `nil` when the request had no `spec.memory`.
    package var memoryMiB: Int?
    package var rootDiskGiB: Int?
    /// A name, tag or digest; empty means the default image.
    package var image: String
    /// Likewise; empty means the default kernel.
    package var kernel: String
    /// A template's name or id; empty: none. It stands for image, kernel and, where they are missing,
    /// cores, memory and disk.
    package var template: String
    package var ports: [PublishedPort]
    package var network: NetworkMode
    package var restart: RestartPolicy
    package var disposable: Bool
    package var coldBoot: Bool
    package var startOnCreate: Bool
    /// The node to use; empty lets the scheduler choose.
    package var node: String
    package var placement: PlacementDraft
    /// The fleet that it is made for.
    package var member: FleetMember?

    package init(name: String, cores: Int? = nil, memoryMiB: Int? = nil) {
        self.name = name
        project = "default"
        labels = [:]
        annotations = [:]
        self.cores = cores
        self.memoryMiB = memoryMiB
        image = ""
        kernel = ""
        template = ""
        ports = []
        network = .user
        restart = RestartPolicy()
        disposable = false
        coldBoot = false
        startOnCreate = false
        node = ""
        placement = PlacementDraft()
    }

    /// Everything that is wrong with it, in the order of the fields. Empty means it can be used.
    ///
    /// `memoryFloorMiB` is the chosen kernel's measured floor, 128 where unknown.
    package func violations(memoryFloorMiB: Int = Limits.memoryFloorMiB) -> [FieldViolation] {
        var found: [FieldViolation] = []
        if let problem = nameProblem(name) { found.append(.init("name", problem)) }
        if let problem = nameProblem(project) { found.append(.init("project", problem)) }
        found += labelViolations(labels, field: "labels")
        found += annotationViolations()
        if let cores {
            if !Limits.cores.contains(cores) {
                found.append(.init("spec.cpu.cores", "\(cores) is outside 1 … 256"))
            }
        } else {
            found.append(.init("spec.cpu", "is required: set spec.cpu.cores to 1 … 256"))
        }
        if let memoryMiB {
            if memoryMiB < memoryFloorMiB || memoryMiB > Limits.memoryCeilingMiB {
                found.append(
                    .init(
                        "spec.memory.size_mib",
                        "\(memoryMiB) is outside \(memoryFloorMiB) … \(Limits.memoryCeilingMiB)"
                    )
                )
            }
        } else {
            found.append(.init("spec.memory", "is required: set spec.memory.size_mib"))
        }
        if let rootDiskGiB, !Limits.diskGiB.contains(rootDiskGiB) {
            found.append(.init("spec.disk.size_gib", "\(rootDiskGiB) is outside 1 … 65536"))
        }
        for (field, text) in [
            ("spec.image", image), ("spec.kernel", kernel), ("spec.template", template),
            ("node", node),
        ] {
            if let problem = referenceProblem(text) { found.append(.init(field, problem)) }
        }
        found += portViolations(ports)
        if restart.maxRestarts < 0 || restart.maxRestarts > 1_000_000 {
            found.append(.init("spec.restart.max_restarts", "is outside 0 … 1000000"))
        }
        found += placement.violations()
        return found
    }

    private func annotationViolations() -> [FieldViolation] {
        let bytes = annotations.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count }
        return bytes > Limits.annotationBytes
            ? [.init("annotations", "\(bytes) bytes together; at most \(Limits.annotationBytes)")]
            : []
    }
}

/// The bounds of what may be asked for.
package enum Limits {
    package static let cores = 1...256
    package static let memoryFloorMiB = 128
    package static let memoryCeilingMiB = 1_048_576
    package static let diskGiB = 1...65_536
    package static let ports = 64
    /// Copies that one fork makes.
    package static let forks = 1...64
    /// Checkpoints that one VM has.
    package static let checkpoints = 128
    /// A checkpoint's message.
    package static let messageBytes = 1024
    package static let labels = 64
    package static let annotationBytes = 65_536
    /// The largest request body or message, in bytes.
    package static let requestBytes = 4 << 20
    package static let pageSize = 1...1000
}

/// What is wrong with `ports`, one violation for each bad one.
package func portViolations(_ ports: [PublishedPort]) -> [FieldViolation] {
    var found: [FieldViolation] = []
    if ports.count > Limits.ports {
        found.append(.init("spec.ports", "\(ports.count) ports; at most \(Limits.ports)"))
    }
    var seen: Set<String> = []
    for (index, port) in ports.enumerated() {
        let field = "spec.ports[\(index)]"
        if !(1...65_535).contains(port.guestPort) {
            found.append(.init("\(field).guest_port", "\(port.guestPort) is outside 1 … 65535"))
        }
        if !(0...65_535).contains(port.hostPort) {
            found.append(.init("\(field).host_port", "\(port.hostPort) is outside 0 … 65535"))
        }
        if !isIPv4(port.hostAddress) {
            found.append(
                .init(
                    "\(field).host_address",
                    "'\(shown(port.hostAddress))' is not an IPv4 address"
                )
            )
        }
        let key = "\(port.transport.rawValue)/\(port.hostAddress):\(port.hostPort)"
        if port.hostPort != 0, !seen.insert(key).inserted {
            found.append(.init("\(field).host_port", "\(port.hostPort) is published twice"))
        }
    }
    return found
}
