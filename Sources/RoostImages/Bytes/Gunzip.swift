import CRoostZlib
import RoostModel

/// A source that unpacks gzip (RFC 1952) as it is read, and passes anything else through.
///
/// Several members one after the other are one stream, as gzip has it; zeros after the last are
/// padding. What comes out is bounded. Blocking. Not `Sendable`.
final class Gunzip {
    private enum Form {
        case unknown
        case gzip
        case plain
    }

    private let source: ByteSource
    private let name: String
    private let limit: ByteCount
    private let input = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
    private var start = 0
    private var end = 0
    private var stream = z_stream()
    private var isOpen = false
    private var isBetweenMembers = true
    private var form = Form.unknown
    private var produced: UInt64 = 0

    /// Unpacks `source`, which messages call `name`, to at most `limit`.
    init(_ source: ByteSource, name: String, limit: ByteCount) {
        self.source = source
        self.name = name
        self.limit = limit
    }

    deinit {
        if isOpen { inflateEnd(&stream) }
        input.deallocate()
    }

    /// The unpacked bytes.
    ///
    /// It throws `archiveInvalid` for damaged gzip, `unsupported` for zstd, `limitExceeded`, and
    /// what the source throws.
    var unpacked: ByteSource {
        ByteSource { [self] buffer throws(Fault) in try read(buffer) }
    }

    private func read(_ buffer: UnsafeMutableRawBufferPointer) throws(Fault) -> Int {
        if form == .unknown { try detect() }
        let count = form == .gzip ? try inflateSome(buffer) : try passSome(buffer)
        produced += UInt64(count)
        guard produced <= limit.bytes else {
            throw Fault(.limitExceeded, "\(name) unpacks to more than \(limit.bytes) bytes")
        }
        return count
    }

    /// Looks at the first bytes; what a media type says of them is not needed.
    private func detect() throws(Fault) {
        while end < 4, try fill() {}
        let head = Array(input[..<min(end, 4)])
        if head == [0x28, 0xB5, 0x2F, 0xFD] {
            throw Fault(
                .unsupported,
                "\(name) is compressed with zstd: only gzip and plain tar are read"
            )
        }
        form = head.starts(with: [0x1F, 0x8B]) ? .gzip : .plain
        guard form == .gzip else { return }
        // 16: with gzip's header and trailer; 15: the largest window.
        let size = Int32(MemoryLayout<z_stream>.size)
        guard inflateInit2_(&stream, 16 + 15, ZLIB_VERSION, size) == Z_OK else {
            throw Fault(.memoryFull, "\(name): zlib cannot start")
        }
        isOpen = true
    }

    private func passSome(_ buffer: UnsafeMutableRawBufferPointer) throws(Fault) -> Int {
        if start == end { return try source.read(buffer) }
        let count = min(buffer.count, end - start)
        buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: input[start..<start + count]))
        start += count
        return count
    }

    private func inflateSome(_ buffer: UnsafeMutableRawBufferPointer) throws(Fault) -> Int {
        guard let base = buffer.baseAddress else { return 0 }
        stream.next_out = base.assumingMemoryBound(to: UInt8.self)
        stream.avail_out = UInt32(clamping: buffer.count)
        let room = stream.avail_out
        while stream.avail_out == room {
            if start == end {
                start = 0
                end = 0
                guard try fill() else {
                    guard isBetweenMembers else { throw damaged("it is cut off") }
                    return 0
                }
            }
            if isBetweenMembers, try skipPadding() { continue }
            isBetweenMembers = false
            try step()
        }
        return Int(room - stream.avail_out)
    }

    /// One call of zlib over what is in the buffer.
    private func step() throws(Fault) {
        stream.next_in = input.baseAddress?.advanced(by: start).assumingMemoryBound(to: UInt8.self)
        stream.avail_in = UInt32(end - start)
        let status = CRoostZlib.inflate(&stream, Z_NO_FLUSH)
        start = end - Int(stream.avail_in)
        switch status {
        case Z_OK, Z_BUF_ERROR: break
        case Z_STREAM_END:
            isBetweenMembers = true
            inflateReset(&stream)
        case Z_MEM_ERROR: throw Fault(.memoryFull, "\(name): no memory to unpack it")
        default:
            throw damaged(stream.msg.map { String(cString: $0) } ?? "zlib says \(status)")
        }
    }

    /// Passes over zeros behind a member; whether the buffer is used up.
    private func skipPadding() throws(Fault) -> Bool {
        while start < end, produced > 0, input[start] == 0 { start += 1 }
        return start == end
    }

    /// Reads more behind what is there; false at the end.
    private func fill() throws(Fault) -> Bool {
        let free = UnsafeMutableRawBufferPointer(rebasing: input[end...])
        let count = try source.read(free)
        end += count
        return count > 0
    }

    private func damaged(_ problem: String) -> Fault {
        Fault(.archiveInvalid, "\(name) is damaged gzip: \(printable(problem))")
    }
}
