internal import FoundationEssentials
internal import RoostModel
internal import SwiftProtobuf

/// The message that a request's JSON body says. An empty body is the empty message.
///
/// Both casings of field names are read and unknown fields are ignored, but unknown enum names
/// are refused: ignoring a misspelt one would do something else than was asked.
///
/// - Throws: ``RoostModel/Reason/malformedRequest`` with a violation for each field of a wrong type.
func readJSON<Message: SwiftProtobuf.Message>(_ bytes: [UInt8]) throws(Fault) -> Message {
    if bytes.allSatisfy({ [0x20, 0x09, 0x0A, 0x0D].contains($0) }) { return Message() }
    let cause: any Error
    do {
        return try Message(jsonUTF8Bytes: bytes)
    } catch {
        cause = error
    }
    // Something is unknown or wrong. SwiftProtobuf names no path, and its lenient mode drops
    // unknown enum names, so what was refused is looked up in the schema.
    guard let tree = try? JSONDecoder().decode(JSONTree.self, from: Data(bytes)) else {
        throw Fault(.malformedRequest, "the body is not JSON", cause: cause)
    }
    guard case .object = tree else {
        throw Fault(.malformedRequest, "the body is \(tree.kind), not a JSON object")
    }
    var check = JSONCheck(schema: .shared)
    check.message(tree, Message.protoMessageName, at: "")
    if !check.violations.isEmpty {
        let text = check.violations.map { "\($0.field): \($0.problem)" }.joined(separator: "; ")
        throw Fault(.malformedRequest, text, violations: check.violations)
    }
    var options = JSONDecodingOptions()
    options.ignoreUnknownFields = true
    do {
        return try Message(jsonUTF8Bytes: bytes, options: options)
    } catch {
        let name = Message.protoMessageName
        throw Fault(.malformedRequest, "the body is not a \(name) (\(error))", cause: error)
    }
}

/// Compares JSON with the schema and collects every field that cannot be read.
struct JSONCheck {
    let schema: Schema
    private(set) var violations: [FieldViolation] = []

    init(schema: Schema) { self.schema = schema }

    /// Checks `tree` as a message of type `name`.
    mutating func message(_ tree: JSONTree, _ name: String, at path: String) {
        if wellKnownStrings.contains(name) {
            if case .string = tree { return }
            return refuse(path, "wants a string, not \(tree.kind)")
        }
        guard let type = schema.messages[name], !name.hasPrefix("google.protobuf.") else { return }
        guard case .object(let members) = tree else {
            return refuse(path, "wants an object, not \(tree.kind)")
        }
        for (key, value) in members.sorted(by: { $0.key < $1.key }) {
            guard let field = type.field.first(where: { $0.name == key || $0.jsonName == key })
            else { continue }
            member(value, field, at: path.isEmpty ? field.name : "\(path).\(field.name)")
        }
    }

    private mutating func member(
        _ tree: JSONTree,
        _ field: Google_Protobuf_FieldDescriptorProto,
        at path: String
    ) {
        if case .null = tree { return }
        guard field.label == .repeated else { return single(tree, field, at: path) }
        let type = schema.messages[String(field.typeName.dropFirst())]
        if let type, type.options.mapEntry, let value = type.field.first(where: { $0.number == 2 })
        {
            guard case .object(let members) = tree else {
                return refuse(path, "wants an object, not \(tree.kind)")
            }
            for (key, member) in members.sorted(by: { $0.key < $1.key }) {
                single(member, value, at: "\(path)[\(shown(key))]")
            }
            return
        }
        guard case .array(let elements) = tree else {
            return refuse(path, "wants an array, not \(tree.kind)")
        }
        for (index, element) in elements.enumerated() {
            single(element, field, at: "\(path)[\(index)]")
        }
    }

    private mutating func single(
        _ tree: JSONTree,
        _ field: Google_Protobuf_FieldDescriptorProto,
        at path: String
    ) {
        let typeName = String(field.typeName.dropFirst())
        switch field.type {
        case .message, .group: message(tree, typeName, at: path)
        case .enum: enumeration(tree, typeName, at: path)
        case .bool:
            if case .bool = tree { return }
            refuse(path, "wants true or false, not \(tree.kind)")
        case .string, .bytes:
            if case .string = tree { return }
            refuse(path, "wants a string, not \(tree.kind)")
        case .double, .float: break
        case .int32, .sint32, .sfixed32: number(tree, -0x8000_0000...0x7FFF_FFFF, at: path)
        case .uint32, .fixed32: number(tree, 0...0xFFFF_FFFF, at: path)
        case .int64, .sint64, .sfixed64: number(tree, -0x1p63...0x1p63, at: path)
        case .uint64, .fixed64: number(tree, 0...0x1p64, at: path)
        }
    }

    private mutating func number(
        _ tree: JSONTree,
        _ range: ClosedRange<Double>,
        at path: String
    ) {
        let value: Double?
        switch tree {
        case .number(let number): value = number
        case .string(let text): value = Double(text)
        case .null, .bool, .array, .object: value = nil
        }
        guard let value else { return refuse(path, "wants a whole number, not \(tree.kind)") }
        guard value.rounded() == value else {
            return refuse(path, "wants a whole number, not \(value)")
        }
        if !range.contains(value) { refuse(path, "\(value) is too large for it") }
    }

    private mutating func enumeration(_ tree: JSONTree, _ name: String, at path: String) {
        guard let type = schema.enums[name] else { return }
        switch tree {
        case .number: return
        case .string(let text):
            if type.value.contains(where: { $0.name == text }) { return }
            let names = type.value.filter { $0.number != 0 }.map(\.name).joined(separator: ", ")
            refuse(path, "'\(shown(text))' is not one of \(names)")
        case .null, .bool, .array, .object:
            refuse(path, "wants a name, not \(tree.kind)")
        }
    }

    private mutating func refuse(_ path: String, _ problem: String) {
        if violations.count < 32 { violations.append(FieldViolation(path, problem)) }
    }
}

/// Messages that JSON writes as one string.
private let wellKnownStrings: Set<String> = [
    "google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask",
]
