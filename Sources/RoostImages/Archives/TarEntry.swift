package import RoostModel

/// One member of a tar archive. The content, if any, is read from the `TarReader`.
package struct TarEntry: Sendable {
    /// The kinds of member.
    package enum Kind: Hashable, Sendable {
        /// A regular file with its size in bytes.
        case file(size: UInt64)
        /// Another name of an earlier member.
        case hardLink(ArchivePath)
        /// A directory.
        case directory
        /// A symbolic link with its target's bytes.
        case symbolicLink([UInt8])
        /// A character device.
        case characterDevice(major: UInt32, minor: UInt32)
        /// A block device.
        case blockDevice(major: UInt32, minor: UInt32)
        /// A named pipe.
        case fifo
    }

    /// Where it goes.
    package let path: ArchivePath
    /// What it is.
    package let kind: Kind
    /// Owners, mode, time, extended attributes.
    package let metadata: FileMetadata
}

/// How much of an archive is believed.
package struct TarLimits: Sendable {
    /// The most members.
    package var entries: Int
    /// The most bytes of one pax header or GNU long name.
    package var extendedHeaderBytes: Int
    /// The most content bytes of all members together.
    package var content: ByteCount

    /// Makes limits; by default a million members, 1 MiB of header each, 256 GiB of content.
    package init(
        entries: Int = 1_000_000,
        extendedHeaderBytes: Int = 1 << 20,
        content: ByteCount = .gibibytes(256)
    ) {
        self.entries = entries
        self.extendedHeaderBytes = extendedHeaderBytes
        self.content = content
    }
}

/// The 512 bytes before every member (POSIX.1-2001 ustar, and what GNU tar makes of it).
struct TarHeader {
    static let size = 512

    let bytes: [UInt8]

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

    var type: UInt8 { bytes[156] }

    private var isPOSIX: Bool { bytes[257..<263].elementsEqual([0x75, 0x73, 0x74, 0x61, 0x72, 0]) }

    /// The path with its prefix. GNU headers keep other things where POSIX has the prefix.
    var name: [UInt8] {
        let name = text(0, 100)
        let prefix = isPOSIX ? text(345, 155) : []
        return prefix.isEmpty ? name : prefix + [0x2F] + name
    }

    var linkName: [UInt8] { text(157, 100) }

    /// The bytes of a text field up to its first NUL.
    func text(_ offset: Int, _ length: Int) -> [UInt8] {
        Array(bytes[offset..<offset + length].prefix { $0 != 0 })
    }

    /// A number field: octal digits, or GNU's base 256; nil if it is neither.
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
