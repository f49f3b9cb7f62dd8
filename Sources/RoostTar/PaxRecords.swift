/// What pax extended headers and GNU's long names say about the member after them.
struct PaxRecords: Sendable {
    var path: [UInt8]?
    var link: [UInt8]?
    private(set) var size: UInt64?
    private(set) var user: UInt32?
    private(set) var group: UInt32?
    private(set) var modified: (seconds: Int64, nanoseconds: UInt32)?
    private(set) var attributes: [TarMember.Attribute] = []

    /// Adds the records in `bytes`: `LENGTH KEY=VALUE\n` each, later ones replacing earlier.
    mutating func read(_ bytes: [UInt8]) throws(TarProblem) {
        var position = 0
        while position < bytes.count {
            guard let space = bytes[position...].prefix(9).firstIndex(of: 0x20),
                let length = Self.decimal(bytes[position..<space]).map({ Int($0) }),
                length > space - position + 1, length <= bytes.count - position,
                bytes[position + length - 1] == 0x0A,
                let equals = bytes[space..<position + length].firstIndex(of: 0x3D)
            else { throw .record }
            let key = String(decoding: bytes[space + 1..<equals], as: UTF8.self)
            try set(key, Array(bytes[equals + 1..<position + length - 1]))
            position += length
        }
    }

    private mutating func set(_ key: String, _ value: [UInt8]) throws(TarProblem) {
        switch key {
        case "path": path = value
        case "linkpath": link = value
        case "size":
            guard let number = Self.decimal(value[...]), number < 1 << 62 else {
                throw .value(key: key, value: value)
            }
            size = number
        case "uid": user = try Self.id(key, value)
        case "gid": group = try Self.id(key, value)
        case "mtime": modified = try Self.time(value)
        default:
            if key.hasPrefix("GNU.sparse.") { throw .sparse(key) }
            let prefix = "SCHILY.xattr."
            guard key.hasPrefix(prefix) else { return }
            let name = String(key.dropFirst(prefix.count))
            attributes.removeAll { $0.name == name }
            guard attributes.count < TarHeaders.attributes else { throw .tooManyAttributes }
            attributes.append(TarMember.Attribute(name: name, value: value))
        }
    }

    private static func id(_ key: String, _ value: [UInt8]) throws(TarProblem) -> UInt32 {
        guard let number = decimal(value[...]), let id = UInt32(exactly: number) else {
            throw .value(key: key, value: value)
        }
        return id
    }

    /// Digits only: `Int` would take a sign as well, and another reader would not.
    private static func decimal(_ digits: ArraySlice<UInt8>) -> UInt64? {
        guard !digits.isEmpty, digits.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return UInt64(String(decoding: digits, as: UTF8.self))
    }

    /// Decimal seconds with an optional fraction, such as `-1.5` or `1700000000.123456789`.
    private static func time(
        _ value: [UInt8]
    ) throws(TarProblem) -> (seconds: Int64, nanoseconds: UInt32) {
        let isNegative = value.first == UInt8(ascii: "-")
        let parts = value.dropFirst(isNegative ? 1 : 0)
            .split(separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
        // Digits beyond the ninth say less than a nanosecond.
        let fraction = parts.count == 2 ? Array(parts[1].prefix(9)) : []
        let padded = fraction + Array(repeating: 0x30, count: 9 - fraction.count)
        guard let whole = parts.first.flatMap(decimal), whole < 1 << 40,
            let nanoseconds = decimal(padded[...]).map({ UInt32($0) })
        else { throw .value(key: "mtime", value: value) }
        let seconds = Int64(whole)
        guard isNegative else { return (seconds, nanoseconds) }
        return nanoseconds == 0 ? (-seconds, 0) : (-seconds - 1, 1_000_000_000 - nanoseconds)
    }
}
