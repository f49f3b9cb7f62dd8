package import GRPCCore
package import RoostAPI
package import RoostControl
import RoostModel
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
        Roost_Fleet_V1_Node(try fleet.get(request.node))
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
        try await change(request.node, .uncordon, request.etag, request.validateOnly)
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
            case .draining: .draining
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
