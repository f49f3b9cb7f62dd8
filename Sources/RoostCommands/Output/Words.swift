internal import RoostModel
internal import SwiftProtobuf

/// A span of time in its largest unit, such as `42s`, `7m`, `3h` or `12d`.
func ageText(seconds: Int64) -> String {
    switch max(seconds, 0) {
    case let seconds where seconds < 60: "\(seconds)s"
    case let seconds where seconds < 3600: "\(seconds / 60)m"
    case let seconds where seconds < 86_400: "\(seconds / 3600)h"
    case let seconds: "\(seconds / 86_400)d"
    }
}

/// Bytes in the unit that keeps three digits, such as `512 MiB` or `1.5 GiB`.
func sizeText(bytes: Int64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"]
    var amount = Double(max(bytes, 0))
    var unit = 0
    while amount >= 1024, unit < units.count - 1 {
        amount /= 1024
        unit += 1
    }
    let tenths = Int64((amount * 10).rounded())
    let isWhole = tenths % 10 == 0 || amount >= 100
    let number = isWhole ? String(tenths / 10) : "\(tenths / 10).\(tenths % 10)"
    return "\(number) \(units[unit])"
}

/// A digest as people tell it from others: its first 12 digits. A name stays as it is.
func shortDigest(_ text: String) -> String {
    guard text.hasPrefix("sha256:"), text.utf8.count == 71 else { return text }
    return String(text.dropFirst(7).prefix(12))
}

/// A duration with two decimals, such as `0.41s`.
func secondsText(_ duration: Duration) -> String {
    let parts = duration.components
    let hundredths = parts.seconds * 100 + parts.attoseconds / 10_000_000_000_000_000
    let rest = hundredths % 100
    return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)s"
}

/// A time as RFC 3339 has it, to the second.
func timeText(_ time: Google_Protobuf_Timestamp) -> String {
    guard let json = try? time.jsonString(), json.hasPrefix("\"") else { return "" }
    let text = json.dropFirst().dropLast()
    guard let dot = text.firstIndex(of: ".") else { return String(text) }
    return text[..<dot] + "Z"
}
