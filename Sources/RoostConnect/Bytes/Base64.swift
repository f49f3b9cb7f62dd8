/// Base64 as RFC 4648 has it, in the standard alphabet.
enum Base64 {
    private static let alphabet = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8
    )

    /// `bytes` as text.
    static func encode(_ bytes: some Collection<UInt8>, padded: Bool) -> String {
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count + 2) / 3 * 4)
        var accumulator: UInt32 = 0
        var count = 0
        for byte in bytes {
            accumulator = accumulator << 8 | UInt32(byte)
            count += 1
            if count == 3 {
                for shift in [18, 12, 6, 0] as [UInt32] {
                    text.append(alphabet[Int(accumulator >> shift & 63)])
                }
                accumulator = 0
                count = 0
            }
        }
        if count > 0 {
            accumulator <<= UInt32(8 * (3 - count))
            for shift in [18, 12, 6, 0].prefix(count + 1) as ArraySlice<UInt32> {
                text.append(alphabet[Int(accumulator >> shift & 63)])
            }
            if padded { text += [UInt8](repeating: 61, count: 3 - count) }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The bytes that `text` says, padded or not; `nil` for anything else.
    static func decode(_ text: some StringProtocol) -> [UInt8]? {
        var bytes: [UInt8] = []
        var accumulator: UInt32 = 0
        var bits = 0
        var padding = 0
        for character in text.utf8 {
            if character == 61 {
                padding += 1
                continue
            }
            guard padding == 0, let value = value(of: character) else { return nil }
            accumulator = accumulator << 6 | value
            bits += 6
            if bits >= 8 {
                bits -= 8
                bytes.append(UInt8(truncatingIfNeeded: accumulator >> UInt32(bits)))
            }
        }
        // Six bits left over are a lone character, which says nothing.
        return bits == 6 || padding > 2 ? nil : bytes
    }

    private static func value(of character: UInt8) -> UInt32? {
        switch character {
        case 65...90: UInt32(character - 65)
        case 97...122: UInt32(character - 71)
        case 48...57: UInt32(character + 4)
        // The URL alphabet too: some clients use it for `-bin` headers.
        case 43, 45: 62
        case 47, 95: 63
        default: nil
        }
    }
}
