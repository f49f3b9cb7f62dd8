package import GRPCCore
package import RoostAPI
package import RoostControl
import RoostModel
import SwiftProtobuf

/// `roost.ops.v1.UsageService` over ``FleetService``: decode, call, encode.
package struct UsageServiceSkin: Roost_Ops_V1_UsageService.SimpleServiceProtocol {
    private let fleet: FleetService

    package init(_ fleet: FleetService) { self.fleet = fleet }

    package func getUsage(
        request: Roost_Ops_V1_GetUsageRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_GetUsageResponse {
        var response = Roost_Ops_V1_GetUsageResponse()
        for answer in try await fleet.usage(request.node) {
            switch answer.usage {
            case .success(let usage):
                response.items += answer.items.map { item in
                    var message = Roost_Ops_V1_UsageItem(item)
                    message.nodeID = answer.node.description
                    message.node = answer.name
                    if item.kind == .total {
                        message.diskFreeBytes = Int64(clamping: usage.diskFree.bytes)
                        message.memoryFreeBytes = Int64(clamping: usage.memoryFree.bytes)
                    }
                    return message
                }
            case .failure(let fault):
                response.gaps.append(
                    .with {
                        $0.nodeID = answer.node.description
                        $0.node = answer.name
                        $0.problem = fault.message
                    }
                )
            }
        }
        return response
    }
}

extension Roost_Ops_V1_UsageItem {
    fileprivate init(_ item: UsageItem) {
        self.init()
        kind =
            switch item.kind {
            case .vm: .vm
            case .checkpoint: .checkpoint
            case .template: .template
            case .tree: .tree
            case .prepared: .prepared
            case .image: .image
            case .kernel: .kernel
            case .fork: .fork
            case .other: .other
            case .total: .total
            }
        name = item.name
        id = item.id
        project = item.project
        state = item.state?.rawValue ?? ""
        disk = .init(item.disk)
        memory = .init(item.memory)
        sharedWith = item.sharedWith
    }
}

extension Roost_Ops_V1_UsageShare {
    fileprivate init(_ share: UsageShare) {
        self.init()
        bytes = Int64(clamping: share.bytes)
        uniqueBytes = Int64(clamping: share.unique)
        sharedBytes = Int64(clamping: share.shared)
    }
}
