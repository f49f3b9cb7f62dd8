internal import RoostModel

/// One member of a tar archive (POSIX ustar with pax records), as far as `roost cp` needs it.
struct TarHeader: Equatable {
    /// The kinds that are copied.
    enum Kind: UInt8 {
        case file = 0x30
        case hardLink = 0x31
        case symbolicLink = 0x32
        case directory = 0x35
    }

    static let block = 512

    var path: String
    var kind: Kind
    /// Permission bits.
    var mode: UInt32
    var size: UInt64 = 0
    /// Seconds since 1970.
    var time: Int64 = 0
    var link = ""

    /// The header's blocks: a pax header in front when a name or the size does not fit.
    func encoded() -> [UInt8] {
        var records = ""
        if path.utf8.count > 100 { records += Self.record("path", path) }
        if link.utf8.count > 100 { records += Self.record("linkpath", link) }
        if size >= 1 << 33 { records += Self.record("size", String(size)) }
        var bytes: [UInt8] = []
        if !records.isEmpty {
            let data = Array(records.utf8)
            bytes += Self.blockOf(
                "./PaxHeaders/\(path.suffix(60))",
                0x78,
                0o644,
                UInt64(data.count),
                0,
                ""
            )
            bytes += data + Self.padding(after: data.count)
        }
        let fits = size < 1 << 33 ? size : 0
        return bytes + Self.blockOf(path, kind.rawValue, mode, fits, time, link)
    }

    /// The zeros that fill a member's last block.
    static func padding(after size: Int) -> [UInt8] {
        [UInt8](repeating: 0, count: (block - size % block) % block)
    }

    /// `LENGTH key=value\n`, where the length counts itself.
    private static func record(_ key: String, _ value: String) -> String {
        let rest = " \(key)=\(value)\n"
        var length = rest.utf8.count + 1
        while String(length).utf8.count + rest.utf8.count != length { length += 1 }
        return "\(length)\(rest)"
    }

    private static func blockOf(
        _ path: String,
        _ kind: UInt8,
        _ mode: UInt32,
        _ size: UInt64,
        _ time: Int64,
        _ link: String
    ) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: block)
        func put(_ text: String, at offset: Int, limit: Int) {
            for (index, byte) in text.utf8.prefix(limit).enumerated() {
                bytes[offset + index] = byte
            }
        }
        func octal(_ value: UInt64, at offset: Int, digits: Int) {
            let text = String(value, radix: 8)
            put(
                String(repeating: "0", count: max(0, digits - text.count)) + text,
                at: offset,
                limit: digits
            )
        }
        put(path, at: 0, limit: 100)
        octal(UInt64(mode & 0o7777), at: 100, digits: 7)
        octal(0, at: 108, digits: 7)
        octal(0, at: 116, digits: 7)
        octal(size, at: 124, digits: 11)
        octal(UInt64(max(time, 0)), at: 136, digits: 11)
        bytes[156] = kind
        put(link, at: 157, limit: 100)
        put("ustar\u{0}00", at: 257, limit: 8)
        for index in 148..<156 { bytes[index] = 32 }
        octal(bytes.reduce(0) { $0 + UInt64($1) }, at: 148, digits: 6)
        bytes[154] = 0
        return bytes
    }
}
