internal import GRPCCore
internal import Synchronization

/// The answer of a unary call, kept until it is whole.
final class Collected<Bytes: GRPCContiguousBytes & Sendable>: ClosableRPCWriterProtocol {
    typealias Element = RPCResponsePart<Bytes>

    /// What was written.
    struct Answer {
        var leading = Metadata()
        var message: Bytes?
        var status = Status(code: .internalError, message: "the call ended without an answer")
        var trailing = Metadata()
    }

    private let state = Mutex(Answer())

    init() {}

    /// What was written so far.
    var answer: Answer { state.withLock { $0 } }

    func write(_ element: Element) async throws {
        state.withLock { answer in
            switch element {
            case .metadata(let metadata): answer.leading = metadata
            case .message(let bytes): answer.message = bytes
            case .status(let status, let metadata):
                answer.status = status
                answer.trailing = metadata
            }
        }
    }

    func write(contentsOf elements: some Sequence<Element>) async throws {
        for element in elements { try await write(element) }
    }

    func finish() async {}

    func finish(throwing error: any Error) async {}
}

/// Parts that are all there already.
struct ReadyParts<Element: Sendable>: AsyncSequence, Sendable {
    typealias Failure = any Error

    let parts: [Element]

    struct AsyncIterator: AsyncIteratorProtocol {
        var rest: ArraySlice<Element>

        mutating func next() async throws -> Element? { rest.popFirst() }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(rest: parts[...]) }
}
