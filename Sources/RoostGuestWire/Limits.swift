/// The hard limits of the guest channel. A peer that exceeds one is refused, never accommodated.
package enum WireLimits {
    /// The version this code speaks. A host refuses an agent of another version.
    package static let version: UInt16 = 2
    /// The most payload bytes of one frame, in either direction.
    package static let framePayload = 65_536
    /// The payload bytes of data that a sender puts into one frame.
    package static let dataChunk = 32_768
    /// The most streams open at once on one connection.
    package static let streams = 64
    /// As many of these are kept for the host's own requests: a guest that its users keep busy must be
    /// held, let go and shut down all the same.
    package static let controlStreams = 4
    /// The most bytes that a sender may have unconsumed on one stream, unless told otherwise.
    package static let credit = 262_144
    /// The most bytes of one credit grant: what a window could ever hold.
    package static let largestGrant = 1 << 24
    /// The most payload bytes of a stream message (exit, error, resize): they need no credit.
    package static let messagePayload = 1_024
    /// The most messages a receiver keeps for one stream before its owner looks at them.
    package static let queuedMessages = 4
    /// The most bytes of a path.
    package static let path = 4_096
    /// The most bytes of an argument or of an environment entry.
    package static let argument = 60_000
    /// The most arguments, and the most environment entries.
    package static let arguments = 4_096
    /// The most bytes of a name: a user, a host, a version.
    package static let name = 255
    /// The most bytes of a sentence in an error.
    package static let sentence = 480
    /// The most bytes of a whole answer that is collected in memory (ports, sessions, stats).
    package static let answer = 262_144
    /// The most entries of a list in an answer.
    package static let entries = 4_096
    /// The highest stream id. Its top byte is zero; see ``FrameDecoder`` for why that matters.
    package static let lastStream: UInt32 = 0xFF_FFFF
}
