internal import RoostModel

/// QEMU's migration stream, as far as we must know it: where memory ends and devices begin.
///
/// ```text
///  QEVM 3 │ configuration │ START ram │ PART ram … │ END ram │ FULL device … │ EOF │ description
///         └──────────────────────── memory ────────────────┘ └──────── devices ────────────────┘
/// ```
/// A machine on private pages is saved as the memory part that it was started with (its small blocks,
/// such as the BIOS, which only a first save writes), one more PART with the pages changed since, and
/// the devices as they are now. Source: QEMU 7.2, migration/savevm.c and migration/ram.c.
struct MigrationStream {
    /// From the magic to the end of QEMU's own memory sections.
    let memory: ArraySlice<UInt8>
    /// The number that the memory section has in this stream.
    let section: UInt32

    private static let header: [UInt8] = [0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3]
    private enum Kind {
        static let start: UInt8 = 1
        static let part: UInt8 = 2
        static let end: UInt8 = 3
        static let subsection: UInt8 = 5
        static let configuration: UInt8 = 7
        static let footer: UInt8 = 0x7e
    }
    private enum Flag {
        static let zero: UInt64 = 0x02
        static let sizes: UInt64 = 0x04
        static let page: UInt64 = 0x08
        static let end: UInt64 = 0x10
        static let sameBlock: UInt64 = 0x20
    }

    /// Reads `bytes`. Throws ``Reason/unsupported`` when another QEMU wrote it in another way.
    init(_ bytes: [UInt8]) throws(Fault) {
        var reader = Reader(bytes)
        guard try reader.take(8).elementsEqual(Self.header) else { throw Self.strange("magic") }
        try Self.skipConfiguration(&reader)
        var section: UInt32?
        while true {
            let kind = try reader.byte()
            let number = UInt32(truncatingIfNeeded: try reader.number(4))
            switch kind {
            case Kind.start:
                guard section == nil, try reader.text() == "ram" else {
                    throw Self.strange("section")
                }
                _ = try reader.take(8)
                section = number
            case Kind.part, Kind.end:
                guard section == number else { throw Self.strange("section") }
            default: throw Self.strange("section of kind \(kind)")
            }
            try Self.skipMemory(&reader)
            guard try reader.byte() == Kind.footer, try reader.number(4) == UInt64(number) else {
                throw Self.strange("footer")
            }
            if kind == Kind.end { break }
        }
        guard let section else { throw Self.strange("end") }
        self.section = section
        memory = bytes[..<reader.position]
    }

    /// What comes before the pages of a section of our own.
    var partHeader: [UInt8] { [Kind.part] + bigEndian(section, 4) }

    /// What comes before one page of the block `mem`; the first page of a section names the block.
    static func pageHeader(at offset: UInt64, isFirst: Bool) -> [UInt8] {
        if isFirst { return bigEndian(offset | Flag.page, 8) + [3] + Array("mem".utf8) }
        return bigEndian(offset | Flag.page | Flag.sameBlock, 8)
    }

    /// What ends a section of our own.
    var partFooter: [UInt8] { bigEndian(Flag.end, 8) + [Kind.footer] + bigEndian(section, 4) }

    /// The devices in what `xen-save-devices-state` wrote, which has no memory and no description;
    /// QEMU wants one, and takes an empty one.
    static func devices(in bytes: [UInt8]) throws(Fault) -> [UInt8] {
        guard bytes.count > 9, bytes[..<8].elementsEqual(header) else { throw strange("magic") }
        let description: [UInt8] = [0x06] + bigEndian(UInt32(2), 4) + Array("{}".utf8)
        return bytes[8...] + description
    }

    private static func skipConfiguration(_ reader: inout Reader) throws(Fault) {
        guard try reader.byte() == Kind.configuration else { throw strange("configuration") }
        _ = try reader.take(Int(clamping: try reader.number(4)))
        while try reader.peek() == Kind.subsection {
            _ = try reader.byte()
            guard try reader.text() == "configuration/capabilities" else {
                throw strange("configuration")
            }
            _ = try reader.take(4)
            // Only those that are on, by name.
            for _ in 0..<min(try reader.number(4), 256) { _ = try reader.text() }
        }
    }

    private static func skipMemory(_ reader: inout Reader) throws(Fault) {
        while true {
            let word = try reader.number(8)
            let flags = word & 0xfff
            switch flags & ~Flag.sameBlock {
            case Flag.end: return
            case Flag.sizes: try skipSizes(&reader, total: word & ~0xfff)
            case Flag.zero, Flag.page:
                if flags & Flag.sameBlock == 0 { _ = try reader.text() }
                _ = try reader.take(flags & Flag.page != 0 ? 4096 : 1)
            default: throw strange("memory record \(flags)")
            }
        }
    }

    private static func skipSizes(_ reader: inout Reader, total: UInt64) throws(Fault) {
        var rest = total
        while rest > 0 {
            _ = try reader.text()
            let length = try reader.number(8)
            // With x-ignore-shared each block says its guest address too.
            _ = try reader.number(8)
            guard length > 0, length <= rest else { throw strange("block") }
            rest -= length
        }
    }

    private static func strange(_ what: String) -> Fault {
        Fault(.unsupported, "this QEMU writes its state in another way (\(what))")
    }

    private struct Reader {
        let bytes: [UInt8]
        var position = 0

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        func peek() throws(Fault) -> UInt8 {
            guard position < bytes.count else { throw strange("length") }
            return bytes[position]
        }

        mutating func byte() throws(Fault) -> UInt8 {
            let value = try peek()
            position += 1
            return value
        }

        mutating func take(_ count: Int) throws(Fault) -> ArraySlice<UInt8> {
            guard count >= 0, count <= bytes.count - position else { throw strange("length") }
            defer { position += count }
            return bytes[position..<position + count]
        }

        mutating func number(_ width: Int) throws(Fault) -> UInt64 {
            try take(width).reduce(0) { $0 << 8 | UInt64($1) }
        }

        mutating func text() throws(Fault) -> String {
            String(decoding: try take(Int(try byte())), as: UTF8.self)
        }
    }
}

/// The last `width` bytes of `value`, most significant first.
private func bigEndian(_ value: some FixedWidthInteger, _ width: Int) -> [UInt8] {
    (0..<width).reversed().map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
}
