import RoostGuestWire

/// A session's output that the host has not consumed yet, by its offset since the start.
///
/// Bytes stay until the host's credit says that their reader has them, so that a host that
/// comes back after a crash can go on where it was.
struct OutputLog {
    /// The bytes kept at most.
    static let limit = 262_144

    private struct Chunk {
        var channel: DataChannel
        var bytes: ArraySlice<UInt8>
    }

    private var chunks: [Chunk] = []
    private var first = 0
    /// The offset of the oldest kept byte.
    private(set) var base: UInt64 = 0
    /// The offset after the newest byte.
    private(set) var end: UInt64 = 0
    /// The offset of the next byte to send.
    private(set) var cursor: UInt64 = 0
    private var cursorChunk = 0
    private var cursorOffset = 0

    /// The bytes that still fit.
    var room: Int { max(0, Self.limit - Int(end - base)) }
    /// Whether everything was sent.
    var isSent: Bool { cursor == end }
    /// The bytes kept.
    var count: Int { Int(end - base) }

    /// Appends output.
    mutating func append(_ channel: DataChannel, _ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        if cursorChunk < chunks.count, let last = chunks.last, last.channel == channel,
            last.bytes.count < 4_096
        {
            // A program that writes byte by byte must not cost an array for each.
            chunks[chunks.count - 1].bytes += bytes
        } else {
            chunks.append(Chunk(channel: channel, bytes: bytes[...]))
        }
        end += UInt64(bytes.count)
    }

    /// The next bytes to send, at most `limit`, all of one channel.
    mutating func next(_ limit: Int) -> (DataChannel, [UInt8])? {
        guard limit > 0, cursorChunk < chunks.count else { return nil }
        let chunk = chunks[cursorChunk]
        let part = chunk.bytes.dropFirst(cursorOffset).prefix(limit)
        cursor += UInt64(part.count)
        cursorOffset += part.count
        if cursorOffset == chunk.bytes.count {
            cursorChunk += 1
            cursorOffset = 0
        }
        return (chunk.channel, Array(part))
    }

    /// Forgets everything before `offset`, at most what was sent.
    mutating func acknowledge(to offset: UInt64) { discard(to: min(offset, cursor)) }

    /// Drops the oldest bytes until `count` more fit.
    mutating func makeRoom(for count: Int) {
        guard room < count else { return }
        discard(to: min(end, base + UInt64(count - room)))
    }

    /// Sends again from `offset`; answers the offset that it really begins at.
    mutating func rewind(to offset: UInt64) -> UInt64 {
        let start = min(max(offset, base), end)
        discard(to: start)
        cursor = base
        cursorChunk = first
        cursorOffset = 0
        return base
    }

    private mutating func discard(to offset: UInt64) {
        while base < offset, first < chunks.count {
            let size = chunks[first].bytes.count
            let wanted = Int(min(UInt64(size), offset - base))
            base += UInt64(wanted)
            if wanted == size {
                chunks[first].bytes = []
                first += 1
                if cursorChunk < first { (cursorChunk, cursorOffset) = (first, 0) }
            } else {
                chunks[first].bytes = chunks[first].bytes.dropFirst(wanted)
                if cursorChunk == first { cursorOffset = max(0, cursorOffset - wanted) }
            }
        }
        cursor = max(cursor, base)
        if first > 64 {
            chunks.removeFirst(first)
            cursorChunk -= first
            first = 0
        }
    }
}
