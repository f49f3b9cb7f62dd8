import GRPCCore
import GRPCNIOTransportHTTP2
import RoostAPI
package import RoostLink
package import RoostModel
import SwiftProtobuf

import struct Foundation.Data

/// The way to a node in another process: each call is one RPC with a deadline, through the node's one
/// client in the ``DaemonPool``.
package struct RemoteLink: NodeLink {
    package let node: NodeID
    private let pool: DaemonPool

    typealias Service = Roost_Node_V1_NodeLinkService.Client<HTTP2ClientTransport.Posix>
    private typealias Method = Roost_Node_V1_NodeLinkService.Method

    /// How long questions may take.
    static let patience = Duration.seconds(10)
    /// How long one attempt of ``apply(_:)`` waits; the same work is asked about again then.
    static let workPatience = Duration.seconds(60)

    init(node: NodeID, pool: DaemonPool) {
        self.node = node
        self.pool = pool
    }

    package func apply(_ delta: AssignmentDelta) async throws(Fault) -> VMReport {
        let json = try ModelCoding.data(delta)
        let request = Roost_Node_V1_ApplyRequest.with {
            $0.vmID = delta.vm.id.description
            $0.epoch = delta.epoch
            $0.json = json
        }
        while true {
            do throws(Fault) {
                let value = try await call(
                    Method.Apply.descriptor,
                    within: Self.workPatience,
                    for: delta.operation
                ) { service, metadata, options in
                    try await service.apply(request, metadata: metadata, options: options).json
                }
                return try ModelCoding.value(VMReport.self, value)
            } catch  where error.metadata["late"] != nil && !Task.isCancelled {
                // It works on: the same op id joins what goes on there.
                continue
            }
        }
    }

    package func preempt(_ vm: VMID, operation: OperationID) async throws(Fault) {
        _ = try await call(Method.Preempt.descriptor) { service, metadata, options in
            let request = Roost_Node_V1_PreemptRequest.with {
                $0.vmID = vm.description
                $0.operation = operation.description
            }
            _ = try await service.preempt(request, metadata: metadata, options: options)
            return true
        }
    }

    package func inspect(_ vm: VMID) async throws(Fault) -> VMReport? {
        let json = try await call(Method.Inspect.descriptor) { service, metadata, options in
            try await service.inspect(request(vm), metadata: metadata, options: options).json
        }
        return json.isEmpty ? nil : try ModelCoding.value(VMReport.self, json)
    }

    package func assignment(_ vm: VMID) async throws(Fault) -> VMAssignment? {
        let json = try await call(Method.GetAssignment.descriptor) { service, metadata, options in
            try await service.getAssignment(request(vm), metadata: metadata, options: options).json
        }
        return json.isEmpty ? nil : try ModelCoding.value(VMAssignment.self, json)
    }

    package func observe() async throws(Fault) -> NodeReport {
        let json = try await call(Method.Observe.descriptor) { service, metadata, options in
            let request = Roost_Node_V1_ObserveRequest()
            return try await service.observe(request, metadata: metadata, options: options).json
        }
        return try ModelCoding.value(NodeReport.self, json)
    }

    package func changes(after cursor: UInt64) async throws(Fault) -> ReportPage {
        let request = Roost_Node_V1_GetChangesRequest.with { $0.cursor = cursor }
        let json = try await call(
            Method.GetChanges.descriptor,
            within: NodeLinkSkin.patience + Self.patience
        ) { service, metadata, options in
            try await service.getChanges(request, metadata: metadata, options: options).json
        }
        return try ModelCoding.value(ReportPage.self, json)
    }

    package func usage() async throws(Fault) -> NodeUsage {
        let json = try await call(Method.GetUsage.descriptor, within: Self.workPatience) {
            service,
            metadata,
            options in
            let request = Roost_Node_V1_GetUsageRequest()
            return try await service.getUsage(request, metadata: metadata, options: options).json
        }
        return try ModelCoding.value(NodeUsage.self, json)
    }

    package func resolve(image: String, kernel: String) async throws(Fault) -> ResolvedImages {
        let request = Roost_Node_V1_ResolveRequest.with {
            $0.image = image
            $0.kernel = kernel
        }
        let json = try await call(Method.Resolve.descriptor) { service, metadata, options in
            try await service.resolve(request, metadata: metadata, options: options).json
        }
        return try ModelCoding.value(ResolvedImages.self, json)
    }

    package func readLog(_ vm: VMID, _ request: LogRequest) async throws(Fault) -> LogPiece {
        let json = try ModelCoding.data(request)
        let wanted = Roost_Node_V1_ValueLinkRequest.with {
            $0.vmID = vm.description
            $0.json = json
        }
        // Following waits for the guest to say something.
        let limit = request.follow ? Duration.seconds(3600) : Self.patience
        let piece = try await call(Method.ReadLog.descriptor, within: limit) {
            service,
            metadata,
            options in
            try await service.readLog(wanted, metadata: metadata, options: options)
        }
        return LogPiece(
            source: piece.source,
            bytes: Array(piece.data),
            nextOffset: piece.nextOffset,
            isEnd: piece.isEnd
        )
    }

    package func guestStatus(_ vm: VMID) async throws(Fault) -> GuestStatus {
        let json = try await call(Method.GetGuestStatus.descriptor) { service, metadata, options in
            try await service.getGuestStatus(request(vm), metadata: metadata, options: options).json
        }
        return try ModelCoding.value(GuestStatus.self, json)
    }

    package func exec(_ vm: VMID, _ request: ExecRequest) async throws(Fault) -> any ExecSession {
        let json = try ModelCoding.data(request)
        let start = Roost_Node_V1_LinkExecInput.with {
            $0.start.vmID = vm.description
            $0.start.json = json
        }
        let (client, _) = try pool.admit(node)
        let session = RemoteExec(self, Service(wrapping: client), metadata(for: request.session))
        try await counted(Method.Exec.descriptor) { () async throws(Fault) in
            try await session.open(start)
        }
        pool.note(node, answered: true)
        return session
    }

    package func copy(_ vm: VMID, _ request: CopyRequest) async throws(Fault) -> any CopySession {
        let json = try ModelCoding.data(request)
        let start = Roost_Node_V1_LinkCopyInput.with {
            $0.start.vmID = vm.description
            $0.start.json = json
        }
        let (client, _) = try pool.admit(node)
        let session = RemoteCopy(self, Service(wrapping: client), metadata(for: nil))
        try await counted(Method.Copy.descriptor) { () async throws(Fault) in
            try await session.open(start)
        }
        pool.note(node, answered: true)
        return session
    }

    // MARK: Calling

    /// The metadata of a call: the op id of what it is for.
    private func metadata(for operation: OperationID?) -> Metadata {
        guard let operation = operation ?? OperationScope.current else { return [:] }
        return [opIDKey: .string(operation.description)]
    }

    private func call<Answer: Sendable>(
        _ method: MethodDescriptor,
        within limit: Duration = patience,
        for operation: OperationID? = nil,
        _ body: @Sendable (Service, Metadata, CallOptions) async throws -> Answer
    ) async throws(Fault) -> Answer {
        let (client, _) = try pool.admit(node)
        var options = CallOptions.defaults
        options.timeout = limit
        options.waitForReady = false
        return try await counted(method) { () async throws(Fault) in
            do {
                let answer = try await body(
                    Service(wrapping: client),
                    metadata(for: operation),
                    options
                )
                pool.note(node, answered: true)
                return answer
            } catch {
                throw fault(error)
            }
        }
    }

    /// Does `work`, and counts it as a call of `method`.
    private func counted<Answer>(
        _ method: MethodDescriptor,
        _ work: () async throws(Fault) -> Answer
    ) async throws(Fault) -> Answer {
        let start = ContinuousClock.now
        var code: RPCError.Code?
        defer { pool.tally.add(method, code, after: ContinuousClock.now - start) }
        do throws(Fault) { return try await work() } catch {
            code = RPCError.Code(error.code)
            throw error
        }
    }

    /// What `error` means to whoever called, with what it says about the node noted: an answer that
    /// was lost is ``Reason/nodeUnreachable``, and the work may have been done.
    func fault(_ error: any Error) -> Fault {
        if let fault = error as? Fault {
            pool.note(node, answered: fault.reason != .nodeUnreachable)
            return fault
        }
        guard let error = error as? RPCError else {
            let isGone = error is CancellationError
            pool.note(node, answered: isGone ? nil : false)
            return isGone
                ? Fault(.opCancelled, "the caller has gone")
                : DaemonPool.unreachable(node, "\(error)", cause: error)
        }
        let received = ReceivedFault(error)
        let isNodes = received.namesReason
        if isNodes, received.fault.reason != .shuttingDown, received.fault.reason != .deadline {
            pool.note(node, answered: true)
            return received.fault
        }
        if Task.isCancelled {
            pool.note(node, answered: nil)
            return Fault(.opCancelled, "the caller has gone", cause: error)
        }
        let isLate = error.code == .deadlineExceeded
        pool.note(node, answered: isLate && isNodes)
        var fault = DaemonPool.unreachable(node, plain(error), cause: error)
        if isLate, isNodes { fault.metadata["late"] = "" }
        return fault
    }

    /// What a person needs of an error of the transport's.
    private func plain(_ error: RPCError) -> String {
        let inner = error.cause.map { ": \($0)" } ?? ""
        return shown(error.message + inner)
    }

    private func request(_ vm: VMID) -> Roost_Node_V1_VMLinkRequest {
        .with { $0.vmID = vm.description }
    }
}
