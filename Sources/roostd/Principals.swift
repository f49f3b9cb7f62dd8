import GRPCCore
import Glibc
import RoostAPI
import RoostServices

/// Sets who is asking. The socket is the user's own, so it is the user.
struct PrincipalInterceptor: ServerInterceptor {
    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>,
        context: ServerContext,
        next:
            @Sendable @concurrent (
                _ request: StreamingServerRequest<Input>,
                _ context: ServerContext
            ) async throws -> StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        let principal = context.remotePeer.hasPrefix("unix") ? "uid:\(geteuid())" : "dev"
        let response = try await Caller.$principal.withValue(principal) {
            try await next(request, context)
        }
        return response.wrappingProducer { producer, writer in
            try await Caller.$principal.withValue(principal) { try await producer(writer) }
        }
    }
}
