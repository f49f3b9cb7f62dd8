package import GRPCCore
internal import RoostModel

/// The interceptors that every server of ours begins with, in order.
package func standardInterceptors() -> [any ServerInterceptor] {
    [CallInterceptor(), CancellationInterceptor()]
}

/// Sets ``Call/current`` for the handler and for the producer of a stream.
///
/// Needs ``IdentifiedTransport`` beneath, which writes the op id into the metadata.
package struct CallInterceptor: ServerInterceptor {
    package init() {}

    package func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>,
        context: ServerContext,
        next:
            @Sendable @concurrent (
                _ request: StreamingServerRequest<Input>,
                _ context: ServerContext
            ) async throws -> StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        let ids = request.metadata[stringValues: opIDKey]
        guard let text = ids.first(where: { _ in true }), let operation = OperationID(text) else {
            throw Fault(.bug, "the call has no op id: its transport is not an IdentifiedTransport")
        }
        let trace = request.metadata[stringValues: traceParentKey].first { _ in true }
        let call = Call(operation: operation, trace: trace.flatMap { TraceParent($0) })
        let response = try await Call.$current.withValue(call) {
            try await OperationScope.$current.withValue(operation) {
                try await next(request, context)
            }
        }
        return response.wrappingProducer { producer, writer in
            try await Call.$current.withValue(call) {
                try await OperationScope.$current.withValue(operation) {
                    try await producer(writer)
                }
            }
        }
    }
}

/// Cancels the handler's task when its client is gone, its time is up or the server stops.
///
/// grpc-swift only sets a flag then: a watch outlived its client until the next write.
package struct CancellationInterceptor: ServerInterceptor {
    private let isEnding: @Sendable () -> Bool

    /// A call that is cut off while `isEnding` says so is told ``Reason/shuttingDown``, which invites
    /// a retry, instead of ``Reason/opCancelled``.
    package init(isEnding: @escaping @Sendable () -> Bool = { false }) { self.isEnding = isEnding }

    package func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>,
        context: ServerContext,
        next:
            @Sendable @concurrent (
                _ request: StreamingServerRequest<Input>,
                _ context: ServerContext
            ) async throws -> StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        let limit = CallLimit(request.metadata, isEnding)
        // grpc-swift says `next` does not escape; the task below ends before this call does.
        let response = try await withoutActuallyEscaping(next) { next in
            try await limit.cancellable { try await next(request, context) }
        }
        return response.wrappingProducer { producer, writer in
            try await limit.cancellable { try await producer(writer) }
        }
    }
}

/// When a call began and how long it may take.
private struct CallLimit: Sendable {
    let start = ContinuousClock.now
    let timeout: Duration?
    let isEnding: @Sendable () -> Bool

    init(_ metadata: Metadata, _ isEnding: @escaping @Sendable () -> Bool) {
        self.isEnding = isEnding
        timeout = metadata[stringValues: "grpc-timeout"].first { _ in true }.flatMap(grpcDuration)
    }

    /// Runs `work` in a task that is cancelled with the call.
    func cancellable<Result: Sendable>(
        _ work: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        let task = Task { try await work() }
        do {
            let result = try await withRPCCancellationHandler {
                try await withTaskCancellationHandler {
                    try await task.value
                } onCancel: {
                    task.cancel()
                }
            } onCancelRPC: {
                task.cancel()
            }
            // What a handler says after that is half of an answer: a watch that was cut off is no
            // watch that ended, and a wait that was broken off has not seen the end.
            if task.isCancelled { throw ending(CancellationError()) }
            return result
        } catch  where task.isCancelled && isCancellation(error) {
            throw ending(error)
        }
    }

    /// The library began to count before this did, by as much as a busy host takes; and a client that leaves
    /// so shortly before its own limit leaves because of it.
    private static func slack(_ timeout: Duration) -> Duration { max(timeout / 4, .seconds(1)) }

    /// Why the call was cancelled.
    private func ending(_ cause: any Error) -> Fault {
        guard let timeout, ContinuousClock.now - start >= timeout - Self.slack(timeout) else {
            if isEnding() {
                return Fault(.shuttingDown, "the daemon ends, and its guests go on", cause: cause)
            }
            return Fault(.opCancelled, "the call was cancelled", cause: cause)
        }
        let operation = Call.current?.operation.description ?? ""
        return Fault(
            .deadline,
            "the call took longer than its \(timeout)",
            metadata: ["op": operation],
            cause: cause
        )
    }

    private func isCancellation(_ error: any Error) -> Bool {
        error is CancellationError || (error as? RPCError)?.code == .cancelled
            || (error as? Fault)?.code == .canceled
    }
}

/// The duration that a `grpc-timeout` says: up to eight digits and a unit.
func grpcDuration(_ text: String) -> Duration? {
    guard let unit = text.last, let number = Int64(text.dropLast()), text.utf8.count <= 9 else {
        return nil
    }
    switch unit {
    case "H": return .seconds(number * 3600)
    case "M": return .seconds(number * 60)
    case "S": return .seconds(number)
    case "m": return .milliseconds(number)
    case "u": return .microseconds(number)
    case "n": return .nanoseconds(number)
    default: return nil
    }
}

extension StreamingServerResponse {
    /// The same response with `body` around what produces its messages.
    package func wrappingProducer(
        _ body:
            @escaping @Sendable (
                _ producer: @escaping @Sendable (RPCWriter<Message>) async throws -> Metadata,
                _ writer: RPCWriter<Message>
            ) async throws -> Metadata
    ) -> StreamingServerResponse {
        switch accepted {
        case .failure: return self
        case .success(let contents):
            let producer = contents.producer
            return StreamingServerResponse(metadata: contents.metadata) { writer in
                try await body({ try await producer($0) }, writer)
            }
        }
    }
}
