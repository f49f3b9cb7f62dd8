package import GRPCCore

extension GRPCClient {
    /// Connects for as long as `body` runs.
    ///
    /// Once it has come to its end nothing is on its way, and nothing is waited for: a client that closes
    /// gracefully in the moment in which its server goes may never notice that it is closed (two of about
    /// 1,500 times `roost daemon stop`, with grpc-swift-nio-transport 2.9.2).
    ///
    /// - Throws: what `body` throws.
    package func whileConnected<Result: Sendable>(
        _ body: () async throws -> Result
    ) async throws -> Result {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.runConnections() }
            defer {
                beginGracefulShutdown()
                group.cancelAll()
            }
            return try await body()
        }
    }
}
