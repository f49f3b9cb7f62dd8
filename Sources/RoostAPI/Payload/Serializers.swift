package import GRPCCore
internal import GRPCProtobuf
internal import RoostModel
package import SwiftProtobuf

/// Hands messages to a transport. The generated code names it in place of GRPCProtobuf's.
package struct ProtobufSerializer<Message: SwiftProtobuf.Message>: GRPCCore.MessageSerializer {
    package init() {}

    /// `message` itself for a transport of ``Payload``, its binary form for any other.
    package func serialize<Bytes: GRPCContiguousBytes>(_ message: Message) throws -> Bytes {
        if let payload = Payload.message(message) as? Bytes { return payload }
        return try GRPCProtobuf.ProtobufSerializer<Message>().serialize(message)
    }
}

/// Reads messages from a transport. The generated code names it in place of GRPCProtobuf's.
package struct ProtobufDeserializer<Message: SwiftProtobuf.Message>: GRPCCore.MessageDeserializer {
    package init() {}

    /// The message in `bytes`.
    ///
    /// - Throws: a fault of reason ``RoostModel/Reason/malformedRequest`` as `GoogleRPCStatus`,
    ///   naming the field where it is known.
    package func deserialize<Bytes: GRPCContiguousBytes>(_ bytes: Bytes) throws -> Message {
        guard let payload = bytes as? Payload else {
            return try GRPCProtobuf.ProtobufDeserializer<Message>().deserialize(bytes)
        }
        switch payload {
        case .message(let message):
            if let message = message as? Message { return message }
            throw GoogleRPCStatus(Fault(.bug, "a \(type(of: message)) came for a \(Message.self)"))
        case .refused(let error):
            throw GoogleRPCStatus(Fault(refusal: error))
        case .wire(let bytes, .binary):
            do {
                return try Message(serializedBytes: bytes)
            } catch {
                let name = Message.protoMessageName
                let text = "the bytes are not a \(name) (\(bytes.count) bytes)"
                throw GoogleRPCStatus(Fault(.malformedRequest, text, cause: error))
            }
        case .wire(let bytes, .json):
            do throws(Fault) {
                return try readJSON(bytes)
            } catch {
                throw GoogleRPCStatus(error)
            }
        }
    }
}
