internal import SwiftProtobuf

/// A context as it is shown.
struct ContextRow: Printable {
    var name: String
    var endpoint: String
    /// It is what a command without flags speaks with.
    var isCurrent: Bool
    /// What makes it the current one; empty for the others.
    var reason: String = ""

    func orderedJSON() throws -> String {
        var document = Google_Protobuf_Struct()
        document.fields["name"] = .init(stringValue: name)
        document.fields["endpoint"] = .init(stringValue: endpoint)
        document.fields["current"] = .init(boolValue: isCurrent)
        if !reason.isEmpty { document.fields["reason"] = .init(stringValue: reason) }
        return try document.orderedJSON()
    }

    static func columns(wide: Bool) -> [String] {
        ["NAME", "CURRENT", "ENDPOINT"] + (wide ? ["REASON"] : [])
    }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        [
            .init(text: name), .init(text: isCurrent ? "yes" : ""), .init(text: endpoint),
        ] + (wide ? [.init(text: reason)] : [])
    }

    var plainName: String { name }

    func details(now: Int64) -> [(String, String)] {
        [
            ("name", name), ("endpoint", endpoint), ("current", isCurrent ? "yes" : "no"),
            ("reason", reason),
        ]
    }
}
