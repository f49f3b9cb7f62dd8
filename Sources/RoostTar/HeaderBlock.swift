/// The 512 bytes before every member (POSIX.1-2001 ustar, and what GNU tar makes of it).
struct HeaderBlock {
    static let size = 512

    private let bytes: [UInt8]

    /// Wraps `bytes`, of which there must be 512.
    init(_ bytes: [UInt8]) {
        precondition(bytes.count == Self.size, "a header has 512 bytes")
        self.bytes = bytes
    }

    /// Whether these are the zeros that end an archive.
    var isEnd: Bool { bytes.allSatisfy { $0 == 0 } }

    /// Whether the sum is right. Some old tars added signed bytes, so both sums are good.
    var hasRightChecksum: Bool {
        guard let wanted = number(148, 8) else { return false }
        var unsigned: Int64 = 0
        var signed: Int64 = 0
        for (index, byte) in bytes.enumerated() {
            let counted = (148..<156).contains(index) ? 0x20 : byte
            unsigned += Int64(counted)
            signed += Int64(Int8(bitPattern: counted))
        }
        return wanted == unsigned || wanted == signed
    }

    /// The letter of the kind.
    var letter: UInt8 { bytes[156] }

    private var isPOSIX: Bool { bytes[257..<263].elementsEqual("ustar\0".utf8) }

    /// The path with its prefix. GNU headers keep other things where POSIX has the prefix.
    var path: [UInt8] {
        let name = text(0, 100)
        let prefix = isPOSIX ? text(345, 155) : []
        return prefix.isEmpty ? name : prefix + [UInt8(ascii: "/")] + name
    }

    /// What a link leads to.
    var link: [UInt8] { text(157, 100) }

    /// The bytes of a text field up to its first NUL.
    private func text(_ offset: Int, _ length: Int) -> [UInt8] {
        Array(bytes[offset..<offset + length].prefix { $0 != 0 })
    }

    /// A number field: octal digits, or GNU's base 256; `nil` if it is neither.
    func number(_ offset: Int, _ length: Int) -> Int64? {
        let field = bytes[offset..<offset + length]
        if let first = field.first, first & 0x80 != 0 { return Self.binary(field) }
        let digits = field.drop { $0 == 0x20 }.prefix { $0 != 0x20 && $0 != 0 }
        var value: Int64 = 0
        for digit in digits {
            guard (0x30...0x37).contains(digit), value < 1 << 59 else { return nil }
            value = value << 3 | Int64(digit - 0x30)
        }
        return value
    }

    private static func binary(_ field: ArraySlice<UInt8>) -> Int64? {
        guard let first = field.first else { return nil }
        // The top bit is the mark, the one below it the sign.
        var value: Int64 = first & 0x40 == 0 ? Int64(first & 0x3F) : Int64(first & 0x7F) - 0x80
        for byte in field.dropFirst() {
            let (product, overflow) = value.multipliedReportingOverflow(by: 256)
            guard !overflow else { return nil }
            value = product | Int64(byte)
        }
        return value
    }
}
