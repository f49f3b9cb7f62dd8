internal import RoostModel

/// Reads memory in MiB: `512`, `512m`, `512MiB`, `2g`.
func memoryMebibytes(_ text: String) throws(Fault) -> Int64 {
    try quantity(
        text,
        flag: "-m",
        units: ["": 1, "m": 1, "mb": 1, "mib": 1, "g": 1024, "gb": 1024, "gib": 1024]
    )
}

/// Reads a disk's size in GiB: `8`, `8g`, `1t`.
func diskGibibytes(_ text: String) throws(Fault) -> Int64 {
    try quantity(
        text,
        flag: "--disk",
        units: ["": 1, "g": 1, "gb": 1, "gib": 1, "t": 1024, "tb": 1024, "tib": 1024]
    )
}

private func quantity(
    _ text: String,
    flag: String,
    units: [String: Int64]
) throws(Fault) -> Int64 {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let number = Int64(digits), let unit = units[text.dropFirst(digits.count).lowercased()],
        number > 0, number <= 1 << 32
    else {
        let known = units.keys.filter { $0.count == 1 }.sorted().joined(separator: ", ")
        throw .invalid(flag, "'\(shown(text))' is not an amount; write a number and \(known)")
    }
    return number * unit
}

/// Reads a duration: `30` and `30s` are seconds; also `500ms`, `5m`, `2h`, `1h30m`.
func duration(_ text: String, flag: String) throws(Fault) -> Duration {
    var rest = text[...]
    var total = Duration.zero
    var isFirst = true
    while isFirst || !rest.isEmpty {
        let digits = rest.prefix { $0.isASCII && $0.isNumber }
        rest = rest.dropFirst(digits.count)
        let unit = rest.prefix { $0.isLetter }
        rest = rest.dropFirst(unit.count)
        guard let number = Int64(digits), number <= 1 << 31,
            let one = durationUnits[String(unit)], !unit.isEmpty || (isFirst && rest.isEmpty)
        else {
            throw .invalid(flag, "'\(shown(text))' is not a duration such as 30s, 5m or 1h30m")
        }
        total += one * Int(number)
        isFirst = false
    }
    return total
}

private let durationUnits: [String: Duration] = [
    "": .seconds(1), "s": .seconds(1), "ms": .milliseconds(1), "m": .seconds(60),
    "h": .seconds(3600), "d": .seconds(86_400),
]

extension Duration {
    /// Whole seconds, rounded up, and at least 1.
    var wholeSeconds: Int32 {
        let parts = components
        let seconds = parts.seconds + (parts.attoseconds > 0 ? 1 : 0)
        return Int32(clamping: max(seconds, 1))
    }
}
