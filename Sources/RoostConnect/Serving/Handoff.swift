internal import GRPCCore
internal import Synchronization

/// Hands elements from writers to one reader, who holds them back when it is slow.
final class Handoff<Element: Sendable>: Sendable {
    private struct State {
        var queue: [Element] = []
        var reader: CheckedContinuation<Element?, Never>?
        /// Those that wait, in the order in which they came.
        var writers: [(number: UInt64, writer: CheckedContinuation<Void, any Error>)] = []
        var count: UInt64 = 0
        var isFinished = false
        var isAbandoned = false
    }
    private let state = Mutex(State())
    /// Elements that may wait before writers do.
    private let capacity: Int

    init(capacity: Int = 8) { self.capacity = capacity }

    /// Hands `element` on; waits while the reader is slow.
    ///
    /// - Throws: `unavailable` once the reader has gone; `CancellationError` when the waiting was cut
    ///   short, and the element is handed on all the same: what ends a call must not be lost.
    func send(_ element: Element) async throws {
        let number = state.withLock { state in
            state.count += 1
            return state.count
        }
        try await withTaskCancellationHandler {
            try await hand(element, number)
        } onCancel: {
            let writer = state.withLock { state in
                let place = state.writers.firstIndex { $0.number == number }
                return place.map { state.writers.remove(at: $0).writer }
            }
            writer?.resume(throwing: CancellationError())
        }
    }

    private func hand(_ element: Element, _ number: UInt64) async throws {
        try await withCheckedThrowingContinuation { writer in
            let (reader, result) = state.withLock {
                state -> (CheckedContinuation<Element?, Never>?, Result<Void, any Error>?) in
                if state.isAbandoned || state.isFinished { return (nil, .failure(Self.gone)) }
                if let reader = state.reader {
                    state.reader = nil
                    return (reader, .success(()))
                }
                state.queue.append(element)
                if state.queue.count <= capacity { return (nil, .success(())) }
                // Cancelled before this, or the handler above finds it among the waiting.
                if Task.isCancelled { return (nil, .failure(CancellationError())) }
                state.writers.append((number, writer))
                return (nil, nil)
            }
            reader?.resume(returning: element)
            if let result { writer.resume(with: result) }
        }
    }

    /// The next element; `nil` after ``finish()``. One caller at a time.
    func next() async -> Element? {
        await withCheckedContinuation { reader in
            let (element, isDone, writer) = state.withLock {
                state -> (Element?, Bool, CheckedContinuation<Void, any Error>?) in
                if !state.queue.isEmpty {
                    let element = state.queue.removeFirst()
                    let writer = state.writers.isEmpty ? nil : state.writers.removeFirst().writer
                    return (element, true, writer)
                }
                if state.isFinished { return (nil, true, nil) }
                state.reader = reader
                return (nil, false, nil)
            }
            writer?.resume()
            if isDone { reader.resume(returning: element) }
        }
    }

    /// Nothing more will come.
    func finish() {
        let reader = state.withLock { state in
            state.isFinished = true
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume(returning: nil)
    }

    /// Nobody reads any more: writers throw from now on.
    func abandon() {
        let writers = state.withLock { state in
            state.isAbandoned = true
            state.queue = []
            defer { state.writers = [] }
            return state.writers
        }
        for waiting in writers { waiting.writer.resume(throwing: Self.gone) }
    }

    private static var gone: RPCError {
        RPCError(code: .unavailable, message: "the client has gone")
    }
}

/// The outbound half of a call, as a ``Handoff``.
struct HandoffWriter<Bytes: GRPCContiguousBytes & Sendable>: ClosableRPCWriterProtocol {
    typealias Element = RPCResponsePart<Bytes>

    let parts: Handoff<Element>

    func write(_ element: Element) async throws { try await parts.send(element) }

    func write(contentsOf elements: some Sequence<Element>) async throws {
        for element in elements { try await parts.send(element) }
    }

    func finish() async { parts.finish() }

    func finish(throwing error: any Error) async { parts.finish() }
}
