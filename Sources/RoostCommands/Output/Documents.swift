internal import RoostModel
internal import SwiftProtobuf
internal import Yams

/// `messages` as JSON: one object, or an array of them. Indented by two, and never empty.
func jsonText(_ message: some Printable) throws -> String {
    indentedJSON(try message.orderedJSON()) + "\n"
}

/// As ``jsonText(_:)`` for a list; `[]` when there is nothing.
func jsonText(_ messages: [some Printable]) throws -> String {
    let elements = try messages.map { try $0.orderedJSON() }
    return indentedJSON("[\(elements.joined(separator: ","))]") + "\n"
}

extension Message {
    /// Its JSON in one line, the same for the same message: maps come in the order of their keys.
    func orderedJSON() throws -> String {
        var options = JSONEncodingOptions()
        options.useDeterministicOrdering = true
        return try jsonString(options: options)
    }
}

/// A document of JSON as YAML in block style, with the keys in the same order.
func yamlText(json: String) throws(Fault) -> String {
    do {
        guard let node = try Yams.compose(yaml: json) else { return "{}\n" }
        return try Yams.serialize(node: block(node), allowUnicode: true)
    } catch {
        throw Fault(.bug, "the answer cannot be written as YAML", cause: error)
    }
}

/// The same node without JSON's braces. Strings that only look like something else stay quoted.
private func block(_ node: Node) -> Node {
    switch node {
    case .mapping(let mapping):
        let pairs = mapping.map { (plainKey($0.key), block($0.value)) }
        return .mapping(Node.Mapping(pairs, .implicit, pairs.isEmpty ? .flow : .block))
    case .sequence(let sequence):
        let nodes = sequence.map(block)
        return .sequence(Node.Sequence(nodes, .implicit, nodes.isEmpty ? .flow : .block))
    case .scalar(let scalar):
        let isPlain = scalar.style == .plain || isPlainWord(scalar.string)
        return .scalar(
            Node.Scalar(scalar.string, .implicit, isPlain ? .plain : .doubleQuoted)
        )
    case .alias: return node
    }
}

private func plainKey(_ node: Node) -> Node {
    guard let text = node.string else { return node }
    return .scalar(Node.Scalar(text, .implicit, isPlainWord(text) ? .plain : .doubleQuoted))
}

/// Whether YAML reads `text` as a string without quotes, whoever reads it.
private func isPlainWord(_ text: String) -> Bool {
    let words: Set<String> = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
    guard let first = text.first, first.isASCII, first.isLetter, !words.contains(text.lowercased())
    else { return false }
    return text.utf8.allSatisfy { byte in
        (97...122).contains(byte) || (65...90).contains(byte) || (48...57).contains(byte)
            || Array("-_./".utf8).contains(byte)
    }
}

/// JSON text with line breaks, indented by two. Only white space outside strings changes.
func indentedJSON(_ json: String) -> String {
    var text: [UInt8] = []
    var depth = 0
    var isInString = false
    var isEscaped = false
    func breakLine() {
        text.append(10)
        text.append(contentsOf: repeatElement(32, count: 2 * depth))
    }
    var bytes = json.utf8.makeIterator()
    var pending = bytes.next()
    while let byte = pending {
        pending = bytes.next()
        if isInString {
            text.append(byte)
            if isEscaped {
                isEscaped = false
            } else if byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else if byte == UInt8(ascii: "\"") {
                isInString = false
            }
            continue
        }
        switch byte {
        case UInt8(ascii: "\""):
            isInString = true
            text.append(byte)
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            text.append(byte)
            if pending == UInt8(ascii: "}") || pending == UInt8(ascii: "]") {
                text.append(pending ?? byte)
                pending = bytes.next()
            } else {
                depth += 1
                breakLine()
            }
        case UInt8(ascii: "}"), UInt8(ascii: "]"):
            depth -= 1
            breakLine()
            text.append(byte)
        case UInt8(ascii: ","):
            text.append(byte)
            breakLine()
        case UInt8(ascii: ":"):
            text += [byte, 32]
        case 9, 10, 13, 32: break
        default: text.append(byte)
        }
    }
    return String(decoding: text, as: UTF8.self)
}
