/// The first thing each side says on a connection, and the place where a receiver finds its
/// feet again: a virtio-serial port keeps bytes of a host that died, and a half frame of its own.
///
/// On the wire: ``magic``, the body's length in 16 bits, the body, and its FNV-1a in 32 bits.
package struct Hello: Hashable, Sendable {
    /// Who says it.
    package enum Side: UInt8, Sendable {
        case host = 1
        case guest = 2
    }

    /// Who says it. A port that echoes sends a host its own preamble back.
    package var side: Side
    /// The speaker's protocol version.
    package var version: UInt16
    /// Chosen by the host, new for each connection; the guest repeats it.
    package var nonce: UInt64
    /// The most payload bytes of a frame that the speaker takes.
    package var maxFrame: UInt32
    /// The bytes of data that the speaker takes on a stream before it grants more.
    package var initialCredit: UInt32
    /// The most streams that the speaker takes at once.
    package var maxStreams: UInt16
    /// The speaker's wall clock in nanoseconds since 1970, or 0 when unknown. The guest sets
    /// its own by the host's when they are more than a second apart.
    package var wallClock: Int64
    /// The speaker's software version.
    package var software: String
    /// What the speaker can do; see ``Capability``. Unknown bits are ignored.
    package var capabilities: UInt32
    /// The guest kernel's boot id; zeros from a host.
    package var bootID: [UInt8]
    /// Milliseconds since the guest's kernel started; 0 from a host.
    package var uptimeMilliseconds: UInt64

    /// Bits of ``Hello/capabilities``.
    package enum Capability {
        /// The agent is process 1: shutdown stops everything itself.
        package static let isInit: UInt32 = 1
        /// The agent keeps /run/roost/generation and runs hooks when it renews a copy.
        package static let generations: UInt32 = 2
        /// The agent says nothing more once all stand still, and knows the frame ``Frame/Body/goOn``.
        package static let silence: UInt32 = 4
    }

    /// Sixteen distinct bytes of 128 or more that no valid text can hold. See ``FrameDecoder``.
    package static let magic: [UInt8] = [
        0xFF, 0xF7, 0xFE, 0xF6, 0xFD, 0xF5, 0xFC, 0xC1,
        0xFB, 0xC0, 0xFA, 0xF9, 0xF8, 0xB1, 0x9E, 0x87,
    ]

    /// A preamble of `side` with this code's version and limits.
    package init(side: Side, nonce: UInt64, wallClock: Int64 = 0, software: String = "") {
        self.side = side
        version = WireLimits.version
        self.nonce = nonce
        maxFrame = UInt32(WireLimits.framePayload)
        initialCredit = UInt32(WireLimits.credit)
        maxStreams = UInt16(WireLimits.streams)
        self.wallClock = wallClock
        self.software = software
        capabilities = 0
        bootID = Array(repeating: 0, count: 16)
        uptimeMilliseconds = 0
    }

    /// The epoch that frames of this connection carry.
    package var epoch: UInt32 { UInt32(truncatingIfNeeded: nonce) }

    /// The whole preamble.
    package func encoded() -> [UInt8] {
        var body = ByteWriter()
        body.number(side.rawValue)
        body.number(version)
        body.number(nonce)
        body.number(maxFrame)
        body.number(initialCredit)
        body.number(maxStreams)
        body.number(wallClock)
        body.number(capabilities)
        body.raw(bootID.prefix(16))
        body.number(uptimeMilliseconds)
        body.text(software, limit: WireLimits.name)
        var whole = ByteWriter()
        whole.raw(Self.magic)
        whole.number(UInt16(clamping: body.bytes.count))
        whole.raw(body.bytes)
        whole.number(checksum(body.bytes[...]))
        return whole.bytes
    }

    init(body: ArraySlice<UInt8>) throws(WireError) {
        var reader = ByteReader(body)
        let tag = try reader.number(UInt8.self)
        guard let side = Side(rawValue: tag) else { throw .unknownTag(tag) }
        self.side = side
        version = try reader.number()
        nonce = try reader.number()
        maxFrame = try reader.number()
        initialCredit = try reader.number()
        maxStreams = try reader.number()
        wallClock = try reader.number()
        capabilities = try reader.number()
        bootID = try reader.raw(16)
        uptimeMilliseconds = try reader.number()
        software = try reader.text(limit: WireLimits.name)
        // A newer speaker may say more; what follows is not ours to refuse.
    }
}

/// FNV-1a, 32 bits: enough to tell a preamble from chance, no defence against a liar.
func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    bytes.reduce(0x811C_9DC5) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
}

/// The offset of the magic in `bytes` at or after `start`, by Horspool's rule: nearly always
/// sixteen bytes a step, so that watching a whole stream for it costs little.
func offsetOfMagic(in bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int? {
    let magic = Hello.magic
    var position = start
    while position + 16 <= bytes.count {
        let last = bytes[position + 15]
        if last < 0x80 {
            position += 16
            continue
        }
        if last == magic[15] {
            var matched = 0
            while matched < 16, bytes[position + matched] == magic[matched] { matched += 1 }
            if matched == 16 { return position }
            position += 16
        } else {
            position += magic.firstIndex(of: last).map { 15 - $0 } ?? 16
        }
    }
    return nil
}
