public import Foundation

/// Compares `text` with the golden file beside the test, or rewrites it when `UPDATE_GOLDEN=1`.
///
/// - Returns: `nil` when they agree, otherwise the first line that differs.
public func goldenDifference(
    _ text: String,
    named name: String,
    file: String = #filePath
) throws -> String? {
    let directory = URL(filePath: file).deletingLastPathComponent().appending(path: "Golden")
    return try goldenDifference(text, at: directory.appending(path: name))
}

/// As above, for a golden file at `url`: a page of docs/ that is printed from a table.
public func goldenDifference(_ text: String, at url: URL) throws -> String? {
    let directory = url.deletingLastPathComponent()
    let name = url.lastPathComponent
    if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" {
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        try Data(text.utf8).write(to: url, options: .atomic)
    }
    let wanted = try String(contentsOf: url, encoding: .utf8)
    for (line, pair) in zip(
        text.split(separator: "\n", omittingEmptySubsequences: false),
        wanted.split(separator: "\n", omittingEmptySubsequences: false)
    ).enumerated() where pair.0 != pair.1 {
        return "\(name):\(line + 1): got '\(pair.0)', wanted '\(pair.1)'"
    }
    return text == wanted ? nil : "\(name): the lengths differ"
}
