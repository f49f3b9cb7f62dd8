/// What was wrong with bytes from the peer. After any of these a connection is over: the
/// position in the stream can no longer be trusted.
package enum WireError: Error, Hashable, Sendable {
    /// A field ends past the end of its frame.
    case truncated
    /// A frame is longer than the limit; its length in bytes.
    case oversizedFrame(Int)
    /// A text, list or grant is longer than its limit; its length.
    case oversizedField(Int)
    /// A frame has bytes after its last field; how many.
    case trailingBytes(Int)
    /// A kind of frame that does not exist.
    case unknownKind(UInt8)
    /// A request, message, event or enumeration value that does not exist.
    case unknownTag(UInt8)
    /// A text that is not UTF-8, or that holds a zero byte.
    case invalidText
    /// A frame of this kind does not come from this side, or not on this stream.
    case misplaced(kind: UInt8, stream: UInt32)
    /// A stream id that was never opened.
    case unknownStream(UInt32)
    /// A stream was opened out of order, or twice.
    case streamReused(UInt32)
    /// More streams than the limit.
    case tooManyStreams
    /// Data beyond what was granted on this stream.
    case creditExceeded(UInt32)
    /// More unread messages than the limit on this stream.
    case tooManyMessages(UInt32)
    /// Data or messages after the sender had ended the stream.
    case afterEnd(UInt32)
    /// A preamble in the middle of a conversation, or from the wrong side.
    case unexpectedHello
    /// A preamble of another version; which.
    case version(UInt16)
}

extension WireError: CustomStringConvertible {
    /// A sentence part for people, without any text of the peer's.
    package var description: String {
        switch self {
        case .truncated: "a field ends past its frame"
        case .oversizedFrame(let count): "a frame of \(count) bytes"
        case .oversizedField(let count): "a field of length \(count)"
        case .trailingBytes(let count): "\(count) bytes after the last field"
        case .unknownKind(let kind): "unknown frame kind \(kind)"
        case .unknownTag(let tag): "unknown tag \(tag)"
        case .invalidText: "text that is not UTF-8"
        case .misplaced(let kind, let stream): "frame kind \(kind) misplaced on stream \(stream)"
        case .unknownStream(let stream): "stream \(stream) was never opened"
        case .streamReused(let stream): "stream \(stream) was opened before"
        case .tooManyStreams: "more than \(WireLimits.streams) streams"
        case .creditExceeded(let stream): "data beyond the credit of stream \(stream)"
        case .tooManyMessages(let stream): "too many unread messages on stream \(stream)"
        case .afterEnd(let stream): "data after the end of stream \(stream)"
        case .unexpectedHello: "a preamble where none belongs"
        case .version(let version): "protocol version \(version), not \(WireLimits.version)"
        }
    }
}
