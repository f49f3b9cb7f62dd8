package import GRPCCore
package import RoostAPI
package import RoostControl
import RoostModel
import SwiftProtobuf

/// `roost.compute.v1.CheckpointService` over ``VMService``: decode, call, encode.
package struct CheckpointServiceSkin: Roost_Compute_V1_CheckpointService.SimpleServiceProtocol {
    private let vms: VMService

    package init(_ vms: VMService) { self.vms = vms }

    package func createCheckpoint(
        request: Roost_Compute_V1_CreateCheckpointRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_Checkpoint {
        let made = try await vms.makeCheckpoint(
            request.id,
            project: project(request.project),
            message: request.message,
            etag: try etag(request.etag),
            try mutation("CreateCheckpoint", request)
        )
        return Roost_Compute_V1_Checkpoint(made, isCurrent: true)
    }

    package func listCheckpoints(
        request: Roost_Compute_V1_ListCheckpointsRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_ListCheckpointsResponse {
        let found = try await vms.checkpoints(request.id, project: project(request.project))
        var response = Roost_Compute_V1_ListCheckpointsResponse()
        response.checkpoints = found.all.map {
            Roost_Compute_V1_Checkpoint($0, isCurrent: $0.id == found.current)
        }
        return response
    }

    package func revertVM(
        request: Roost_Compute_V1_RevertVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange {
        change(
            try await vms.revert(
                request.id,
                to: request.checkpoint,
                project: project(request.project),
                force: request.force,
                etag: try etag(request.etag),
                try mutation("RevertVM", request)
            )
        )
    }

    package func deleteCheckpoint(
        request: Roost_Compute_V1_DeleteCheckpointRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange {
        change(
            try await vms.deleteCheckpoint(
                request.id,
                request.checkpoint,
                project: project(request.project),
                etag: try etag(request.etag),
                try mutation("DeleteCheckpoint", request)
            )
        )
    }
}
