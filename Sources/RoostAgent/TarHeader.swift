import Glibc

/// One entry's header of a tar archive (POSIX.1-2001: ustar with pax records).
struct TarHeader: Equatable {
    /// The kinds of entry, by their letter.
    enum Kind: UInt8 {
        case file = 0x30
        case hardLink = 0x31
        case symbolicLink = 0x32
        case characterDevice = 0x33
        case blockDevice = 0x34
        case directory = 0x35
        case fifo = 0x36
        case pax = 0x78
        case paxGlobal = 0x67
        case gnuLongName = 0x4C
        case gnuLongLink = 0x4B
    }

    static let block = 512

    var kind: Kind
    var path: [UInt8]
    var link: [UInt8] = []
    var mode: UInt32 = 0
    var uid: UInt32 = 0
    var gid: UInt32 = 0
    var size: UInt64 = 0
    var modified: Int64 = 0
    var major: UInt32 = 0
    var minor: UInt32 = 0

    /// The header's blocks, with a pax header before it for what ustar cannot say.
    func encoded() -> [UInt8] {
        var records: [UInt8] = []
        if path.count > 100 { records += Self.record("path", path) }
        if link.count > 100 { records += Self.record("linkpath", link) }
        if size > 0o777_7777_7777 { records += Self.record("size", Array("\(size)".utf8)) }
        if uid > 0o777_7777 { records += Self.record("uid", Array("\(uid)".utf8)) }
        if gid > 0o777_7777 { records += Self.record("gid", Array("\(gid)".utf8)) }
        if modified < 0 { records += Self.record("mtime", Array("\(modified)".utf8)) }
        guard !records.isEmpty else { return ustar() }
        let count = records.count
        var prefix = TarHeader(kind: .pax, path: Array("pax".utf8))
        prefix.size = UInt64(count)
        prefix.mode = 0o644
        return prefix.ustar() + records + Self.padding(count) + ustar()
    }

    /// Zeros up to the next block.
    static func padding(_ count: Int) -> [UInt8] {
        Array(repeating: 0, count: (block - count % block) % block)
    }

    private func ustar() -> [UInt8] {
        var header = [UInt8](repeating: 0, count: Self.block)
        func put(_ bytes: some Collection<UInt8>, at offset: Int, _ limit: Int) {
            for (index, byte) in bytes.prefix(limit).enumerated() { header[offset + index] = byte }
        }
        func octal(_ number: UInt64, at offset: Int, _ digits: Int) {
            let text = Array(String(number, radix: 8).utf8.suffix(digits))
            put(Array(repeating: 48, count: digits - text.count) + text, at: offset, digits)
        }
        put(path, at: 0, 100)
        octal(UInt64(mode & 0o7777), at: 100, 7)
        octal(UInt64(min(uid, 0o777_7777)), at: 108, 7)
        octal(UInt64(min(gid, 0o777_7777)), at: 116, 7)
        octal(min(size, 0o777_7777_7777), at: 124, 11)
        octal(UInt64(max(0, modified)), at: 136, 11)
        put(Array(repeating: 32, count: 8), at: 148, 8)
        header[156] = kind.rawValue
        put(link, at: 157, 100)
        put(Array("ustar\0".utf8) + Array("00".utf8), at: 257, 8)
        octal(UInt64(major), at: 329, 7)
        octal(UInt64(minor), at: 337, 7)
        octal(header.reduce(0) { $0 + UInt64($1) }, at: 148, 6)
        header[154] = 0
        return header
    }

    private static func record(_ key: String, _ value: [UInt8]) -> [UInt8] {
        let body = Array(" \(key)=".utf8) + value + [10]
        var length = body.count + 1
        while String(length).utf8.count + body.count != length {
            length = String(length).utf8.count + body.count
        }
        return Array(String(length).utf8) + body
    }

    /// Reads one block; `nil` when the checksum or the kind is wrong.
    init?(block header: ArraySlice<UInt8>) {
        let start = header.startIndex
        func field(_ offset: Int, _ count: Int) -> ArraySlice<UInt8> {
            header[(start + offset)..<(start + offset + count)]
        }
        let sum =
            field(0, 148).reduce(0) { $0 + UInt64($1) } + 256
            + field(156, 356).reduce(0) { $0 + UInt64($1) }
        guard Self.number(field(148, 8)) == sum else { return nil }
        // Old archives write NUL for a file; 7 is a contiguous file.
        let letter = header[start + 156]
        guard let kind = Kind(rawValue: letter == 0 || letter == 0x37 ? 0x30 : letter),
            let mode = Self.number(field(100, 8)), let uid = Self.number(field(108, 8)),
            let gid = Self.number(field(116, 8)), let size = Self.number(field(124, 12)),
            let modified = Self.number(field(136, 12))
        else { return nil }
        self.init(kind: kind, path: Array(field(0, 100).prefix { $0 != 0 }))
        let isPOSIX = Array(field(257, 6)) == Array("ustar\0".utf8)
        let prefix = Array(field(345, 155).prefix { $0 != 0 })
        if isPOSIX, !prefix.isEmpty { path = prefix + [0x2F] + path }
        link = Array(field(157, 100).prefix { $0 != 0 })
        self.mode = UInt32(truncatingIfNeeded: mode) & 0o7777
        self.uid = UInt32(clamping: uid)
        self.gid = UInt32(clamping: gid)
        self.size = size
        self.modified = Int64(clamping: modified)
        major = UInt32(clamping: Self.number(field(329, 8)) ?? 0)
        minor = UInt32(clamping: Self.number(field(337, 8)) ?? 0)
    }

    init(kind: Kind, path: [UInt8]) {
        self.kind = kind
        self.path = path
    }

    /// An octal field, or GNU's base 256; `nil` when it is neither.
    private static func number(_ field: ArraySlice<UInt8>) -> UInt64? {
        if let first = field.first, first & 0x80 != 0 {
            guard first == 0x80 else { return nil }
            return field.dropFirst().suffix(8).reduce(0) { $0 << 8 | UInt64($1) }
        }
        var value: UInt64 = 0
        for byte in field.drop(while: { $0 == 32 }) {
            if byte == 0 || byte == 32 { break }
            guard byte >= 48, byte < 56, value < 1 << 60 else { return nil }
            value = value << 3 | UInt64(byte - 48)
        }
        return value
    }

    /// Applies the records of a pax header; `false` when they are malformed.
    mutating func apply(pax records: [UInt8]) -> Bool {
        var rest = records[...]
        while !rest.isEmpty {
            guard let space = rest.firstIndex(of: 32),
                let length = Int(String(decoding: rest[..<space], as: UTF8.self)),
                length > space - rest.startIndex + 1, length <= rest.count,
                rest[rest.startIndex + length - 1] == 10
            else { return false }
            let record = rest[(space + 1)..<(rest.startIndex + length - 1)]
            guard let equals = record.firstIndex(of: 61) else { return false }
            let key = String(decoding: record[..<equals], as: UTF8.self)
            guard apply(key, Array(record[(equals + 1)...])) else { return false }
            rest = rest.dropFirst(length)
        }
        return true
    }

    private mutating func apply(_ key: String, _ value: [UInt8]) -> Bool {
        let text = String(decoding: value, as: UTF8.self)
        let whole = text.split(separator: ".", omittingEmptySubsequences: false).first.map(
            String.init
        )
        switch key {
        case "path": path = value
        case "linkpath": link = value
        case "size":
            guard let number = UInt64(text) else { return false }
            size = number
        case "uid":
            guard let number = UInt32(text) else { return false }
            uid = number
        case "gid":
            guard let number = UInt32(text) else { return false }
            gid = number
        case "mtime":
            guard let whole, let number = Int64(whole) else { return false }
            modified = number
        default: break
        }
        return true
    }
}
