package import GRPCCore
package import SwiftProtobuf

/// A message on its way through a transport that speaks more than one encoding.
///
/// Such a transport puts ``wire(_:encoding:)`` in and gets ``message(_:)`` back, which it encodes
/// as the client asked: nothing is encoded twice. Any other transport never sees this type.
package enum Payload: Sendable {
    /// Bytes as a client sent them.
    case wire([UInt8], encoding: Encoding)
    /// A message as a service answered it.
    case message(any SwiftProtobuf.Message)
    /// Bytes that cannot be read, and why: whoever reads them gets the error.
    case refused(RPCError)

    /// How a message is written down.
    package enum Encoding: Sendable {
        /// Protobuf's binary format.
        case binary
        /// Protobuf's JSON format.
        case json
    }

    /// Bytes as a client sent them.
    package init(wire bytes: [UInt8], isJSON: Bool) {
        self = .wire(bytes, encoding: isJSON ? .json : .binary)
    }

    /// Bytes that cannot be read.
    package init(refused error: RPCError) { self = .refused(error) }

    /// The message's bytes, JSON or binary.
    package func encoded(asJSON isJSON: Bool) throws -> [UInt8] {
        try encoded(as: isJSON ? .json : .binary)
    }

    /// The message in `encoding`; bytes of another encoding stay what they are.
    ///
    /// - Throws: what SwiftProtobuf throws, or the error of a refused payload.
    package func encoded(as encoding: Encoding) throws -> [UInt8] {
        switch self {
        case .wire(let bytes, _): return bytes
        case .refused(let error): throw error
        case .message(let message):
            switch encoding {
            case .binary: return try message.serializedBytes()
            case .json: return try message.jsonUTF8Bytes()
            }
        }
    }
}

extension Payload: GRPCContiguousBytes {
    package init(repeating byte: UInt8, count: Int) {
        self = .wire([UInt8](repeating: byte, count: count), encoding: .binary)
    }

    package init(_ sequence: some Sequence<UInt8>) {
        self = .wire([UInt8](sequence), encoding: .binary)
    }

    /// The bytes of its binary form; none where there is no such form.
    private var bytes: [UInt8] { (try? encoded(as: .binary)) ?? [] }

    package var count: Int { bytes.count }

    package func withUnsafeBytes<R>(
        _ body: (UnsafeRawBufferPointer) throws -> R
    ) rethrows -> R {
        try bytes.withUnsafeBytes(body)
    }

    package mutating func withUnsafeMutableBytes<R>(
        _ body: (UnsafeMutableRawBufferPointer) throws -> R
    ) rethrows -> R {
        var bytes = bytes
        defer { self = .wire(bytes, encoding: .binary) }
        return try bytes.withUnsafeMutableBytes(body)
    }
}
