import Foundation
import RoostModel
import SwiftProtobuf

/// Model values as the JSON of ``Roost_Node_V1_LinkValue``.
enum ModelCoding {
    /// The most bytes of one value that are looked at.
    static let limit = 16 << 20

    static func data(_ value: some Encodable) throws(Fault) -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        do {
            return try encoder.encode(value)
        } catch {
            throw Fault(.bug, "cannot encode \(type(of: value))", cause: error)
        }
    }

    /// - Throws: ``Reason/malformedRequest`` for bytes that are no `Value`: the peer is of another
    ///   version, or speaks nonsense.
    static func value<Value: Decodable>(_ type: Value.Type, _ data: Data) throws(Fault) -> Value {
        guard data.count <= limit else {
            throw Fault(.requestTooLarge, "a \(type) of \(data.count) bytes; at most \(limit)")
        }
        do {
            return try JSONDecoder().decode(type, from: data)
        } catch {
            throw Fault(
                .malformedRequest,
                "cannot read a \(type) of \(data.count) bytes",
                cause: error
            )
        }
    }
}
