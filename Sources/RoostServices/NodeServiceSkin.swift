package import GRPCCore
package import RoostAPI
package import RoostControl
import RoostModel
import RoostOperations
import RoostStore
import SwiftProtobuf

/// `roost.fleet.v1.NodeService` over ``FleetService``: decode, call, encode.
package struct NodeServiceSkin: Roost_Fleet_V1_NodeService.SimpleServiceProtocol {
    private let fleet: FleetService

    package init(_ fleet: FleetService) { self.fleet = fleet }

    package func listNodes(
        request: Roost_Fleet_V1_ListNodesRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_ListNodesResponse {
        let nodes = fleet.list(try Selector(request.selector))
        return .with { $0.nodes = nodes.map(Roost_Fleet_V1_Node.init) }
    }

    package func getNode(
        request: Roost_Fleet_V1_GetNodeRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_Node {
        let node = try fleet.get(request.node)
        var message = Roost_Fleet_V1_Node(node)
        if let row = try await fleet.drainRow(node.facts.id) { message.drain = .init(row) }
        return message
    }

    package func drainNode(
        request: Roost_Fleet_V1_DrainNodeRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_NodeChange {
        var order = DrainOrder(
            reason: request.reason,
            suspends: request.suspend,
            force: request.force
        )
        if request.hasTimeoutSeconds { order.graceSeconds = Int(request.timeoutSeconds) }
        let report = try await fleet.drain(
            request.node,
            order,
            etag: try RoostServices.etag(request.etag),
            try requestContext(
                "DrainNode",
                request,
                validateOnly: request.validateOnly,
                answersWhenAccepted: try answersWhenAccepted(request.wait)
            )
        )
        return .init(report)
    }

    package func cordonNode(
        request: Roost_Fleet_V1_CordonNodeRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_NodeChange {
        let change = FleetService.Change.cordon(reason: request.reason)
        return try await self.change(request.node, change, request.etag, request.validateOnly)
    }

    package func uncordonNode(
        request: Roost_Fleet_V1_UncordonNodeRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_NodeChange {
        let report = try await fleet.uncordon(
            request.node,
            etag: try RoostServices.etag(request.etag),
            try requestContext(
                "UncordonNode",
                request,
                validateOnly: request.validateOnly,
                answersWhenAccepted: try answersWhenAccepted(request.wait)
            )
        )
        return .init(report)
    }

    package func setNodeLabels(
        request: Roost_Fleet_V1_SetNodeLabelsRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_NodeChange {
        let change = FleetService.Change.labels(set: request.set, remove: request.remove)
        return try await self.change(request.node, change, request.etag, request.validateOnly)
    }

    package func setNodeTaints(
        request: Roost_Fleet_V1_SetNodeTaintsRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_NodeChange {
        var taints: [Taint] = []
        for (index, taint) in request.set.enumerated() {
            let effect = try Taint.Effect.named(taint.effect, field: "set[\(index)].effect")
            taints.append(Taint(taint.key, taint.value, effect ?? .noSchedule))
        }
        let change = FleetService.Change.taints(set: taints, remove: request.remove)
        return try await self.change(request.node, change, request.etag, request.validateOnly)
    }

    private func change(
        _ node: String,
        _ change: FleetService.Change,
        _ etag: String,
        _ validateOnly: Bool
    ) async throws -> Roost_Fleet_V1_NodeChange {
        let outcome = try await fleet.change(
            node,
            change,
            etag: try RoostServices.etag(etag),
            isOnlyAsked: validateOnly
        )
        return .with {
            $0.node = Roost_Fleet_V1_Node(outcome.node)
            $0.changed = outcome.changed
        }
    }
}

extension Roost_Fleet_V1_NodeChange {
    /// A drain, or the end of one, as the API shows it.
    fileprivate init(_ report: FleetService.DrainReport) {
        self.init()
        node = .init(report.node)
        changed = report.changed
        guard let row = report.row else { return }
        vms = row.targets.map { target in
            var vm = Roost_Fleet_V1_DrainedVM(target, of: row)
            switch report.rooms[target.vm] {
            case .on(_, let name): vm.roomOn = name
            case .nowhere(let why): vm.noRoom = why
            case nil: break
            }
            return vm
        }
    }
}

extension Roost_Fleet_V1_NodeDrain {
    fileprivate init(_ row: DrainRow) {
        self.init()
        operation = row.id.description
        restores = row.kind == .restore
        suspends = row.suspends
        startTime = .init(row.startedAt)
        if let finishedAt = row.finishedAt { endTime = .init(finishedAt) }
        vms = row.targets.map { .init($0, of: row) }
    }
}

extension Roost_Fleet_V1_DrainedVM {
    fileprivate init(_ target: DrainTarget, of row: DrainRow) {
        self.init()
        vmID = target.vm.description
        vmName = target.name
        project = target.project
        fleet = target.fleet ?? ""
        operation = row.id.child(target.vm.description).description
        outcome =
            switch target.outcome {
            case .pending: .pending
            case .stopped: .stopped
            case .suspended: .suspended
            case .started: .started
            case .already: .already
            case .gone: .gone
            case .left: .left
            case .failed: .failed
            }
        guard let fault = target.fault?.fault else { return }
        reason = fault.reason.rawValue
        message = fault.message
        remedy = fault.remedy
    }
}

extension Roost_Fleet_V1_Node {
    /// The node as the API shows it.
    init(_ node: FleetService.Node) {
        self.init()
        id = node.facts.id.description
        name = node.facts.name
        state =
            switch node.facts.state {
            case .ready: .ready
            case .cordoned: .cordoned
            case .draining: node.isDrained ? .drained : .draining
            case .notReady: .notReady
            case .lost: .lost
            }
        labels = node.facts.labels
        taints = node.facts.taints.map { taint in
            .with {
                $0.key = taint.key
                $0.value = taint.value
                $0.effect = .init(taint.effect)
            }
        }
        hardware = .init(node.facts.cores, node.facts.memoryMiB)
        promisable = .init(node.facts.promisableCores, node.facts.promisableMemoryMiB)
        promised = .init(node.promisedCores, node.promisedMemoryMiB)
        vmCount = Int64(node.vmCount)
        etag = etagText(node.etag)
        cordonReason = node.row.cordonReason
        if let updatedAt = node.row.updatedAt { updateTime = .init(updatedAt) }
    }
}

extension Roost_Fleet_V1_NodeRoom {
    fileprivate init(_ cores: Int, _ memoryMiB: Int) {
        self.init()
        self.cores = Int64(cores)
        self.memoryMib = Int64(memoryMiB)
    }
}
