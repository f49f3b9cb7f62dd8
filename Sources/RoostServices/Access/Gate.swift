package import GRPCCore
package import RoostAPI
package import RoostControl
package import RoostModel

/// How a listener learns who asks.
package protocol Door: Sendable {
    /// Who asks, with these `authorization` headers, from `peer`.
    ///
    /// - Throws: ``RoostModel/Reason/unauthenticated`` and what is wrong with what was shown.
    func caller(_ authorization: [String], from peer: Peer) async throws(Fault) -> Caller
}

/// The one place where it is decided whether a call may be made: who asks, by the listener's
/// ``Door``, and whether ``RoostAPI/accessTable`` lets that caller. Sets ``Caller/current``.
package struct Gate: ServerInterceptor {
    private let door: any Door
    private let table: [String: AccessRule]
    private let trail: VMService?

    /// Lets in whom `door` knows, to what `table` allows; what is more than reading is written down in
    /// `trail`.
    package init(
        _ door: any Door,
        table: [String: AccessRule] = accessTable,
        trail: VMService? = nil
    ) {
        self.door = door
        self.table = table
        self.trail = trail
    }

    package func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>,
        context: ServerContext,
        next:
            @Sendable @concurrent (
                _ request: StreamingServerRequest<Input>,
                _ context: ServerContext
            ) async throws -> StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        let method = context.descriptor.fullyQualifiedMethod
        let caller = try await admitted(
            method,
            Array(request.metadata[stringValues: "authorization"]),
            Peer(context)
        )
        let call = try audited(method, caller)
        let response = try await serving(caller, call, whoLeaves: .opCancelled) {
            try await next(request, context)
        }
        return response.wrappingProducer { producer, writer in
            // Whoever leaves while it is answered takes nothing back.
            let end = try await serving(caller, call, whoLeaves: nil) { try await producer(writer) }
            if let call { trail?.endAudit(call) }
            return end
        }
    }

    private func audited(_ method: String, _ caller: Caller) throws(Fault) -> AuditedCall? {
        guard let trail, table[method]?.isAudited(method) == true, let call = Call.current else {
            return nil
        }
        return try trail.auditedCall(by: caller.principal, method, call.operation)
    }

    /// Runs `body` as what `caller` asked for. What it throws refuses `call`: with the fault's reason, or
    /// with `whoLeaves` when it is no fault, as when the caller is gone.
    private func serving<Result: Sendable>(
        _ caller: Caller,
        _ call: AuditedCall?,
        whoLeaves: Reason?,
        _ body: () async throws -> Result
    ) async throws -> Result {
        do {
            return try await Caller.$current.withValue(caller) {
                try await AuditedCall.$current.withValue(call) { try await body() }
            }
        } catch {
            let reason = (error as? Fault)?.reason ?? whoLeaves
            if let call { trail?.endAudit(call, refusal: reason?.rawValue) }
            throw error
        }
    }

    /// Who calls `method`, when that caller may.
    package func admitted(
        _ method: String,
        _ authorization: [String],
        _ peer: Peer
    ) async throws(Fault) -> Caller {
        guard let rule = table[method] else {
            throw Fault(.bug, "/\(method) has no rule of who may call it, and so nobody may")
        }
        if rule == .anybody { return .unknown }
        let caller = try await door.caller(authorization, from: peer)
        try rule.admit(caller.role, project: caller.project, method: method)
        return caller
    }
}

/// The Unix socket: whom the kernel names. This user and root may everything; nobody else gets in,
/// whatever the socket's permissions have become.
package struct LocalDoor: Door {
    private let owner: UInt32

    /// `owner` is the daemon's effective uid.
    package init(owner: UInt32) { self.owner = owner }

    package func caller(
        _ authorization: [String],
        from peer: Peer
    ) async throws(Fault) -> Caller {
        guard case .local(let uid, _, _) = peer else {
            throw Fault(.unauthenticated, "the kernel does not say who is at the other end")
        }
        guard uid == owner || uid == 0 else {
            throw Fault(
                .permissionDenied,
                "the socket is that of uid \(owner), and uid \(uid) called",
                metadata: ["uid": "\(uid)"]
            )
        }
        return Caller(principal: "uid:\(uid)", role: .admin)
    }
}

/// The open loopback port of `--dev`: whoever reaches it may everything.
package struct OpenDoor: Door {
    package init() {}

    package func caller(
        _ authorization: [String],
        from peer: Peer
    ) async throws(Fault) -> Caller { Caller(principal: "dev", role: .admin) }
}
