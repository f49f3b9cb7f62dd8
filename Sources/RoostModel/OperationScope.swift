/// The operation that the current task works for, so that every log line and every frame to a guest
/// can carry its id without each function handing it on.
///
/// For telling only: nothing is decided by it.
package enum OperationScope {
    @TaskLocal package static var current: OperationID?

    /// Runs `work` for `operation`.
    package static func run<T: Sendable>(
        _ operation: OperationID,
        _ work: () async -> T
    ) async -> T {
        await $current.withValue(operation) { await work() }
    }
}
