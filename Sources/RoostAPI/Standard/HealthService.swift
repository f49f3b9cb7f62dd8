package import GRPCCore
internal import RoostModel
internal import SwiftProtobuf
internal import Synchronization

/// `grpc.health.v1.Health`: whether the server and each of its services answer.
///
/// The empty name is the server as a whole. A service that is not listed is unknown.
package final class HealthService: Grpc_Health_V1_Health.SimpleServiceProtocol {
    /// How a service is.
    package typealias Status = Grpc_Health_V1_HealthCheckResponse.ServingStatus

    private struct State {
        var statuses: [String: Status]
        var watchers: [UInt64: AsyncStream<Void>.Continuation] = [:]
        var nextWatcher: UInt64 = 0
    }
    private let state: Mutex<State>

    /// Says `SERVING` for the server and for each of `services`, by full name.
    package init(services: [String]) {
        var statuses: [String: Status] = ["": .serving]
        for service in services { statuses[service] = .serving }
        state = Mutex(State(statuses: statuses))
    }

    /// Sets how `service` is; the empty name is the server as a whole. Watchers hear of it.
    package func set(_ status: Status, of service: String = "") {
        let watchers = state.withLock { state in
            state.statuses[service] = status
            return state.watchers.values.map { $0 }
        }
        for watcher in watchers { watcher.yield() }
    }

    package func check(
        request: Grpc_Health_V1_HealthCheckRequest,
        context: ServerContext
    ) async throws -> Grpc_Health_V1_HealthCheckResponse {
        guard let status = status(of: request.service) else {
            // The protocol asks for plain NOT_FOUND.
            let name = shown(request.service)
            throw RPCError(code: .notFound, message: "there is no service '\(name)'")
        }
        return .with { $0.status = status }
    }

    package func watch(
        request: Grpc_Health_V1_HealthCheckRequest,
        response: RPCWriter<Grpc_Health_V1_HealthCheckResponse>,
        context: ServerContext
    ) async throws {
        let (changes, change) = AsyncStream.makeStream(
            of: Void.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        let id = state.withLock { state in
            state.nextWatcher += 1
            state.watchers[state.nextWatcher] = change
            return state.nextWatcher
        }
        defer { state.withLock { _ = $0.watchers.removeValue(forKey: id) } }
        change.yield()
        var last: Status?
        for await _ in changes {
            let status = status(of: request.service) ?? .serviceUnknown
            if status == last { continue }
            last = status
            try await response.write(.with { $0.status = status })
        }
    }

    private func status(of service: String) -> Status? {
        state.withLock { $0.statuses[service] }
    }
}
