/// One way in that a registry offers with its 401 (`WWW-Authenticate`, RFC 9110 section 11.6.1).
package struct Challenge: Hashable, Sendable {
    /// The scheme in lower case, such as `bearer`.
    package var scheme: String
    /// The parameters by lower-case name; the first of each name counts.
    package var parameters: [String: String]

    /// Makes a challenge.
    package init(_ scheme: String, _ parameters: [String: String] = [:]) {
        self.scheme = scheme
        self.parameters = parameters
    }

    /// The challenges of a response's header fields, in order. What cannot be read ends a field:
    /// the challenges before it count. At most 16 KiB are looked at.
    package static func parse(_ fields: [String]) -> [Challenge] {
        fields.flatMap { field in
            var reader = Reader(bytes: Array(field.utf8.prefix(16 << 10)))
            return reader.challenges()
        }
    }

    private struct Reader {
        let bytes: [UInt8]
        var position = 0

        init(bytes: [UInt8]) { self.bytes = bytes }

        mutating func challenges() -> [Challenge] {
            var found: [Challenge] = []
            while true {
                skip { $0 == 0x20 || $0 == 0x09 || $0 == UInt8(ascii: ",") }
                guard let word = token() else { return found }
                let mark = position
                skipBlanks()
                if let last = found.indices.last, take("=") {
                    // A name: this belongs to the challenge before it.
                    skipBlanks()
                    guard let value = quoted() ?? token() else { return found }
                    if found[last].parameters[word.lowercased()] == nil {
                        found[last].parameters[word.lowercased()] = value
                    }
                    continue
                }
                position = mark
                found.append(Challenge(word.lowercased()))
                skipToken68()
            }
        }

        /// A scheme may be followed by one token68 instead of parameters; it says nothing to us.
        private mutating func skipToken68() {
            let mark = position
            skipBlanks()
            let start = position
            skip { byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                    || "-._~+/".utf8.contains(byte)
            }
            guard position > start, start > mark else {
                position = mark
                return
            }
            skip { $0 == UInt8(ascii: "=") }
            skipBlanks()
            if position < bytes.count, bytes[position] != UInt8(ascii: ",") { position = mark }
        }

        private mutating func token() -> String? {
            let start = position
            skip { byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                    || "!#$%&'*+-.^_`|~".utf8.contains(byte)
            }
            return start == position
                ? nil : String(decoding: bytes[start..<position], as: UTF8.self)
        }

        private mutating func quoted() -> String? {
            let start = position
            guard take("\"") else { return nil }
            var value: [UInt8] = []
            while position < bytes.count {
                var byte = bytes[position]
                position += 1
                if byte == UInt8(ascii: "\"") { return String(decoding: value, as: UTF8.self) }
                if byte == UInt8(ascii: "\\"), position < bytes.count {
                    byte = bytes[position]
                    position += 1
                }
                value.append(byte)
            }
            position = start
            return nil
        }

        private mutating func take(_ character: Unicode.Scalar) -> Bool {
            guard position < bytes.count, bytes[position] == UInt8(ascii: character) else {
                return false
            }
            position += 1
            return true
        }

        private mutating func skipBlanks() { skip { $0 == 0x20 || $0 == 0x09 } }

        private mutating func skip(while holds: (UInt8) -> Bool) {
            while position < bytes.count, holds(bytes[position]) { position += 1 }
        }
    }
}
