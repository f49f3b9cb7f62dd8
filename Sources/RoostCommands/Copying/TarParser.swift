internal import RoostModel

/// Takes a tar stream apart, in pieces of any size. Knows pax records and GNU's long names. Its input
/// is not trusted: lengths are bounded, and a member without an end is an error.
struct TarParser {
    /// What comes out, in order.
    enum Event: Equatable {
        /// A member begins; for a file, `size` bytes of ``content(_:)`` follow.
        case member(TarHeader)
        /// A member of a kind that is not copied; it is passed over.
        case skipped(String)
        case content(ArraySlice<UInt8>)
        case memberEnd
    }

    private enum Step {
        case header
        case content(left: UInt64, padding: Int)
        case ignored(left: UInt64)
        case text(kind: UInt8, size: Int)
        case ended
    }

    /// The longest name or set of pax records.
    private static let textLimit: UInt64 = 64 << 10

    private var step = Step.header
    private var buffer: ArraySlice<UInt8> = []
    private var path: String?
    private var link: String?
    private var size: UInt64?

    /// Whether the archive's end has come.
    var isEnded: Bool { if case .ended = step { true } else { false } }

    /// Takes `bytes`, and gives what they complete to `body`.
    mutating func read(
        _ bytes: [UInt8],
        _ body: (Event) throws(Fault) -> Void
    ) throws(Fault) {
        buffer += bytes
        while try advance(body) {}
    }

    private mutating func advance(_ body: (Event) throws(Fault) -> Void) throws(Fault) -> Bool {
        switch step {
        case .ended:
            buffer = []
            return false
        case .header:
            guard let block = take(TarHeader.block) else { return false }
            if block.allSatisfy({ $0 == 0 }) {
                step = .ended
            } else {
                try begin(Array(block), body)
            }
        case .content(let left, let padding):
            if left == 0 {
                guard take(padding) != nil else { return false }
                step = .header
                try body(.memberEnd)
                return true
            }
            guard !buffer.isEmpty else { return false }
            let part = buffer.prefix(Int(min(left, UInt64(buffer.count))))
            buffer = buffer.dropFirst(part.count)
            step = .content(left: left - UInt64(part.count), padding: padding)
            try body(.content(part))
        case .ignored(let left):
            if left == 0 {
                step = .header
                return true
            }
            guard !buffer.isEmpty else { return false }
            let count = min(left, UInt64(buffer.count))
            buffer = buffer.dropFirst(Int(count))
            step = .ignored(left: left - count)
        case .text(let kind, let size):
            let whole = size + TarHeader.padding(after: size).count
            guard let text = take(whole) else { return false }
            step = .header
            try note(kind, text.prefix(size))
        }
        return true
    }

    private mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard buffer.count >= count else { return nil }
        defer { buffer = buffer.dropFirst(count) }
        return buffer.prefix(count)
    }

    private mutating func begin(
        _ block: [UInt8],
        _ body: (Event) throws(Fault) -> Void
    ) throws(Fault) {
        let sum = block.indices.reduce(0) { $0 + Int((148..<156).contains($1) ? 32 : block[$1]) }
        guard let said = Self.number(block[148..<156]), UInt64(sum) == said,
            let written = Self.number(block[124..<136]), let mode = Self.number(block[100..<108]),
            written < 1 << 50
        else { throw Fault(.archiveInvalid, "the stream is not a tar archive") }
        let kind = block[156]
        if [0x78, 0x67, 0x4C, 0x4B].contains(kind) {
            guard written <= Self.textLimit else {
                throw Fault(.archiveInvalid, "a name in the archive has \(written) bytes")
            }
            step = .text(kind: kind, size: Int(written))
            return
        }
        let prefix = Self.text(block[345..<500])
        let isUstar = block[257..<262].elementsEqual("ustar".utf8)
        let short = Self.text(block[0..<100])
        let name = path ?? (isUstar && !prefix.isEmpty ? "\(prefix)/\(short)" : short)
        let size = self.size ?? written
        let target = link ?? Self.text(block[157..<257])
        (path, link, self.size) = (nil, nil, nil)
        guard let known = kind == 0 ? .file : TarHeader.Kind(rawValue: kind) else {
            step = .ignored(left: (size + 511) / 512 * 512)
            try body(.skipped(name))
            return
        }
        let header = TarHeader(
            path: name,
            kind: known,
            mode: UInt32(mode & 0o7777),
            size: known == .file ? size : 0,
            time: Int64(clamping: Self.number(block[136..<148]) ?? 0),
            link: target
        )
        let padding = TarHeader.padding(after: Int(header.size % 512)).count
        step = .content(left: header.size, padding: padding)
        try body(.member(header))
    }

    private mutating func note(_ kind: UInt8, _ bytes: ArraySlice<UInt8>) throws(Fault) {
        switch kind {
        case 0x4C: path = Self.text(bytes)
        case 0x4B: link = Self.text(bytes)
        case 0x78:
            var rest = bytes
            while let space = rest.firstIndex(of: 32) {
                guard let length = Int(String(decoding: rest[..<space], as: UTF8.self)),
                    length > space - rest.startIndex + 1, length <= rest.count
                else { throw Fault(.archiveInvalid, "a pax record in the archive is damaged") }
                let record = rest[(space + 1)..<(rest.startIndex + length - 1)]
                rest = rest.dropFirst(length)
                guard let equals = record.firstIndex(of: 61) else { continue }
                let value = String(decoding: record[(equals + 1)...], as: UTF8.self)
                switch String(decoding: record[..<equals], as: UTF8.self) {
                case "path": path = value
                case "linkpath": link = value
                case "size": size = UInt64(value).map { min($0, 1 << 50) }
                default: continue
                }
            }
        default: break
        }
    }

    /// A number in octal, or in base 256 as GNU writes large ones.
    private static func number(_ field: ArraySlice<UInt8>) -> UInt64? {
        if let first = field.first, first & 0x80 != 0 {
            var value: UInt64 = 0
            for byte in field.suffix(8) { value = value << 8 | UInt64(byte) }
            return value
        }
        let digits = field.filter { $0 != 0 && $0 != 32 }
        return digits.isEmpty ? 0 : UInt64(String(decoding: digits, as: UTF8.self), radix: 8)
    }

    private static func text(_ field: ArraySlice<UInt8>) -> String {
        String(decoding: field.prefix { $0 != 0 }, as: UTF8.self)
    }
}
