import RoostGuestWire

/// What a task wants to say next on its stream.
enum StreamOutput {
    /// Nothing now; asked again after the next event.
    case idle
    case message(Message)
    case data(DataChannel, [UInt8])
    /// Nothing more at all.
    case end
}

/// One stream's work. Asked for output when there is credit and room, so it never queues any.
protocol StreamTask: AnyObject {
    /// Takes data of the host's; answers how many bytes are consumed already.
    func receive(_ bytes: [UInt8]) -> Int
    /// Takes a message of the host's.
    func receive(_ message: Message)
    /// The host's data is over.
    func inputEnded()
    /// What to say next, with at most `limit` bytes of data. At 0 only messages and the end may go.
    func next(_ limit: Int) -> StreamOutput
    /// The host went away or broke the stream off.
    func cancelled()
}

/// A request that is answered by messages and at most one body.
final class AnswerTask: StreamTask {
    private var messages: [Message]
    private var body: ArraySlice<UInt8>

    /// Answers with `body`, then `messages`, then the end.
    init(body: [UInt8] = [], _ messages: [Message]) {
        self.body = body[...]
        self.messages = messages
    }

    /// Refuses the request.
    convenience init(_ failure: GuestFailure) { self.init([.failed(failure)]) }

    func receive(_ bytes: [UInt8]) -> Int { bytes.count }
    func receive(_ message: Message) {}
    func inputEnded() {}
    func cancelled() {}

    func next(_ limit: Int) -> StreamOutput {
        if !body.isEmpty {
            guard limit > 0 else { return .idle }
            let part = body.prefix(limit)
            body = body.dropFirst(part.count)
            return .data(.main, Array(part))
        }
        return messages.isEmpty ? .end : .message(messages.removeFirst())
    }
}

/// A request that is answered once something else has happened.
final class DeferredTask: StreamTask {
    private var outcome: Message?
    private var isDone = false

    /// Lets the answer go.
    func finish(_ message: Message) { outcome = message }

    func receive(_ bytes: [UInt8]) -> Int { bytes.count }
    func receive(_ message: Message) {}
    func inputEnded() {}
    func cancelled() {}

    func next(_ limit: Int) -> StreamOutput {
        if isDone { return .end }
        guard let outcome else { return .idle }
        isDone = true
        return .message(outcome)
    }
}
