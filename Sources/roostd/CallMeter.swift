import GRPCCore
import RoostAPI
import RoostModel
import Synchronization

/// Who is being served: what a restart would cut off, whether anybody has asked for anything, and how
/// calls ended.
///
/// Stands inside ``RoostAPI/CallInterceptor``, which knows the op id.
final class CallMeter: ServerInterceptor {
    private struct State {
        var begun = 0
        var open: [Int: (method: String, operation: String)] = [:]
    }

    /// Calls that carry what cannot be asked for again: a command's streams, a copy's bytes.
    private static let sessions: Set<String> = ["Exec", "CopyIn", "CopyOut"]

    private let state = Mutex(State())
    /// The calls that have ended.
    let tally = CallTally(.server)

    /// How many calls have begun since the start. It only rises.
    var begun: Int { state.withLock(\.begun) }

    /// How many calls are open now.
    var open: Int { state.withLock(\.open.count) }

    /// The op ids of the commands and copies that somebody is attached to, the oldest first.
    var sessions: [String] {
        state.withLock { state in
            state.open.sorted { $0.key < $1.key }.map(\.value)
                .filter { Self.sessions.contains($0.method) }.map(\.operation)
        }
    }

    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>,
        context: ServerContext,
        next:
            @Sendable @concurrent (
                _ request: StreamingServerRequest<Input>,
                _ context: ServerContext
            ) async throws -> StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        let (method, start) = (context.descriptor, ContinuousClock.now)
        let number = begin(method.method, Call.current?.operation.description ?? "")
        let end = { @Sendable (error: (any Error)?) in
            self.end(number)
            let code = error.map { Ending($0).code }
            self.tally.add(method, code, after: ContinuousClock.now - start)
        }
        let response: StreamingServerResponse<Output>
        do {
            response = try await next(request, context)
        } catch {
            end(error)
            throw error
        }
        if case .failure(let error) = response.accepted {
            end(error)
            return response
        }
        return response.wrappingProducer { producer, writer in
            do {
                let metadata = try await producer(writer)
                end(nil)
                return metadata
            } catch {
                end(error)
                throw error
            }
        }
    }

    private func begin(_ method: String, _ operation: String) -> Int {
        state.withLock { state in
            state.begun += 1
            state.open[state.begun] = (method, operation)
            return state.begun
        }
    }

    private func end(_ number: Int) { state.withLock { _ = $0.open.removeValue(forKey: number) } }
}
