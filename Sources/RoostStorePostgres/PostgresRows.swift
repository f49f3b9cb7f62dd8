import CLibPQ
import Foundation

/// What one statement answered, in the binary form. Belongs to one thread.
final class PostgresRows {
    private let result: OpaquePointer

    /// Owns `result`.
    init(_ result: OpaquePointer) { self.result = result }

    deinit { PQclear(result) }

    var count: Int { Int(PQntuples(result)) }

    /// The statement's tag, such as `COMMIT` or `INSERT 0 1`.
    var tag: String { PQcmdStatus(result).map { String(cString: $0) } ?? "" }

    /// How many rows an `INSERT`, `UPDATE` or `DELETE` touched.
    var touched: Int { PQcmdTuples(result).flatMap { Int(String(cString: $0)) } ?? 0 }

    func isNull(_ row: Int, _ column: Int32) -> Bool {
        PQgetisnull(result, Int32(row), column) != 0
    }

    /// An `int4` or `int8`; 0 for NULL.
    func int(_ row: Int, _ column: Int32) -> Int64 {
        let bytes = buffer(row, column)
        guard let first = bytes.first else { return 0 }
        var value: Int64 = first & 0x80 == 0 ? 0 : -1
        for byte in bytes { value = value << 8 | Int64(byte) }
        return value
    }

    /// A `boolean`; `false` for NULL.
    func bool(_ row: Int, _ column: Int32) -> Bool { buffer(row, column).first == 1 }

    /// A text's bytes; empty for NULL.
    func data(_ row: Int, _ column: Int32) -> Data { Data(buffer(row, column)) }

    /// A text; empty for NULL.
    func text(_ row: Int, _ column: Int32) -> String {
        String(decoding: buffer(row, column), as: UTF8.self)
    }

    private func buffer(_ row: Int, _ column: Int32) -> UnsafeRawBufferPointer {
        guard row >= 0, row < count, column >= 0, column < PQnfields(result),
            let value = PQgetvalue(result, Int32(row), column)
        else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        let length = Int(PQgetlength(result, Int32(row), column))
        return UnsafeRawBufferPointer(start: value, count: length)
    }
}
