package import RoostModel
package import SwiftProtobuf

extension Google_Protobuf_Timestamp {
    /// The same moment; JSON writes it as RFC 3339.
    package init(_ time: Timestamp) {
        var (seconds, rest) = time.milliseconds.quotientAndRemainder(dividingBy: 1000)
        // The fraction counts forward also before 1970.
        if rest < 0 {
            seconds -= 1
            rest += 1000
        }
        self.init(seconds: seconds, nanos: Int32(rest) * 1_000_000)
    }
}

extension Timestamp {
    /// The same moment, to the millisecond; clamped to what 64 bits of milliseconds hold.
    package init(_ time: Google_Protobuf_Timestamp) {
        // Nanoseconds from the wire may be up to two seconds and a bit.
        let bound: Int64 = Int64.max / 1000 - 3
        let seconds = min(max(time.seconds, -bound), bound)
        self.init(milliseconds: seconds * 1000 + Int64(time.nanos / 1_000_000))
    }
}

extension Google_Protobuf_Duration {
    /// The same duration, to the nanosecond.
    package init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self.init(seconds: seconds, nanos: Int32(attoseconds / 1_000_000_000))
    }
}
