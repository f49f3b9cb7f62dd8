internal import GRPCCore
internal import HummingbirdCore
internal import NIOCore

/// The parts of a framed request, as its body arrives.
struct FramedParts<Payload: WirePayload>: AsyncSequence, Sendable {
    typealias Element = RPCRequestPart<Payload>
    typealias Failure = any Error

    let metadata: Metadata
    let body: RequestBody
    let isJSON: Bool
    let reader: MessageReader
    /// Why the call cannot be served; then nothing of the body is read.
    let refusal: RPCError?

    struct AsyncIterator: AsyncIteratorProtocol {
        private let parts: FramedParts
        private var bytes: RequestBody.AsyncIterator
        private var decoder: FrameDecoder
        private var metadata: Metadata?
        private var isAtEnd = false

        init(_ parts: FramedParts) {
            self.parts = parts
            bytes = parts.body.makeAsyncIterator()
            decoder = FrameDecoder(limit: parts.reader.limit)
            metadata = parts.metadata
        }

        @concurrent
        mutating func next() async throws -> Element? {
            if let metadata {
                self.metadata = nil
                return .metadata(metadata)
            }
            if isAtEnd { return nil }
            if let refusal = parts.refusal { return refused(refusal) }
            do throws(RPCError) {
                while true {
                    if let frame = try decoder.next() { return .message(try payload(frame)) }
                    guard let more = try await read() else {
                        isAtEnd = true
                        try decoder.finish()
                        return nil
                    }
                    decoder.append(more)
                }
            } catch {
                return refused(error)
            }
        }

        @concurrent
        private mutating func read() async throws(RPCError) -> ByteBuffer? {
            do {
                return try await bytes.next()
            } catch {
                throw RPCError(code: .cancelled, message: "the client has gone", cause: error)
            }
        }

        private func payload(_ frame: Frame) throws(RPCError) -> Payload {
            guard frame.flags & ~1 == 0 else {
                throw RPCError(
                    code: .invalidArgument,
                    message: "a message has the unknown flags \(frame.flags)"
                )
            }
            let bytes = frame.flags == 1 ? try parts.reader.inflate(frame.bytes) : frame.bytes
            return Payload(wire: bytes, isJSON: parts.isJSON)
        }

        private mutating func refused(_ error: RPCError) -> Element {
            isAtEnd = true
            return .message(Payload(refused: error))
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(self) }
}
