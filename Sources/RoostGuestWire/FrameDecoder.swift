/// Cuts a byte stream into preambles and frames, and finds its feet after garbage.
///
/// A connection begins with a ``Hello``. A virtio-serial port outlives its host process, so the
/// next host's preamble may arrive in the middle of the last one's frame. Therefore the magic is
/// looked for *everywhere*, and no frame ever contains it: data that holds it is cut in two; texts
/// cannot hold it (its bytes are no UTF-8); and it cannot straddle two frames, because a header
/// begins with a byte under 128 and ends with a zero, and the magic has only bytes of 128 or more.
///
/// A frame that a dead host did not finish may be completed by the first bytes of the next magic,
/// when the rest of it comes later. Therefore fifteen bytes are kept after they were taken.
///
/// Memory: what was fed and not yet taken, and those fifteen bytes. Feed at most a frame's worth,
/// then take until `nil`.
package struct FrameDecoder: Sendable {
    /// One thing the peer said.
    package enum Item: Hashable, Sendable {
        case hello(Hello)
        case frame(Frame)
    }

    private var buffer: [UInt8] = []
    private var head = 0
    /// Where the search for the magic goes on.
    private var searched = 0
    /// Where the magic was found, not yet taken.
    private var preamble: Int?
    private var synchronized = false
    private let maxFrame: Int

    /// Makes a decoder that refuses frames with more than `maxFrame` payload bytes.
    package init(maxFrame: Int = WireLimits.framePayload) { self.maxFrame = maxFrame }

    /// The bytes held, for tests of the memory bound.
    package var buffered: Int { buffer.count - head }

    /// Whether it is between two items.
    package var isEmpty: Bool { head == buffer.count && synchronized }

    /// Appends what arrived.
    package mutating func feed(_ bytes: some Collection<UInt8>) {
        let done = min(head, searched)
        if done > 0, head == buffer.count || done > 1 << 17 {
            buffer.removeFirst(done)
            searched -= done
            preamble = preamble.map { $0 - done }
            head -= done
        }
        buffer.append(contentsOf: bytes)
    }

    /// Forgets all state: whatever comes is garbage until the next preamble.
    package mutating func desynchronize() { synchronized = false }

    /// Takes the next item, or `nil` when more bytes are needed.
    ///
    /// - Throws: ``WireError``; call ``desynchronize()`` to go on with the next preamble.
    package mutating func next() throws(WireError) -> Item? {
        while true {
            search()
            if synchronized, let frame = try nextFrame() { return .frame(frame) }
            guard let start = preamble else {
                // Fifteen bytes might be the magic's beginning.
                if !synchronized { head = max(head, buffer.count - 15) }
                return nil
            }
            head = start
            synchronized = false
            switch takeHello() {
            case .incomplete: return nil
            case .garbage: continue
            case .hello(let hello):
                synchronized = true
                return .hello(hello)
            }
        }
    }

    private mutating func search() {
        guard preamble == nil else { return }
        preamble = buffer.withUnsafeBufferPointer { offsetOfMagic(in: $0, from: searched) }
        searched = max(searched, buffer.count - 15)
    }

    private mutating func nextFrame() throws(WireError) -> Frame? {
        let end = preamble ?? buffer.count
        guard end - head >= Frame.headerSize else { return nil }
        var reader = ByteReader(buffer[head..<head + Frame.headerSize])
        let kind = try reader.number(UInt8.self)
        let length = Int(try reader.number(UInt32.self))
        let epoch = try reader.number(UInt32.self)
        let stream = try reader.number(UInt32.self)
        guard length <= maxFrame else { throw .oversizedFrame(length) }
        guard stream <= WireLimits.lastStream else { throw .unknownStream(stream) }
        let body = head + Frame.headerSize
        guard end - body >= length else { return nil }
        head = body + length
        return Frame(
            epoch: epoch,
            stream: stream,
            body: try Frame.Body(kind: kind, payload: buffer[body..<head])
        )
    }

    private enum HelloOutcome {
        case incomplete
        case garbage
        case hello(Hello)
    }

    private mutating func takeHello() -> HelloOutcome {
        let body = head + 18
        guard buffer.count >= body else { return .incomplete }
        let length = Int(buffer[head + 16]) | Int(buffer[head + 17]) << 8
        if length <= 1_024 {
            guard buffer.count >= body + length + 4 else { return .incomplete }
            let content = buffer[body..<body + length]
            var trailer = ByteReader(buffer[(body + length)..<(body + length + 4)])
            if let sum = try? trailer.number(UInt32.self), sum == checksum(content),
                let hello = try? Hello(body: content)
            {
                head = body + length + 4
                preamble = nil
                searched = head
                return .hello(hello)
            }
        }
        head += 1
        preamble = nil
        searched = head
        return .garbage
    }
}
