import Foundation

/// A value that goes to the server beside the statement's text, in PostgreSQL's binary form.
///
/// No value ever becomes part of a statement's text.
struct PostgresParameter: Sendable {
    /// The type's number in the server's catalogue (`pg_type.oid`; these never change).
    let type: UInt32
    let bytes: [UInt8]

    private init(type: UInt32, bytes: [UInt8]) {
        self.type = type
        self.bytes = bytes
    }

    static func text(_ value: String) -> PostgresParameter {
        PostgresParameter(type: 25, bytes: Array(value.utf8))
    }

    static func int(_ value: Int64) -> PostgresParameter {
        PostgresParameter(type: 20, bytes: bigEndian(value))
    }

    /// 16 bytes.
    static func uuid(_ value: [UInt8]) -> PostgresParameter {
        PostgresParameter(type: 2_950, bytes: value)
    }

    static func bools(_ values: [Bool]) -> PostgresParameter {
        array(1_000, of: 16, values) { [$0 ? 1 : 0] }
    }

    static func ints(_ values: [Int32]) -> PostgresParameter {
        array(1_007, of: 23, values) { bigEndian($0) }
    }

    /// `nil` is NULL.
    static func longs(_ values: [Int64?]) -> PostgresParameter {
        array(1_016, of: 20, values) { $0.map { bigEndian($0) } }
    }

    static func texts(_ values: [String]) -> PostgresParameter {
        array(1_009, of: 25, values) { Array($0.utf8) }
    }

    /// UTF-8; `nil` is NULL.
    static func texts(_ values: [Data?]) -> PostgresParameter {
        array(1_009, of: 25, values) { $0.map { Array($0) } }
    }

    /// The form of `array_send`: dimensions, whether there are NULLs, the elements' type; length and
    /// lower bound of the one dimension; then each element behind its length, −1 for NULL.
    private static func array<T>(
        _ type: UInt32,
        of element: UInt32,
        _ values: [T],
        _ encode: (T) -> [UInt8]?
    ) -> PostgresParameter {
        var bytes: [UInt8] = []
        var hasNull = false
        for value in values {
            if let encoded = encode(value) {
                bytes += bigEndian(Int32(encoded.count))
                bytes += encoded
            } else {
                hasNull = true
                bytes += bigEndian(Int32(-1))
            }
        }
        var head = bigEndian(Int32(values.isEmpty ? 0 : 1))
        head += bigEndian(Int32(hasNull ? 1 : 0))
        head += bigEndian(element)
        if !values.isEmpty {
            head += bigEndian(Int32(values.count))
            head += bigEndian(Int32(1))
        }
        return PostgresParameter(type: type, bytes: head + bytes)
    }

    private static func bigEndian<I: FixedWidthInteger>(_ value: I) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }
}

/// A statement and what belongs to its `$1`, `$2` ….
struct PostgresStatement: Sendable {
    let text: String
    let parameters: [PostgresParameter]

    init(_ text: String, _ parameters: PostgresParameter...) {
        self.text = text
        self.parameters = parameters
    }

    init(_ text: String, of parameters: [PostgresParameter]) {
        self.text = text
        self.parameters = parameters
    }
}
