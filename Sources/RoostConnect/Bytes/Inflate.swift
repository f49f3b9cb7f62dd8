/// Reads gzip (RFC 1952) and DEFLATE (RFC 1951) of requests.
///
/// Requests are small and come from outside: the output is bounded, and every read is checked.
enum Inflate {
    /// Why bytes cannot be inflated.
    enum Problem: Error, Equatable {
        /// They are not gzip, or are cut off or damaged.
        case damaged
        /// The output is over the limit.
        case tooLarge
    }

    /// The content of one gzip member, at most `limit` bytes.
    static func gzip(_ bytes: [UInt8], limit: Int) throws(Problem) -> [UInt8] {
        var reader = BitReader(bytes)
        guard reader.byte() == 0x1F, reader.byte() == 0x8B, reader.byte() == 8,
            let flags = reader.byte(), flags & 0xE0 == 0
        else { throw .damaged }
        reader.skip(6)
        if flags & 4 != 0 {
            guard let low = reader.byte(), let high = reader.byte() else { throw .damaged }
            reader.skip(Int(low) | Int(high) << 8)
        }
        for flag in [8, 16] as [UInt8] where flags & flag != 0 {
            while let byte = reader.byte(), byte != 0 {}
        }
        if flags & 2 != 0 { reader.skip(2) }
        let content = try deflate(&reader, limit: limit)
        var trailer: [UInt32] = []
        for _ in 0..<2 {
            guard let low = reader.bits(16), let high = reader.bits(16) else { throw .damaged }
            trailer.append(UInt32(low) | UInt32(high) << 16)
        }
        guard trailer[0] == crc32(content), trailer[1] == UInt32(truncatingIfNeeded: content.count)
        else { throw .damaged }
        return content
    }

    private static func deflate(
        _ reader: inout BitReader,
        limit: Int
    ) throws(Problem) -> [UInt8] {
        var output: [UInt8] = []
        var isLast = false
        while !isLast {
            guard let final = reader.bits(1), let kind = reader.bits(2) else { throw .damaged }
            isLast = final == 1
            switch kind {
            case 0: try stored(&reader, into: &output, limit: limit)
            case 1: try coded(&reader, .fixed, into: &output, limit: limit)
            case 2: try coded(&reader, Codes(reading: &reader), into: &output, limit: limit)
            default: throw .damaged
            }
        }
        reader.alignToByte()
        return output
    }

    private static func stored(
        _ reader: inout BitReader,
        into output: inout [UInt8],
        limit: Int
    ) throws(Problem) {
        reader.alignToByte()
        guard let length = reader.bits(16), let check = reader.bits(16), length ^ check == 0xFFFF
        else { throw .damaged }
        if output.count + length > limit { throw .tooLarge }
        for _ in 0..<length {
            guard let byte = reader.byte() else { throw .damaged }
            output.append(byte)
        }
    }

    private static func coded(
        _ reader: inout BitReader,
        _ codes: Codes,
        into output: inout [UInt8],
        limit: Int
    ) throws(Problem) {
        while true {
            guard let symbol = codes.literals.next(&reader) else { throw .damaged }
            if symbol == 256 { return }
            if symbol < 256 {
                if output.count >= limit { throw .tooLarge }
                output.append(UInt8(symbol))
                continue
            }
            guard symbol <= 285, let extra = reader.bits(lengthExtra[symbol - 257]),
                let code = codes.distances.next(&reader), code < 30,
                let more = reader.bits(distanceExtra[code])
            else { throw .damaged }
            let length = lengthBase[symbol - 257] + extra
            let distance = distanceBase[code] + more
            guard distance <= output.count else { throw .damaged }
            if output.count + length > limit { throw .tooLarge }
            for _ in 0..<length { output.append(output[output.count - distance]) }
        }
    }

    private static func crc32(_ bytes: [UInt8]) -> UInt32 {
        var value: UInt32 = ~0
        for byte in bytes { value = value >> 8 ^ crcTable[Int((value ^ UInt32(byte)) & 0xFF)] }
        return ~value
    }

    private static let crcTable: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in
            value & 1 == 1 ? 0xEDB8_8320 ^ value >> 1 : value >> 1
        }
    }
    private static let lengthBase = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115,
        131, 163, 195, 227, 258,
    ]
    private static let lengthExtra = [
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
    ]
    private static let distanceBase = [
        1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537,
        2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577,
    ]
    private static let distanceExtra = [
        0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12,
        13, 13,
    ]
}

/// The two Huffman codes of a block.
private struct Codes {
    let literals: HuffmanCode
    let distances: HuffmanCode

    /// The codes of RFC 1951, 3.2.6.
    static let fixed = Codes(
        literals: HuffmanCode(
            lengths: (0..<288).map { $0 < 144 ? 8 : $0 < 256 ? 9 : $0 < 280 ? 7 : 8 }
        ),
        distances: HuffmanCode(lengths: [Int](repeating: 5, count: 30))
    )

    init(literals: HuffmanCode, distances: HuffmanCode) {
        self.literals = literals
        self.distances = distances
    }

    /// Reads the codes of RFC 1951, 3.2.7.
    init(reading reader: inout BitReader) throws(Inflate.Problem) {
        guard let literalCount = reader.bits(5), let distanceCount = reader.bits(5),
            let lengthCount = reader.bits(4)
        else { throw .damaged }
        var order = [Int](repeating: 0, count: 19)
        for index in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
            .prefix(lengthCount + 4)
        {
            guard let length = reader.bits(3) else { throw .damaged }
            order[index] = length
        }
        let code = HuffmanCode(lengths: order)
        let total = literalCount + 257 + distanceCount + 1
        var lengths: [Int] = []
        while lengths.count < total {
            guard let symbol = code.next(&reader) else { throw .damaged }
            switch symbol {
            case 0...15: lengths.append(symbol)
            case 16:
                guard let last = lengths.last, let more = reader.bits(2) else { throw .damaged }
                lengths += [Int](repeating: last, count: 3 + more)
            default:
                guard let more = reader.bits(symbol == 17 ? 3 : 7) else { throw .damaged }
                lengths += [Int](repeating: 0, count: (symbol == 17 ? 3 : 11) + more)
            }
        }
        guard lengths.count == total else { throw .damaged }
        literals = HuffmanCode(lengths: Array(lengths.prefix(literalCount + 257)))
        distances = HuffmanCode(lengths: Array(lengths.dropFirst(literalCount + 257)))
    }
}

/// A canonical Huffman code of at most 15 bits.
private struct HuffmanCode {
    /// How many codes have each length.
    private var counts = [Int](repeating: 0, count: 16)
    /// Symbols in the order of their codes.
    private var symbols: [Int] = []

    init(lengths: [Int]) {
        for length in lengths { counts[length] += 1 }
        counts[0] = 0
        for length in 1...15 {
            symbols += lengths.indices.filter { lengths[$0] == length }
        }
    }

    /// The next symbol; `nil` at the end or where no code fits.
    func next(_ reader: inout BitReader) -> Int? {
        var code = 0
        var first = 0
        var index = 0
        for length in 1...15 {
            guard let bit = reader.bits(1) else { return nil }
            code |= bit
            let count = counts[length]
            if code - count < first {
                let position = index + code - first
                return symbols.indices.contains(position) ? symbols[position] : nil
            }
            index += count
            first = (first + count) << 1
            code <<= 1
        }
        return nil
    }
}

/// Reads bits, least significant first.
private struct BitReader {
    private let bytes: [UInt8]
    private var position = 0
    private var bit = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The next `count` bits, at most 16; `nil` past the end.
    mutating func bits(_ count: Int) -> Int? {
        var value = 0
        for index in 0..<count {
            guard position < bytes.count else { return nil }
            value |= Int(bytes[position] >> UInt8(bit) & 1) << index
            bit += 1
            if bit == 8 {
                bit = 0
                position += 1
            }
        }
        return value
    }

    /// The next byte, when at a byte's edge.
    mutating func byte() -> UInt8? {
        guard position < bytes.count else { return nil }
        defer { position += 1 }
        return bytes[position]
    }

    mutating func skip(_ count: Int) { position += count }

    mutating func alignToByte() {
        if bit > 0 {
            bit = 0
            position += 1
        }
    }
}
