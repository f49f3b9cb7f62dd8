package import RoostHost
package import RoostLink
package import RoostModel

/// What a node offers of its guests.
package protocol GuestAccess: Sendable {
    func exec(_ vm: VMID, _ request: ExecRequest) async throws(Fault) -> any ExecSession
    func copy(_ vm: VMID, _ request: CopyRequest) async throws(Fault) -> any CopySession
    func status(_ vm: VMID) async throws(Fault) -> GuestStatus
}

/// The way to the node in this process: what every other link carries, called directly.
package struct LocalLink: NodeLink {
    package let node: NodeID
    private let vms: NodeVMs
    private let guests: any GuestAccess
    private let files: any VMFiles
    private let catalogue: any Catalogue
    private let launches = LaunchMemory()

    package init(
        node: NodeID,
        vms: NodeVMs,
        guests: any GuestAccess,
        files: any VMFiles,
        catalogue: any Catalogue
    ) {
        self.node = node
        self.vms = vms
        self.guests = guests
        self.files = files
        self.catalogue = catalogue
    }

    package func apply(_ delta: AssignmentDelta) async throws(Fault) -> VMReport {
        try await vms.apply(delta)
    }

    package func preempt(_ vm: VMID, operation: OperationID) async throws(Fault) {
        vms.preempt(vm, operation: operation)
    }

    package func inspect(_ vm: VMID) async throws(Fault) -> VMReport? {
        try await vms.inspect(vm)
    }

    package func assignment(_ vm: VMID) async throws(Fault) -> VMAssignment? {
        try await vms.assignment(vm)
    }

    package func observe() async throws(Fault) -> NodeReport {
        try await vms.observe()
    }

    package func changes(after cursor: UInt64) async throws(Fault) -> ReportPage {
        await vms.reports.after(cursor)
    }

    package func usage() async throws(Fault) -> NodeUsage { try await vms.usage() }

    package func resolve(image: String, kernel: String) async throws(Fault) -> ResolvedImages {
        let image = try await catalogue.image(image)
        let kernel = try await catalogue.kernel(kernel)
        let gibibyte = ByteCount.gibibytes(1).bytes
        return ResolvedImages(
            image: image.digest,
            kernel: kernel.digest,
            memoryFloorMiB: kernel.memoryFloorMiB,
            rootDiskFloorGiB: max(Int((image.size.bytes + gibibyte - 1) / gibibyte), 1)
        )
    }

    package func exec(_ vm: VMID, _ request: ExecRequest) async throws(Fault) -> any ExecSession {
        guard !request.attachOnly, !request.image.isEmpty else {
            return try await guests.exec(vm, request)
        }
        let launch = try await launches.launch(of: request.image, in: catalogue)
        return try await guests.exec(vm, try launch.applied(to: request))
    }

    package func copy(_ vm: VMID, _ request: CopyRequest) async throws(Fault) -> any CopySession {
        try await guests.copy(vm, request)
    }

    package func readLog(_ vm: VMID, _ request: LogRequest) async throws(Fault) -> LogPiece {
        try await LogReader(files: files).read(vm, request)
    }

    package func guestStatus(_ vm: VMID) async throws(Fault) -> GuestStatus {
        try await guests.status(vm)
    }
}
