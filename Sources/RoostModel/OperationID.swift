/// Names one action: idempotency key, audit id and the root of its trace, all in one.
///
/// 128 bits: 48 of milliseconds since 1970 and 80 of chance, so that ids sort by time.
/// Written `op-` and 26 characters of Crockford's base32 in lowercase; people see the last six.
package struct OperationID: Hashable, Comparable, Sendable {
    // Two halves, for the reason that stands in ``Identifier``.
    private let high: UInt64
    private let low: UInt64

    /// The id's bits, most significant first.
    package var bits: UInt128 { UInt128(high) << 64 | UInt128(low) }

    /// Wraps bits that were stored.
    package init(bits: UInt128) {
        high = UInt64(truncatingIfNeeded: bits >> 64)
        low = UInt64(truncatingIfNeeded: bits)
    }

    /// Makes the id of an action that begins at `time`, with chance from `generator`.
    package init(at time: Timestamp, using generator: inout some RandomNumberGenerator) {
        let chance = UInt128.random(in: 0..<(1 << 80), using: &generator)
        let milliseconds = UInt128(UInt64(clamping: time.milliseconds) & 0xFFFF_FFFF_FFFF)
        self.init(bits: milliseconds << 80 | chance)
    }

    /// Reads `op-` and 26 base32 characters, in either case; `nil` for anything else.
    package init?(_ text: some StringProtocol) {
        guard text.hasPrefix("op-"), text.utf8.count == 29 else { return nil }
        var bits: UInt128 = 0
        for (index, byte) in text.utf8.dropFirst(3).enumerated() {
            guard let digit = Self.value(of: byte), index > 0 || digit < 8 else { return nil }
            bits = bits << 5 | UInt128(digit)
        }
        self.init(bits: bits)
    }

    /// When the action began, by the clock of whoever made the id.
    package var time: Timestamp { Timestamp(milliseconds: Int64(bits >> 80)) }

    /// The id of the part of this action that concerns `target`: the same for the same pair.
    ///
    /// Keeps the time and mixes the chance with `target` (FNV-1a, 128 bits).
    package func child(_ target: String) -> OperationID {
        var hash: UInt128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d
        for byte in description.utf8 { hash = (hash ^ UInt128(byte)) &* Self.prime }
        for byte in target.utf8 { hash = (hash ^ UInt128(byte)) &* Self.prime }
        return OperationID(bits: ((bits >> 80) << 80) | (hash & ((1 << 80) - 1)))
    }

    package static func < (left: Self, right: Self) -> Bool { left.bits < right.bits }

    private static let prime: UInt128 = 1 << 88 | 0x13b
    private static let alphabet = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)

    private static func value(of byte: UInt8) -> UInt8? {
        let lower = byte >= 65 && byte <= 90 ? byte + 32 : byte
        return alphabet.firstIndex(of: lower).map { UInt8($0) }
    }
}

extension OperationID: CustomStringConvertible {
    /// `op-` and 26 characters.
    package var description: String {
        var text: [UInt8] = []
        for shift in stride(from: 125, through: 0, by: -5) {
            text.append(Self.alphabet[Int(bits >> UInt128(shift) & 31)])
        }
        return "op-" + String(decoding: text, as: UTF8.self)
    }

    /// `op-` and the last six characters, as error texts show it.
    package var short: String { "op-" + description.suffix(6) }
}

extension OperationID: Codable {
    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let value = OperationID(text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "not an op id: \(text)")
            )
        }
        self = value
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
