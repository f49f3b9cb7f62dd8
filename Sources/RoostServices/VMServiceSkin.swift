package import GRPCCore
package import RoostAPI
package import RoostControl
import RoostModel
import RoostOperations
import RoostStore
import SwiftProtobuf

/// `roost.compute.v1.VMService` over ``VMService``: decode, call, encode.
package struct VMServiceSkin: Roost_Compute_V1_VMService.SimpleServiceProtocol {
    private let vms: VMService
    private let guests: GuestService

    package init(_ vms: VMService, _ guests: GuestService) {
        self.vms = vms
        self.guests = guests
    }

    package func createVM(
        request: Roost_Compute_V1_CreateVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VM {
        var draft = try VMDraft(request)
        let project = try project(request.project)
        draft.project = project.name
        try await vms.requireReach(of: draft, in: project)
        let outcome = try await vms.create(
            draft,
            try requestContext(
                "CreateVM",
                request,
                validateOnly: request.validateOnly,
                answersWhenAccepted: try answersWhenAccepted(request.wait)
            )
        )
        guests.expectGuest(of: outcome.vm)
        return message(outcome)
    }

    package func getVM(
        request: Roost_Compute_V1_GetVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VM {
        let found = try await vms.get(request.id, project: project(request.project))
        return Roost_Compute_V1_VM(found.row, etag: etagText(found.version))
    }

    package func listVMs(
        request: Roost_Compute_V1_ListVMsRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_ListVMsResponse {
        let token = request.pageToken.isEmpty ? nil : try PageToken(request.pageToken)
        let filter = VMFilter(
            project: try projects(request.project),
            node: try vms.findNode(request.node),
            states: Set(try request.states.map { try VMState($0) }),
            selector: try Selector(request.selector),
            showsTrash: request.showDeleted
        )
        let size = request.pageSize == 0 ? 100 : Int(request.pageSize)
        let page = try await vms.list(filter, size: size, token: token)
        var response = Roost_Compute_V1_ListVMsResponse()
        response.vms = page.vms.map { Roost_Compute_V1_VM($0.row, etag: etagText($0.version)) }
        response.nextPageToken = page.next?.description ?? ""
        response.revision = page.revision.number
        return response
    }

    package func watchVMs(
        request: Roost_Compute_V1_WatchVMsRequest,
        response: RPCWriter<Roost_Compute_V1_WatchVMsResponse>,
        context: ServerContext
    ) async throws {
        let filter = VMFilter(
            project: try projects(request.project),
            selector: try Selector(request.selector)
        )
        let only =
            request.id.isEmpty
            ? nil : try await vms.get(request.id, project: project(request.project)).row.id
        let from = request.fromRevision == 0 ? nil : Revision(request.fromRevision)
        try await vms.watch(filter, only: only, from: from) { event in
            var answer = Roost_Compute_V1_WatchVMsResponse()
            answer.revision = event.revision.number
            switch event.kind {
            case .added: answer.type = .added
            case .modified: answer.type = .modified
            case .deleted: answer.type = .deleted
            case .bookmark: answer.type = .bookmark
            }
            if let vm = event.vm {
                answer.vm = Roost_Compute_V1_VM(vm.row, etag: etagText(vm.version))
            } else if let id = event.id {
                answer.vm.id = id.description
            }
            try await response.write(answer)
        }
    }

    package func updateVM(
        request: Roost_Compute_V1_UpdateVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VM {
        let fields = try Set(updateFields(request.updateMask.paths).map { try field($0) })
        _ = try answersWhenAccepted(request.wait)
        let project = try project(request.project)
        let draft = try VMDraft(request.vm)
        try await vms.requireReach(of: draft, in: project)
        let outcome = try await vms.update(
            request.id,
            project: project,
            VMUpdate(
                fields: fields,
                draft: draft,
                etag: try etag(request.etag)
            ),
            try requestContext("UpdateVM", request, validateOnly: request.validateOnly)
        )
        return message(outcome)
    }

    private func field(_ field: UpdateField) throws(Fault) -> VMField {
        guard let known = VMField(rawValue: field.rawValue) else {
            throw Fault(.bug, "the field \(field.rawValue) is in the API and not in the service")
        }
        return known
    }

    package func startVM(
        request: Roost_Compute_V1_StartVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange {
        try await power(.start, "StartVM", request)
    }

    package func stopVM(
        request: Roost_Compute_V1_StopVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange {
        let grace = request.hasTimeoutSeconds ? Int(request.timeoutSeconds) : 30
        let options = PowerOptions(graceSeconds: grace, force: request.force)
        return try await power(.stop, "StopVM", request, options)
    }

    package func restartVM(
        request: Roost_Compute_V1_RestartVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange {
        let grace = request.hasTimeoutSeconds ? Int(request.timeoutSeconds) : 30
        return try await power(.restart, "RestartVM", request, PowerOptions(graceSeconds: grace))
    }

    package func rebootVM(
        request: Roost_Compute_V1_RebootVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange {
        try await power(.reboot, "RebootVM", request)
    }

    package func killVM(
        request: Roost_Compute_V1_KillVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange {
        try await power(.kill, "KillVM", request)
    }

    package func pauseVM(
        request: Roost_Compute_V1_PauseVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange {
        try await power(.pause, "PauseVM", request)
    }

    package func resumeVM(
        request: Roost_Compute_V1_ResumeVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange {
        try await power(.resume, "ResumeVM", request)
    }

    package func suspendVM(
        request: Roost_Compute_V1_SuspendVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange {
        try await power(.suspend, "SuspendVM", request)
    }

    package func forkVM(
        request: Roost_Compute_V1_ForkVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_ForkVMResponse {
        let order = ForkOrder(
            names: request.names,
            count: request.hasCount ? Int(request.count) : nil,
            checkpoint: request.checkpoint,
            etag: try etag(request.etag)
        )
        let copies = try await vms.fork(
            request.id,
            project: project(request.project),
            order,
            try mutation("ForkVM", request)
        )
        var response = Roost_Compute_V1_ForkVMResponse()
        response.vms = copies.map(message)
        return response
    }

    package func cloneVM(
        request: Roost_Compute_V1_CloneVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VM {
        guard !request.name.isEmpty else { throw Fault.invalid("name", "is required") }
        let order = ForkOrder(
            .clones(isWhole: request.full),
            names: [request.name],
            checkpoint: request.checkpoint,
            etag: try etag(request.etag)
        )
        let clones = try await vms.fork(
            request.id,
            project: project(request.project),
            order,
            try mutation("CloneVM", request)
        )
        guard let clone = clones.first else { throw Fault(.bug, "a clone without a VM") }
        return message(clone)
    }

    package func deleteVM(
        request: Roost_Compute_V1_DeleteVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange {
        let options = PowerOptions(force: request.force, purge: request.purge)
        return try await power(.delete, "DeleteVM", request, options)
    }

    package func undeleteVM(
        request: Roost_Compute_V1_UndeleteVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange {
        change(
            try await vms.undelete(
                request.id,
                project: project(request.project),
                newName: request.newName,
                etag: try etag(request.etag),
                try mutation("UndeleteVM", request)
            )
        )
    }

    package func purgeVM(
        request: Roost_Compute_V1_PurgeVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange {
        change(
            try await vms.purge(
                request.id,
                project: project(request.project),
                etag: try etag(request.etag),
                try mutation("PurgeVM", request)
            )
        )
    }

    package func resetVMState(
        request: Roost_Compute_V1_ResetVMStateRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange {
        change(
            try await vms.resetState(
                request.id,
                project: project(request.project),
                try mutation("ResetVMState", request)
            )
        )
    }

    private func power(
        _ verb: PowerVerb,
        _ method: String,
        _ request: some VMMutation,
        _ options: PowerOptions = PowerOptions()
    ) async throws -> Roost_Compute_V1_VMChange {
        var options = options
        options.etag = try etag(request.etag)
        let outcome = try await vms.power(
            verb,
            request.id,
            project: project(request.project),
            options: options,
            try mutation(method, request)
        )
        return change(outcome)
    }

    private func message(_ outcome: VMOutcome) -> Roost_Compute_V1_VM {
        Roost_Compute_V1_VM(outcome.vm, etag: etagText(outcome.etag))
    }
}
