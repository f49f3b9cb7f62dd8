package import GRPCCore

/// What the transport carries: bytes of a known encoding in, messages out, encoded here as the
/// client asked. The generated code's serializers must know the conforming type.
package protocol WirePayload: GRPCContiguousBytes, Sendable {
    /// Bytes as a client sent them, JSON or binary.
    init(wire bytes: [UInt8], isJSON: Bool)
    /// Bytes that cannot be read: whoever deserializes it throws for `error`.
    init(refused error: RPCError)
    /// The message's bytes, JSON or binary.
    func encoded(asJSON isJSON: Bool) throws -> [UInt8]
}
