package import GRPCCore
package import RoostAPI
package import RoostLink
import RoostModel
import SwiftProtobuf

/// `roost.node.v1.NodeDaemonService` over a node's link: each call is one assignment delta.
package struct NodeDaemonSkin: Roost_Node_V1_NodeDaemonService.SimpleServiceProtocol {
    private let link: any NodeLink
    private let facts: any DaemonFacts
    private let acceptedEpoch: @Sendable () -> Int64
    private let admit: @Sendable () throws -> Void
    private let hostname: String

    /// `epoch` is that of the control plane whose orders this node takes; `admit` refuses callers who
    /// may not call at all.
    package init(
        _ link: any NodeLink,
        _ facts: any DaemonFacts,
        epoch: @escaping @Sendable () -> Int64,
        hostname: String,
        admit: @escaping @Sendable () throws -> Void = {}
    ) {
        acceptedEpoch = epoch
        self.admit = admit
        self.link = link
        self.facts = facts
        self.hostname = hostname
    }

    package func healthCheck(
        request: Roost_Node_V1_HealthCheckRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_HealthCheckResponse {
        try admit()
        _ = try await link.observe()
        return .with {
            $0.healthy = true
            $0.message = "serving"
            $0.version = facts.version
            $0.uptime = .init(facts.uptime())
        }
    }

    package func getNodeInfo(
        request: Roost_Node_V1_GetNodeInfoRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_NodeInfo {
        try admit()
        let seen = try await link.observe()
        let acceleration = await facts.acceleration()
        return .with {
            $0.nodeID = link.node.description
            $0.hostname = hostname
            $0.version = facts.version
            $0.driver = facts.driver
            $0.acceleration = acceleration
            $0.cores = Int32(seen.capacity.cores)
            $0.memoryMib = Int64(seen.capacity.memoryMiB)
            $0.vms = seen.vms.map(Roost_Node_V1_VMReport.init)
        }
    }

    package func createVM(
        request: Roost_Node_V1_CreateVMRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_VMReport {
        try admit()
        var draft = Roost_Compute_V1_CreateVMRequest()
        draft.name = request.name
        draft.spec = request.spec
        let wanted = try VMDraft(draft)
        let problems = wanted.violations()
        guard problems.isEmpty, let cores = wanted.cores, let memory = wanted.memoryMiB else {
            throw Fault.invalid(problems)
        }
        let images = try await link.resolve(image: wanted.image, kernel: wanted.kernel)
        let spec = VMSpec(
            cores: cores,
            memoryMiB: memory,
            rootDiskGiB: wanted.rootDiskGiB ?? images.rootDiskFloorGiB,
            image: images.image,
            kernel: images.kernel,
            ports: wanted.ports.sorted(),
            network: wanted.network,
            restart: wanted.restart,
            disposable: wanted.disposable,
            coldBoot: wanted.coldBoot
        )
        let assignment = VMAssignment(
            id: try vmID(request.assignment),
            name: request.name,
            generation: Int(request.assignment.generation),
            spec: spec,
            desired: .stopped
        )
        return try await apply(assignment, request.assignment, .provision)
    }

    package func startVM(
        request: Roost_Node_V1_StartVMRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_VMReport {
        try await change(request.assignment, .start, .running)
    }

    package func stopVM(
        request: Roost_Node_V1_StopVMRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_VMReport {
        let grace = request.hasTimeoutSeconds ? Int(request.timeoutSeconds) : 30
        guard (0...86_400).contains(grace) else {
            throw Fault.invalid("timeout_seconds", "\(grace) is outside 0 … 86400")
        }
        return try await change(request.assignment, .stop(graceSeconds: grace), .stopped)
    }

    package func forceStopVM(
        request: Roost_Node_V1_ForceStopVMRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_VMReport {
        try await change(request.assignment, .stop(graceSeconds: 0), .stopped)
    }

    package func rebootVM(
        request: Roost_Node_V1_RebootVMRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_VMReport {
        try await change(request.assignment, .reboot, .running)
    }

    package func pauseVM(
        request: Roost_Node_V1_PauseVMRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_VMReport {
        try await change(request.assignment, .pause, .paused)
    }

    package func resumeVM(
        request: Roost_Node_V1_ResumeVMRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_VMReport {
        try await change(request.assignment, .resume, .running)
    }

    package func deleteVM(
        request: Roost_Node_V1_DeleteVMRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_VMReport {
        try await change(request.assignment, .discard, .stopped)
    }

    private func change(
        _ asked: Roost_Node_V1_Assignment,
        _ action: NodeAction,
        _ desired: DesiredPower
    ) async throws -> Roost_Node_V1_VMReport {
        try admit()
        let id = try vmID(asked)
        guard var assignment = try await link.assignment(id) else {
            throw Fault(.vmNotFound, "this node has no VM \(id)", metadata: ["vm": id.description])
        }
        assignment.desired = desired
        assignment.generation = max(assignment.generation, Int(asked.generation))
        return try await apply(assignment, asked, action)
    }

    private func apply(
        _ assignment: VMAssignment,
        _ asked: Roost_Node_V1_Assignment,
        _ action: NodeAction
    ) async throws -> Roost_Node_V1_VMReport {
        guard let call = Call.current else { throw Fault(.bug, "a node call without a call") }
        // A higher one would shut the node's own control plane out for good.
        let epoch = acceptedEpoch()
        guard asked.epoch == epoch else {
            throw Fault(.staleEpoch, "this node takes orders of epoch \(epoch), not \(asked.epoch)")
        }
        let delta = AssignmentDelta(
            operation: call.operation,
            epoch: epoch,
            vm: assignment,
            action: action
        )
        return Roost_Node_V1_VMReport(try await link.apply(delta))
    }

    private func vmID(_ asked: Roost_Node_V1_Assignment) throws(Fault) -> VMID {
        guard let id = VMID(asked.vmID) else {
            throw .invalid(
                "assignment.vm_id",
                "'\(shown(asked.vmID))' is not 32 hexadecimal digits"
            )
        }
        return id
    }
}

extension Roost_Node_V1_VMReport {
    /// The report as the API shows it.
    init(_ report: VMReport) {
        self.init()
        vmID = report.id.description
        state = .init(report.state)
        reason = report.reason
        observedGeneration = Int64(report.observedGeneration)
        addresses = report.addresses
        switch report.ended {
        case .poweredOff: ended = .poweredOff
        case .failed: ended = .failed
        case nil: ended = .unspecified
        }
    }
}
