import RoostLink
import RoostModel
import RoostNode

/// The way to a node in another process, over the simulated network.
struct SimulatedLink: NodeLink {
    let host: NodeHost
    let network: Network

    var node: NodeID { host.id }

    func apply(_ delta: AssignmentDelta) async throws(Fault) -> VMReport {
        try await call { local in
            await attempt { () async throws(Fault) in try await local.apply(delta) }
        }
    }

    func preempt(_ vm: VMID, operation: OperationID) async throws(Fault) {
        let (world, node) = (network.world, node)
        // Not `Void`: a generic closure with a typed throw and an empty result crashes when built
        // without optimisation (Swift 6.3.1).
        _ = try await call { local -> Result<Bool, Fault> in
            do throws(Fault) {
                try await local.preempt(vm, operation: operation)
                // It knows by its memory alone.
                world.crashAboutNow(node, within: .milliseconds(40))
                return .success(true)
            } catch {
                return .failure(error)
            }
        }
    }

    func inspect(_ vm: VMID) async throws(Fault) -> VMReport? {
        try await call { local in
            await attempt { () async throws(Fault) in try await local.inspect(vm) }
        }
    }

    func assignment(_ vm: VMID) async throws(Fault) -> VMAssignment? {
        try await call { local in
            await attempt { () async throws(Fault) in try await local.assignment(vm) }
        }
    }

    func observe() async throws(Fault) -> NodeReport {
        try await call { local in
            await attempt { () async throws(Fault) in try await local.observe() }
        }
    }

    func changes(after cursor: UInt64) async throws(Fault) -> ReportPage {
        try await call { local in
            await attempt { () async throws(Fault) in try await local.changes(after: cursor) }
        }
    }

    func usage() async throws(Fault) -> NodeUsage {
        try await call { local in
            await attempt { () async throws(Fault) in try await local.usage() }
        }
    }

    func resolve(image: String, kernel: String) async throws(Fault) -> ResolvedImages {
        try await call { local in
            await attempt { () async throws(Fault) in
                try await local.resolve(image: image, kernel: kernel)
            }
        }
    }

    func exec(_ vm: VMID, _ request: ExecRequest) async throws(Fault) -> any ExecSession {
        throw Self.noGuest(vm)
    }

    func copy(_ vm: VMID, _ request: CopyRequest) async throws(Fault) -> any CopySession {
        throw Self.noGuest(vm)
    }

    func readLog(_ vm: VMID, _ request: LogRequest) async throws(Fault) -> LogPiece {
        try await call { local in
            await attempt { () async throws(Fault) in try await local.readLog(vm, request) }
        }
    }

    func guestStatus(_ vm: VMID) async throws(Fault) -> GuestStatus {
        throw Self.noGuest(vm)
    }

    private func call<T: Sendable>(
        _ work: @escaping @Sendable (any NodeLink) async -> Result<T, Fault>
    ) async throws(Fault) -> T {
        let host = host
        let gone = Fault(.nodeUnreachable, "node \(host.id.short) does not answer")
        return try await network.call(
            { host.server },
            to: host,
            gone: gone,
            work
        )
    }

    private static func noGuest(_ vm: VMID) -> Fault {
        Fault(.unsupported, "simulated VMs have no guest", metadata: ["vm": "\(vm)"])
    }
}

/// Nothing can be run in a simulated guest.
struct NoGuests: GuestAccess {
    func exec(_ vm: VMID, _ request: ExecRequest) async throws(Fault) -> any ExecSession {
        throw absent
    }
    func copy(_ vm: VMID, _ request: CopyRequest) async throws(Fault) -> any CopySession {
        throw absent
    }
    func status(_ vm: VMID) async throws(Fault) -> GuestStatus { throw absent }

    private var absent: Fault { Fault(.unsupported, "simulated VMs have no guest") }
}
