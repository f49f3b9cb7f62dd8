internal import SwiftProtobuf

/// The `message` of a line of JSON, or the line itself; without control characters.
func loggedMessage(_ line: String) -> String {
    let entry = try? Google_Protobuf_Struct(jsonString: line)
    let message = entry?.fields["message"]?.stringValue ?? ""
    let text = message.isEmpty ? line : message
    return String(text.prefix(400).filter { !$0.isNewline && $0.asciiValue != 27 })
}
