/// An amount of memory or storage, in bytes. Never a bare integer, never MiB by convention.
package struct ByteCount: Hashable, Comparable, Sendable, Codable {
    /// The amount in bytes. `0` is legal: it means "none", not "unset".
    package let bytes: UInt64

    /// Makes an amount of `bytes` bytes.
    package init(bytes: UInt64) { self.bytes = bytes }

    /// Returns `count` mebibytes (2^20 bytes each).
    package static func mebibytes(_ count: UInt64) -> ByteCount { ByteCount(bytes: count << 20) }
    /// Returns `count` gibibytes (2^30 bytes each).
    package static func gibibytes(_ count: UInt64) -> ByteCount { ByteCount(bytes: count << 30) }

    /// The whole mebibytes in it, rounded down.
    package var mebibytes: UInt64 { bytes >> 20 }

    package static func < (left: ByteCount, right: ByteCount) -> Bool { left.bytes < right.bytes }
}

/// A moment of the wall clock, in milliseconds since 1970 (UTC). For people and records;
/// nothing decides by comparing two machines' timestamps.
package struct Timestamp: Hashable, Comparable, Sendable, Codable {
    package let milliseconds: Int64

    package init(milliseconds: Int64) { self.milliseconds = milliseconds }

    package static func < (left: Timestamp, right: Timestamp) -> Bool {
        left.milliseconds < right.milliseconds
    }

    /// The moment `seconds` later.
    package func adding(seconds: Int64) -> Timestamp {
        Timestamp(milliseconds: milliseconds + seconds * 1000)
    }
}
