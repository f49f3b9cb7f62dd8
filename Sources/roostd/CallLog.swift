import GRPCCore
import Glibc
import Logging
import RoostAPI
import RoostModel
import RoostServices

/// Writes a line for each call when it has ended: at debug, or at error with its cause when the
/// fault is ours. Every line has the call's op id.
///
/// Stands outside ``RoostAPI/CancellationInterceptor``, so that it sees what the client gets, and
/// inside ``RoostAPI/CallInterceptor``, which knows the op id.
struct CallLog: ServerInterceptor {
    let log: Logger

    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>,
        context: ServerContext,
        next:
            @Sendable @concurrent (
                _ request: StreamingServerRequest<Input>,
                _ context: ServerContext
            ) async throws -> StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        let line = CallLine(log, context)
        let response: StreamingServerResponse<Output>
        do {
            response = try await next(request, context)
        } catch {
            line.write(error)
            throw error
        }
        if case .failure(let error) = response.accepted { line.write(error) }
        return response.wrappingProducer { producer, writer in
            do {
                let metadata = try await producer(writer)
                line.write(nil)
                return metadata
            } catch {
                line.write(error)
                throw error
            }
        }
    }
}

/// What is logged of one call.
private struct CallLine: Sendable {
    let log: Logger
    let start = ContinuousClock.now

    init(_ log: Logger, _ context: ServerContext) {
        var log = log
        log[metadataKey: "method"] = "/\(context.descriptor.fullyQualifiedMethod)"
        log[metadataKey: "peer"] = "\(context.remotePeer)"
        if let call = Call.current {
            log[metadataKey: "op_id"] = "\(call.operation)"
            log[metadataKey: "trace_id"] = "\(call.traceID)"
        }
        self.log = log
    }

    func write(_ error: (any Error)?) {
        let (seconds, attoseconds) = (ContinuousClock.now - start).components
        let milliseconds = seconds * 1000 + attoseconds / 1_000_000_000_000_000
        var facts: Logger.Metadata = ["duration_ms": "\(milliseconds)"]
        guard let error else {
            facts["code"] = "ok"
            log.debug("call ended", metadata: facts)
            return
        }
        let ending = Ending(error)
        facts["code"] = "\(ending.code)"
        facts["error"] = "\(ending.message)"
        if let reason = ending.reason { facts["reason"] = "\(reason.rawValue)" }
        if let cause = ending.cause { facts["cause"] = "\(cause)" }
        log.log(
            level: ending.isOurs ? .error : .debug,
            ending.isOurs ? "call failed" : "call refused",
            metadata: facts
        )
    }
}
