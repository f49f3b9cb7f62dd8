internal import Foundation
package import RoostModel

/// Starts a thread of our own that runs `body` and ends.
package func startThread(named name: String, _ body: @escaping @Sendable () -> Void) {
    let thread = Thread(block: body)
    thread.name = name
    thread.start()
}

/// Runs `body`, which blocks, on a thread of its own and waits for it without blocking.
package func onOwnThread<T: Sendable>(
    _ name: String,
    _ body: @escaping @Sendable () throws(Fault) -> T
) async throws(Fault) -> T {
    let result: Result<T, Fault> = await withCheckedContinuation { continuation in
        startThread(named: name) {
            do throws(Fault) {
                continuation.resume(returning: .success(try body()))
            } catch {
                continuation.resume(returning: .failure(error))
            }
        }
    }
    return try result.get()
}
