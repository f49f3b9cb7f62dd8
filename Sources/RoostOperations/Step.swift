package import RoostModel

/// Does `steps` in order; when one fails, takes back what was begun, latest first, and rethrows.
///
/// Pre-emption is looked at before each step. The inverse of the failed step runs too, since it may
/// have happened in part. An inverse that fails is the last: what came before it may be in use by
/// what it left, as disks are by a VMM that could not be killed. Its fault is reported to
/// `undoFailed`, and whoever asked must look at what is left.
package func perform<S: ReversibleStep>(
    _ steps: [S],
    preemption: Signal,
    failpoints: any Failpoints,
    act: (S) async throws(Fault) -> Void,
    undoFailed: (S, Fault) -> Void
) async throws(Fault) {
    var begun: [S] = []
    do throws(Fault) {
        for step in steps {
            guard !preemption.isSet else {
                throw Fault(.opCancelled, "pre-empted before the step \(step.name)")
            }
            begun.append(step)
            try await failpoints.pass(.beforeStep(step.name))
            try await act(step)
            try await failpoints.pass(.afterStep(step.name))
        }
    } catch {
        // Past such a step, going back would lose what the step did away with.
        let first = begun.dropLast().lastIndex(where: \.isPointOfNoReturn).map { $0 + 1 } ?? 0
        for step in begun[first...].reversed() where !failpoints.skips(.undo) {
            guard let inverse = step.inverse else { continue }
            do throws(Fault) {
                try await act(inverse)
            } catch let fault {
                undoFailed(inverse, fault)
                break
            }
        }
        throw error
    }
}

/// Runs `work` until it ends or `signal` is set; then cancels it and waits for it to end.
package func untilSet<T: Sendable>(
    _ signal: Signal,
    _ work: @escaping @Sendable () async throws(Fault) -> T
) async throws(Fault) -> T {
    let result = await withTaskGroup(of: Result<T, Fault>?.self) { group in
        group.addTask {
            do throws(Fault) { return .success(try await work()) } catch { return .failure(error) }
        }
        group.addTask {
            await signal.wait()
            return nil
        }
        var answer: Result<T, Fault>?
        for await outcome in group {
            if let outcome { answer = outcome }
            group.cancelAll()
        }
        return answer
    }
    guard let result else { throw Fault(.bug, "the work ended without an outcome") }
    return try result.get()
}

/// Runs `work`, and cancels it when `limit` has passed on `clock`.
///
/// - Throws: `onTimeout` when the limit passed first, else what `work` threw.
package func within<T: Sendable>(
    _ limit: Duration,
    on clock: any Clock<Duration>,
    onTimeout: Fault,
    _ work: @escaping @Sendable () async throws(Fault) -> T
) async throws(Fault) -> T {
    let outcome = await withTaskGroup(of: Result<T, Fault>?.self) { group in
        group.addTask {
            do throws(Fault) { return .success(try await work()) } catch { return .failure(error) }
        }
        group.addTask {
            do {
                try await clock.sleep(for: limit)
                return .failure(onTimeout)
            } catch {
                return nil
            }
        }
        var first: Result<T, Fault>?
        for await result in group {
            if first == nil, let result { first = result }
            group.cancelAll()
        }
        return first
    }
    guard let outcome else { throw Fault(.opCancelled, "cancelled while waiting") }
    return try outcome.get()
}
