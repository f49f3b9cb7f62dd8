/// Appends fields to a byte array: little-endian numbers, length-prefixed text.
package struct ByteWriter: Sendable {
    /// What was written.
    package private(set) var bytes: [UInt8] = []

    package init() {}

    /// Appends `value`, least significant byte first.
    package mutating func number<Value: FixedWidthInteger>(_ value: Value) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    /// Appends one byte, 0 or 1.
    package mutating func flag(_ value: Bool) { bytes.append(value ? 1 : 0) }

    /// Appends `raw` as it is. The reader must know its length.
    package mutating func raw(_ raw: some Collection<UInt8>) { bytes.append(contentsOf: raw) }

    /// Appends the length as 16 bits and the UTF-8, cut to the last whole character in `limit`.
    package mutating func text(_ text: String, limit: Int) {
        var utf8 = Array(text.utf8.prefix(limit))
        if utf8.count < text.utf8.count {
            while let last = utf8.last, last & 0xC0 == 0x80 { utf8.removeLast() }
            if let last = utf8.last, last >= 0xC0 { utf8.removeLast() }
        }
        number(UInt16(clamping: utf8.count))
        raw(utf8)
    }

    /// Appends the count as 16 bits and each element through `write`.
    package mutating func list<Element>(
        _ elements: [Element],
        _ write: (inout ByteWriter, Element) -> Void
    ) {
        number(UInt16(clamping: elements.count))
        for element in elements.prefix(Int(UInt16.max)) { write(&self, element) }
    }
}

/// Reads fields from outside bytes, each within its bound.
package struct ByteReader: Sendable {
    private var bytes: ArraySlice<UInt8>

    /// Reads from the beginning of `bytes`.
    package init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }

    /// How many bytes are left.
    package var remaining: Int { bytes.count }

    /// Takes a little-endian number.
    package mutating func number<Value: FixedWidthInteger>(
        _ type: Value.Type = Value.self
    ) throws(WireError) -> Value {
        let size = Value.bitWidth / 8
        guard bytes.count >= size else { throw .truncated }
        var value: Value = 0
        for offset in 0..<size {
            value |= Value(truncatingIfNeeded: bytes[bytes.startIndex + offset]) << (8 * offset)
        }
        bytes = bytes.dropFirst(size)
        return value
    }

    /// Takes one byte that must be 0 or 1.
    package mutating func flag() throws(WireError) -> Bool {
        let byte = try number(UInt8.self)
        guard byte < 2 else { throw .unknownTag(byte) }
        return byte == 1
    }

    /// Takes `count` bytes.
    package mutating func raw(_ count: Int) throws(WireError) -> [UInt8] {
        guard count >= 0, bytes.count >= count else { throw .truncated }
        let taken = Array(bytes.prefix(count))
        bytes = bytes.dropFirst(count)
        return taken
    }

    /// Takes all that is left.
    package mutating func rest() -> [UInt8] {
        let taken = Array(bytes)
        bytes = []
        return taken
    }

    /// Takes a text of at most `limit` bytes: UTF-8 without a zero byte.
    package mutating func text(limit: Int) throws(WireError) -> String {
        let count = Int(try number(UInt16.self))
        guard count <= limit else { throw .oversizedField(count) }
        let utf8 = try raw(count)
        guard !utf8.contains(0), let text = String(validating: utf8, as: UTF8.self) else {
            throw .invalidText
        }
        return text
    }

    /// Takes a list of at most `limit` elements.
    package mutating func list<Element>(
        limit: Int,
        _ read: (inout ByteReader) throws(WireError) -> Element
    ) throws(WireError) -> [Element] {
        let count = Int(try number(UInt16.self))
        guard count <= limit else { throw .oversizedField(count) }
        // Every element takes a byte or more, so a lying count cannot reserve memory.
        guard count <= bytes.count else { throw .truncated }
        var elements: [Element] = []
        elements.reserveCapacity(count)
        for _ in 0..<count { elements.append(try read(&self)) }
        return elements
    }

    /// Refuses bytes after the last field.
    package func finish() throws(WireError) {
        guard bytes.isEmpty else { throw .trailingBytes(bytes.count) }
    }
}
