internal import Foundation
package import RoostModel

/// A JSON value as QMP uses it.
package enum QMPValue: Sendable, Hashable {
    case null
    case bool(Bool)
    case int(Int64)
    case double(Double)
    case string(String)
    case array([QMPValue])
    case object([String: QMPValue])

    /// The member `key` of an object.
    package subscript(key: String) -> QMPValue? {
        if case .object(let members) = self { members[key] } else { nil }
    }

    /// The text of a string.
    package var text: String? { if case .string(let text) = self { text } else { nil } }
    /// The value of an integer.
    package var number: Int64? { if case .int(let number) = self { number } else { nil } }
    /// The elements of an array.
    package var elements: [QMPValue]? { if case .array(let all) = self { all } else { nil } }
    /// The truth of a boolean.
    package var truth: Bool? { if case .bool(let truth) = self { truth } else { nil } }
}

extension QMPValue: Codable {
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Int64.self) {
            self = .int(value)
        } else if let value = try? container.decode(Double.self) {
            self = .double(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([QMPValue].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode([String: QMPValue].self))
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .int(let value): try container.encode(value)
        case .double(let value): try container.encode(value)
        case .string(let value): try container.encode(value)
        case .array(let values): try container.encode(values)
        case .object(let members): try container.encode(members)
        }
    }
}

/// One message from QEMU, or what became of it.
package enum QMPMessage: Sendable, Hashable {
    /// The first message on every connection.
    case greeting(version: String)
    case answer(id: Int, QMPValue)
    case refusal(id: Int?, QMPError)
    case event(QMPEvent)

    /// Reads one line. Throws ``Reason/vmmFailed`` when it is not a QMP message.
    package init(line: [UInt8]) throws(Fault) {
        guard let value = try? JSONDecoder().decode(QMPValue.self, from: Data(line)) else {
            throw Fault(
                .vmmFailed,
                "QEMU sent no JSON: \(shown(String(decoding: line, as: UTF8.self)))"
            )
        }
        let id: Int? = if case .int(let id) = value["id"] { Int(id) } else { nil }
        if let greeting = value["QMP"] {
            self = .greeting(version: greeting["version"]?["package"]?.text ?? "")
        } else if let name = value["event"]?.text {
            self = .event(QMPEvent(name: name, data: value["data"] ?? .null))
        } else if let error = value["error"] {
            let text = error["desc"]?.text ?? ""
            self = .refusal(id: id, QMPError(kind: error["class"]?.text ?? "", text: text))
        } else if let answer = value["return"], let id {
            self = .answer(id: id, answer)
        } else {
            throw Fault(.vmmFailed, "QEMU sent a message of no known kind")
        }
    }
}

/// A refusal by QEMU.
package struct QMPError: Error, Sendable, Hashable {
    package var kind: String
    package var text: String
}

/// Something that happened in a VMM.
package struct QMPEvent: Sendable, Hashable {
    package var name: String
    package var data: QMPValue
}

/// The bytes of a command, with its newline.
func qmpCommand(_ name: String, _ arguments: [String: QMPValue], id: Int) throws(Fault) -> [UInt8] {
    var members: [String: QMPValue] = ["execute": .string(name), "id": .int(Int64(id))]
    if !arguments.isEmpty { members["arguments"] = .object(arguments) }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(QMPValue.object(members)) else {
        throw Fault(.bug, "the QMP command \(name) cannot be encoded")
    }
    return Array(data) + [10]
}
