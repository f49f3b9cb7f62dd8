import RoostModel

/// What a pax extended header says about the member after it (POSIX.1-2001, pax).
struct PaxRecords {
    var path: [UInt8]?
    var linkPath: [UInt8]?
    var size: UInt64?
    var user: UInt32?
    var group: UInt32?
    var modified: FileTime?
    var attributes: [ExtendedAttribute] = []

    /// Adds the records in `bytes`: `LENGTH KEY=VALUE\n` each, later ones replacing earlier.
    ///
    /// - Throws: `archiveInvalid` for malformed records and for sparse files.
    mutating func read(_ bytes: [UInt8]) throws(Fault) {
        var position = 0
        while position < bytes.count {
            guard let space = bytes[position...].firstIndex(of: 0x20), space - position <= 8,
                let length = Int(String(decoding: bytes[position..<space], as: UTF8.self)),
                length > space - position + 1, length <= bytes.count - position,
                bytes[position + length - 1] == 0x0A,
                let equals = bytes[space..<position + length].firstIndex(of: 0x3D)
            else { throw Fault(.archiveInvalid, "a pax header with a malformed record") }
            let key = String(decoding: bytes[space + 1..<equals], as: UTF8.self)
            try set(key, Array(bytes[equals + 1..<position + length - 1]))
            position += length
        }
    }

    private mutating func set(_ key: String, _ value: [UInt8]) throws(Fault) {
        switch key {
        case "path": path = value
        case "linkpath": linkPath = value
        case "size": size = try Self.number(key, value)
        case "uid": user = try Self.number(key, value)
        case "gid": group = try Self.number(key, value)
        case "mtime": modified = try Self.time(value)
        default:
            if key.hasPrefix("GNU.sparse.") {
                throw Fault(.archiveInvalid, "sparse members (\(printable(key))) are not supported")
            }
            let prefix = "SCHILY.xattr."
            guard key.hasPrefix(prefix) else { return }
            let name = String(key.dropFirst(prefix.count))
            attributes.removeAll { $0.name == name }
            attributes.append(ExtendedAttribute(name: name, value: value))
        }
    }

    private static func number<Value: FixedWidthInteger>(
        _ key: String,
        _ value: [UInt8]
    ) throws(Fault) -> Value {
        guard let number = Value(String(decoding: value, as: UTF8.self)) else {
            throw Fault(.archiveInvalid, "a pax header with \(key) \"\(printable(value))\"")
        }
        return number
    }

    /// Decimal seconds with an optional fraction, such as `-1.5` or `1700000000.123456789`.
    private static func time(_ value: [UInt8]) throws(Fault) -> FileTime {
        let text = String(decoding: value, as: UTF8.self)
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let fraction = parts.count == 2 ? String(parts[1].prefix(9)) : ""
        let padded = fraction + String(repeating: "0", count: 9 - fraction.count)
        guard let first = parts.first, let seconds = Int64(first), abs(seconds) < 1 << 40,
            let nanoseconds = UInt32(padded)
        else { throw Fault(.archiveInvalid, "a pax header with mtime \"\(printable(text))\"") }
        guard text.hasPrefix("-"), nanoseconds > 0 else {
            return FileTime(seconds: seconds, nanoseconds: nanoseconds)
        }
        return FileTime(seconds: seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds)
    }
}
