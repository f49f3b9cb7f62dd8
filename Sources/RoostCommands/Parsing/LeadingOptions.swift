/// Moves the options of every command that stand before its name behind it, since people write
/// `roost --op-id OP start box` as well as `roost start --op-id OP box`.
///
/// - Parameters:
///   - arguments: without the program's name.
///   - isGroup: whether a first word has words of its own, as `image` in `roost image ls`.
/// - Returns: the arguments in the parser's order; unchanged when an option is unknown.
func movingLeadingOptions(_ arguments: [String], isGroup: (String) -> Bool) -> [String] {
    var leading: [String] = []
    var rest = arguments[...]
    while let first = rest.first, first.hasPrefix("-") {
        let name = String(first.prefix { $0 != "=" })
        if leadingFlags.contains(first) {
            leading.append(first)
            rest.removeFirst()
        } else if leadingValues.contains(name) {
            let takesNext = name == first
            leading += rest.prefix(takesNext ? 2 : 1)
            rest = rest.dropFirst(takesNext ? 2 : 1)
        } else {
            // The parser knows best how to refuse it.
            return arguments
        }
    }
    guard !leading.isEmpty, let command = rest.popFirst() else { return arguments }
    var words = [command]
    if isGroup(command), let second = rest.first, !second.hasPrefix("-") {
        words.append(second)
        rest.removeFirst()
    }
    return words + leading + rest
}

private let leadingFlags: Set<String> = ["--dry-run", "--no-color", "-q", "--quiet"]
private let leadingValues: Set<String> = [
    "--context", "--socket", "--state-dir", "--op-id", "--project", "--timeout", "-o", "--output",
]
