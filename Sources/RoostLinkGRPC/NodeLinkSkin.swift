package import GRPCCore
package import RoostAPI
package import RoostLink
import RoostModel
import RoostTrust
import SwiftProtobuf
import Synchronization

import struct Foundation.Data

/// `roost.node.v1.NodeLinkService` over a node's own link: only the control plane may call it.
package final class NodeLinkSkin: Roost_Node_V1_NodeLinkService.SimpleServiceProtocol {
    private let link: any NodeLink
    /// Work that goes on when its caller has left; a repeat waits for the same.
    private let running = Mutex<[OperationID: Task<Result<VMReport, Fault>, Never>]>([:])

    /// How long ``getChanges(request:context:)`` waits for something to tell.
    static let patience = Duration.seconds(30)

    package init(_ link: any NodeLink) { self.link = link }

    package func apply(
        request: Roost_Node_V1_ApplyRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_LinkValue {
        try FleetPeer.requireControl()
        let delta = try ModelCoding.value(AssignmentDelta.self, request.json)
        guard delta.vm.id.description == request.vmID, delta.epoch == request.epoch else {
            throw Fault(.malformedRequest, "vm_id or epoch is not that of the assignment")
        }
        return try answer(try await work(delta).value.get())
    }

    /// The task that carries `delta` out: the one that does so already, or a new one.
    private func work(_ delta: AssignmentDelta) -> Task<Result<VMReport, Fault>, Never> {
        running.withLock { running in
            if let task = running[delta.operation] { return task }
            let task = Task { () -> Result<VMReport, Fault> in
                let outcome: Result<VMReport, Fault>
                do throws(Fault) {
                    outcome = .success(try await self.link.apply(delta))
                } catch {
                    outcome = .failure(error)
                }
                self.running.withLock { $0[delta.operation] = nil }
                return outcome
            }
            running[delta.operation] = task
            return task
        }
    }

    package func preempt(
        request: Roost_Node_V1_PreemptRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_PreemptResponse {
        try FleetPeer.requireControl()
        guard let operation = OperationID(request.operation) else {
            throw Fault.invalid("operation", "'\(shown(request.operation))' is no op id")
        }
        try await link.preempt(try vm(request.vmID), operation: operation)
        return Roost_Node_V1_PreemptResponse()
    }

    package func inspect(
        request: Roost_Node_V1_VMLinkRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_LinkValue {
        try FleetPeer.requireControl()
        guard let report = try await link.inspect(try vm(request.vmID)) else {
            return Roost_Node_V1_LinkValue()
        }
        return try answer(report)
    }

    package func getAssignment(
        request: Roost_Node_V1_VMLinkRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_LinkValue {
        try FleetPeer.requireControl()
        guard let assignment = try await link.assignment(try vm(request.vmID)) else {
            return Roost_Node_V1_LinkValue()
        }
        return try answer(assignment)
    }

    package func observe(
        request: Roost_Node_V1_ObserveRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_LinkValue {
        try FleetPeer.requireControl()
        return try answer(try await link.observe())
    }

    package func getChanges(
        request: Roost_Node_V1_GetChangesRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_LinkValue {
        try FleetPeer.requireControl()
        let (link, cursor) = (link, request.cursor)
        let page = try await withThrowingTaskGroup(of: ReportPage?.self) { group in
            group.addTask { try await link.changes(after: cursor) }
            group.addTask {
                try await ContinuousClock().sleep(for: Self.patience)
                return nil
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
        return try answer(page ?? ReportPage(vms: [], cursor: cursor, missedSome: false))
    }

    package func getUsage(
        request: Roost_Node_V1_GetUsageRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_LinkValue {
        try FleetPeer.requireControl()
        return try answer(try await link.usage())
    }

    package func resolve(
        request: Roost_Node_V1_ResolveRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_LinkValue {
        try FleetPeer.requireControl()
        return try answer(try await link.resolve(image: request.image, kernel: request.kernel))
    }

    package func readLog(
        request: Roost_Node_V1_ValueLinkRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_LinkLogPiece {
        try FleetPeer.requireControl()
        let wanted = try ModelCoding.value(LogRequest.self, request.json)
        let piece = try await link.readLog(try vm(request.vmID), wanted)
        return .with {
            $0.source = piece.source
            $0.data = Data(piece.bytes)
            $0.nextOffset = piece.nextOffset
            $0.isEnd = piece.isEnd
        }
    }

    package func getGuestStatus(
        request: Roost_Node_V1_VMLinkRequest,
        context: ServerContext
    ) async throws -> Roost_Node_V1_LinkValue {
        try FleetPeer.requireControl()
        return try answer(try await link.guestStatus(try vm(request.vmID)))
    }

    package func exec(
        request: RPCAsyncSequence<Roost_Node_V1_LinkExecInput, any Error>,
        response: RPCWriter<Roost_Node_V1_LinkExecOutput>,
        context: ServerContext
    ) async throws {
        try FleetPeer.requireControl()
        try await serveExec(link, request, response)
    }

    package func copy(
        request: RPCAsyncSequence<Roost_Node_V1_LinkCopyInput, any Error>,
        response: RPCWriter<Roost_Node_V1_LinkCopyOutput>,
        context: ServerContext
    ) async throws {
        try FleetPeer.requireControl()
        try await serveCopy(link, request, response)
    }

    private func answer(_ value: some Encodable) throws(Fault) -> Roost_Node_V1_LinkValue {
        let data = try ModelCoding.data(value)
        return .with { $0.json = data }
    }

    private func vm(_ text: String) throws(Fault) -> VMID { try linkedVM(text) }
}

/// Reads a VM's id as the link sends it.
func linkedVM(_ text: String) throws(Fault) -> VMID {
    guard let id = VMID(text) else {
        throw .invalid("vm_id", "'\(shown(text))' is not 32 hexadecimal digits")
    }
    return id
}
