package import GRPCCore
package import RoostAPI
package import RoostControl
import RoostModel
import RoostOperations
import RoostStore
import SwiftProtobuf

/// `roost.ops.v1.OperationService` over the operations that ``VMService`` keeps, and the drains of
/// ``FleetService``.
package struct OperationServiceSkin: Roost_Ops_V1_OperationService.SimpleServiceProtocol {
    private let fleet: FleetService
    private let vms: VMService

    package init(_ fleet: FleetService, _ vms: VMService) { (self.fleet, self.vms) = (fleet, vms) }

    package func getOperation(
        request: Roost_Ops_V1_GetOperationRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_Operation {
        let id = try await whole(request.id)
        if let drain = try await fleet.drainRow(operation: id) { return .init(drain) }
        return Roost_Ops_V1_Operation(try await vms.operation(id))
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
        let view = Caller.current.view
        var page = try await vms.operations(rows, admittedTo: view)
            .map { (id: $0.id, message: Roost_Ops_V1_Operation($0)) }
        var token = next
        if vm == nil, !view.isConfined {
            let drains = try await fleet.drains(before: before)
            page += drains.map { (id: $0.id, message: Roost_Ops_V1_Operation($0)) }
            page.sort { $0.id > $1.id }
            let isLast = next == nil && page.count <= limit
            page = Array(page.prefix(limit))
            token = isLast ? nil : page.last?.id
        }
        let states = Set(request.states)
        var response = Roost_Ops_V1_ListOperationsResponse()
        response.operations = page.map(\.message)
            .filter { states.isEmpty || states.contains($0.state) }
        response.nextPageToken = token?.description ?? ""
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
        if let drain = try await fleet.drainRow(operation: id) {
            return .init(try await fleet.ending(drain, within: .seconds(limit)))
        }
        return Roost_Ops_V1_Operation(try await vms.waitForOperation(id, limit: .seconds(limit)))
    }

    package func cancelOperation(
        request: Roost_Ops_V1_CancelOperationRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_Operation {
        let id = try await whole(request.id)
        if let drain = try await fleet.drainRow(operation: id) {
            throw Fault(
                .unsupported,
                "a drain is not cancelled, it is ended: roost node uncordon \(drain.nodeName)"
            )
        }
        audit(.operation, id.description)
        return Roost_Ops_V1_Operation(try await vms.cancelOperation(id))
    }

    /// The id that `text` is, or is the ending of: people see the last six characters. An operation on
    /// what is not there for the caller is not there either.
    private func whole(_ text: String) async throws(Fault) -> OperationID {
        let typed = text.hasPrefix("op-") ? text.dropFirst(3) : text[...]
        let view = Caller.current.view
        guard OperationID(text) == nil, (6..<26).contains(typed.utf8.count) else {
            let id = try operationID(text, field: "id")
            // A drain is the fleet's: for who is confined it is not there.
            if view.isConfined {
                let rows = [try await vms.operation(id)]
                guard try await vms.operations(rows, admittedTo: view).count == 1 else {
                    throw Fault(.operationNotFound, "no operation \(id)", metadata: ["op": text])
                }
            }
            return id
        }
        let ending = typed.lowercased()
        let rows = try await vms.operations(endingIn: ending)
        let drains = view.isConfined ? [] : try await fleet.drains(endingIn: ending)
        let found = try await vms.operations(rows, admittedTo: view).map(\.id) + drains
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
        parent = row.parent?.description ?? ""
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
        if let fault = row.fault?.fault { error = .init(fault) }
    }

    /// A drain of a node, or the end of one: its VMs are its steps.
    init(_ row: DrainRow) {
        self.init()
        id = row.id.description
        method = row.method
        principal = row.principal
        subjects = [
            .with {
                $0.kind = "node"
                $0.id = row.node.description
                $0.name = row.nodeName
            }
        ]
        let isOver = row.phase == .ended
        state = !isOver ? .running : row.hasFailures ? .failed : .succeeded
        done = isOver
        createTime = .init(row.startedAt)
        updateTime = .init(row.finishedAt ?? row.startedAt)
        if let finishedAt = row.finishedAt { endTime = .init(finishedAt) }
        steps = row.targets.map { target in
            .with {
                $0.name = target.name
                switch target.outcome {
                case .pending: $0.state = .running
                case .failed: $0.state = .failed
                default: $0.state = .done
                }
                $0.detail = target.outcome.rawValue
                if let fault = target.fault { $0.detail += ": \(fault.message)" }
            }
        }
        if let fault = row.targets.first(where: { $0.outcome == .failed })?.fault?.fault {
            error = .init(fault)
        }
    }
}

extension Google_Rpc_Status {
    /// A fault as the record of an operation has it.
    fileprivate init(_ fault: Fault) {
        self.init()
        let info = Google_Rpc_ErrorInfo.with {
            $0.reason = fault.reason.rawValue
            $0.domain = errorDomain
            $0.metadata = fault.metadata
        }
        code = Int32(RPCError.Code(fault.code).rawValue)
        message = fault.message
        // A message of ours always encodes.
        details = (try? [Google_Protobuf_Any(message: info)]) ?? []
    }
}
