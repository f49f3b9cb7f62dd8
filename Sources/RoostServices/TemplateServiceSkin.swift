package import GRPCCore
package import RoostAPI
package import RoostControl
import RoostModel
import RoostStore
import SwiftProtobuf

/// `roost.compute.v1.TemplateService` over ``VMService``: decode, call, encode.
package struct TemplateServiceSkin: Roost_Compute_V1_TemplateService.SimpleServiceProtocol {
    private let vms: VMService

    package init(_ vms: VMService) { self.vms = vms }

    package func createTemplate(
        request: Roost_Compute_V1_CreateTemplateRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_Template {
        message(
            try await vms.makeTemplate(
                request.name,
                of: request.id,
                checkpoint: request.checkpoint,
                project: project(request.project),
                etag: try etag(request.etag),
                try mutation("CreateTemplate", request)
            )
        )
    }

    package func getTemplate(
        request: Roost_Compute_V1_GetTemplateRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_Template {
        message(try await vms.findTemplate(request.id, project: project(request.project)))
    }

    package func listTemplates(
        request: Roost_Compute_V1_ListTemplatesRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_ListTemplatesResponse {
        var response = Roost_Compute_V1_ListTemplatesResponse()
        response.templates = try await vms.templates(project: project(request.project))
            .map(message)
        return response
    }

    package func deleteTemplate(
        request: Roost_Compute_V1_DeleteTemplateRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_DeleteTemplateResponse {
        let outcome = try await vms.deleteTemplate(
            request.id,
            project: project(request.project),
            etag: try etag(request.etag),
            try mutation("DeleteTemplate", request)
        )
        return .with { $0.name = outcome.vm.name }
    }

    private func message(_ template: Template) -> Roost_Compute_V1_Template {
        let vm = template.vm.row
        return .with {
            $0.id = vm.id.description
            $0.name = vm.name
            $0.project = vm.project
            $0.etag = etagText(template.vm.version)
            $0.origin = vm.seal?.origin ?? ""
            $0.spec = Roost_Compute_V1_VMSpec(vm.spec)
            if let kept = template.moment?.kept {
                $0.hasMemory_p = kept.hasMemory
                $0.memoryBytes = Int64(clamping: kept.memory.bytes)
                $0.diskBytes = Int64(clamping: kept.disk.bytes)
            }
            $0.users = template.users
            $0.nodeID = vm.status.node?.description ?? ""
            $0.createTime = .init(vm.createdAt)
            $0.createOp = vm.createOp.description
            $0.runningOp = vm.runningOp?.description ?? ""
        }
    }
}
