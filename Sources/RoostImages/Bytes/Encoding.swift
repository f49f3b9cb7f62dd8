/// Fixed-width integers in byte arrays, as the on-disk formats want them.
extension [UInt8] {
    /// Puts `value` at `offset`, least significant byte first. The bytes must exist.
    mutating func put<Value: FixedWidthInteger>(_ value: Value, at offset: Int) {
        for index in 0..<Value.bitWidth / 8 {
            self[offset + index] = UInt8(truncatingIfNeeded: value >> Value(index * 8))
        }
    }

    /// Puts `value` at `offset`, most significant byte first. The bytes must exist.
    mutating func putBig<Value: FixedWidthInteger>(_ value: Value, at offset: Int) {
        put(value.byteSwapped, at: offset)
    }

    /// Puts `bytes` at `offset`. The bytes must exist.
    mutating func put(_ bytes: some Collection<UInt8>, at offset: Int) {
        replaceSubrange(offset..<offset + bytes.count, with: bytes)
    }

    /// Appends `value`, least significant byte first.
    mutating func append<Value: FixedWidthInteger>(little value: Value) {
        for index in 0..<Value.bitWidth / 8 {
            append(UInt8(truncatingIfNeeded: value >> Value(index * 8)))
        }
    }

    /// Reads the integer at `offset`, least significant byte first; nil outside the array.
    func little<Value: FixedWidthInteger>(_ type: Value.Type, at offset: Int) -> Value? {
        let width = Value.bitWidth / 8
        guard offset >= 0, offset <= count - width else { return nil }
        var value: Value = 0
        for index in (0..<width).reversed() {
            value = (value << 8) | Value(truncatingIfNeeded: self[offset + index])
        }
        return value
    }

    /// Reads the integer at `offset`, most significant byte first; nil outside the array.
    func big<Value: FixedWidthInteger>(_ type: Value.Type, at offset: Int) -> Value? {
        little(type, at: offset)?.byteSwapped
    }
}

/// `bytes` as lowercase hexadecimal digits.
func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    var text = ""
    for byte in bytes {
        text += byte < 16 ? "0" : ""
        text += String(byte, radix: 16)
    }
    return text
}
