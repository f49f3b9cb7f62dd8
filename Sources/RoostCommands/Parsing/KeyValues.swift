internal import RoostModel

/// Reads labels: `key=value` each. The last one of a key holds.
func labels(_ texts: [String], flag: String = "-l") throws(Fault) -> [String: String] {
    var labels: [String: String] = [:]
    for text in texts {
        guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
            throw .invalid(flag, "'\(shown(text))' is not key=value")
        }
        labels[String(text[..<equals])] = String(text[text.index(after: equals)...])
    }
    return labels
}

/// What `--label` asks of the labels there are: `key=value` sets one, `key-` takes one away.
func changed(
    _ labels: [String: String],
    by changes: [String]
) throws(Fault) -> [String: String] {
    var labels = labels
    for change in changes {
        if change.hasSuffix("-"), !change.contains("="), change.count > 1 {
            labels[String(change.dropLast())] = nil
        } else {
            let one = try RoostCommands.labels([change], flag: "--label")
            labels.merge(one) { $1 }
        }
    }
    return labels
}

/// Reads `-e`: `NAME=value`, or `NAME` for the value that it has here (none: left out).
func environmentEntry(
    _ text: String,
    inherited: [String: String]
) throws(Fault) -> String? {
    let name = text.prefix { $0 != "=" }
    guard !name.isEmpty, !text.contains("\0") else {
        throw .invalid("-e", "'\(shown(text))' is not NAME=value")
    }
    if name.count < text.count { return text }
    return inherited[text].map { "\(text)=\($0)" }
}

/// Reads an environment file as docker does: a `NAME=value` or `NAME` in each line, taken as it
/// stands; empty lines and lines that begin with `#` are left out.
func environmentFile(
    _ contents: String,
    path: String,
    inherited: [String: String]
) throws(Fault) -> [String] {
    var entries: [String] = []
    let lines = contents.split(omittingEmptySubsequences: false) { $0.isNewline }
    for (index, line) in lines.enumerated() {
        let text = String(line.drop { $0 == " " || $0 == "\t" })
        if text.isEmpty || text.hasPrefix("#") { continue }
        let name = text.prefix { $0 != "=" }
        guard !name.isEmpty, !name.contains(where: \.isWhitespace) else {
            let place = "\(shown(path)):\(index + 1)"
            throw .invalid("--env-file", "\(place): '\(shown(text))' is not NAME=value")
        }
        if let entry = try environmentEntry(text, inherited: inherited) { entries.append(entry) }
    }
    return entries
}
