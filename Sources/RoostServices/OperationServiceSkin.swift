package import GRPCCore
package import RoostAPI
package import RoostControl
import RoostModel
import RoostOperations
import RoostStore
import SwiftProtobuf

/// `roost.ops.v1.OperationService` over the operations that ``VMService`` keeps.
package struct OperationServiceSkin: Roost_Ops_V1_OperationService.SimpleServiceProtocol {
    private let vms: VMService

    package init(_ vms: VMService) { self.vms = vms }

    package func getOperation(
        request: Roost_Ops_V1_GetOperationRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_Operation {
        Roost_Ops_V1_Operation(try await vms.operation(try await whole(request.id)))
    }

    package func listOperations(
        request: Roost_Ops_V1_ListOperationsRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_ListOperationsResponse {
        let before = OperationID(request.pageToken)
        guard request.pageToken.isEmpty || before != nil else {
            throw Fault.invalid("page_token", "is none of this list's; begin again without one")
        }
        let vm =
            request.vm.isEmpty
            ? nil : try await vms.get(request.vm, project: project(request.project)).row.id
        let limit = request.pageSize == 0 ? 100 : Int(request.pageSize)
        let (rows, next) = try await vms.operations(of: vm, before: before, limit: limit)
        let states = Set(request.states)
        var response = Roost_Ops_V1_ListOperationsResponse()
        response.operations = rows.map(Roost_Ops_V1_Operation.init)
            .filter { states.isEmpty || states.contains($0.state) }
        response.nextPageToken = next?.description ?? ""
        return response
    }

    package func waitOperation(
        request: Roost_Ops_V1_WaitOperationRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_Operation {
        let id = try await whole(request.id)
        let limit = request.hasTimeoutSeconds ? Int(request.timeoutSeconds) : 3600
        guard (0...86_400).contains(limit) else {
            throw Fault.invalid("timeout_seconds", "\(limit) is outside 0 … 86400")
        }
        return Roost_Ops_V1_Operation(try await vms.waitForOperation(id, limit: .seconds(limit)))
    }

    package func cancelOperation(
        request: Roost_Ops_V1_CancelOperationRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_Operation {
        Roost_Ops_V1_Operation(try await vms.cancelOperation(try await whole(request.id)))
    }

    /// The id that `text` is, or is the ending of: people see the last six characters.
    private func whole(_ text: String) async throws(Fault) -> OperationID {
        let ending = text.hasPrefix("op-") ? text.dropFirst(3) : text[...]
        guard OperationID(text) == nil, (6..<26).contains(ending.utf8.count) else {
            return try operationID(text, field: "id")
        }
        let found = try await vms.operations(endingIn: ending.lowercased())
        guard let only = found.first else {
            throw Fault(.operationNotFound, "no operation '\(shown(text))'", metadata: ["op": text])
        }
        guard found.count == 1 else {
            throw .invalid("id", "'\(shown(text))' is the ending of \(found.count) operations")
        }
        return only
    }
}

extension Roost_Ops_V1_Operation {
    /// The record as the API shows it.
    init(_ row: OperationRow) {
        self.init()
        id = row.id.description
        method = row.method
        principal = row.principal
        subjects = [
            .with {
                $0.kind = "vm"
                $0.id = row.vm.description
                $0.name = row.vmName
            }
        ]
        switch row.state {
        case .running: state = .running
        case .done: state = .succeeded
        case .failed: state = .failed
        case .cancelled: state = .cancelled
        }
        done = row.state.isTerminal
        createTime = .init(row.startedAt)
        updateTime = .init(row.steps.last?.at ?? row.startedAt)
        if let finishedAt = row.finishedAt { endTime = .init(finishedAt) }
        steps = row.steps.map { step in
            .with {
                $0.name = step.name
                $0.state = .done
                $0.startTime = .init(step.at)
                $0.detail = step.detail
            }
        }
        if let fault = row.fault?.fault {
            let info = Google_Rpc_ErrorInfo.with {
                $0.reason = fault.reason.rawValue
                $0.domain = errorDomain
                $0.metadata = fault.metadata
            }
            error.code = Int32(RPCError.Code(fault.code).rawValue)
            error.message = fault.message
            // A message of ours always encodes.
            error.details = (try? [Google_Protobuf_Any(message: info)]) ?? []
        }
    }
}
