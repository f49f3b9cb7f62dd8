package import RoostModel

/// The header (metadata) that carries an op id, in requests and answers.
package let opIDKey = "roost-op-id"
/// The header of W3C Trace Context.
let traceParentKey = "traceparent"

/// What is known of the call that is being served: who it is, for logs, audit and idempotency.
package struct Call: Sendable, Equatable {
    /// The call's op id: the caller's, or made at dispatch.
    package var operation: OperationID
    /// The caller's trace, when it sent one.
    package var trace: TraceParent?

    package init(operation: OperationID, trace: TraceParent? = nil) {
        self.operation = operation
        self.trace = trace
    }

    /// 32 hexadecimal digits: the caller's trace, or one derived from the op id.
    package var traceID: String {
        if let trace { return trace.traceID }
        let digits = String(operation.bits, radix: 16)
        return String(repeating: "0", count: 32 - digits.count) + digits
    }

    /// The call that this task serves. Set for every handler behind ``CallInterceptor``.
    @TaskLocal package static var current: Call?
}

/// A `traceparent` of W3C Trace Context, level 1.
package struct TraceParent: Sendable, Equatable, CustomStringConvertible {
    /// 32 hexadecimal digits.
    package let traceID: String
    /// 16 hexadecimal digits: the caller's span.
    package let parentID: String
    /// Whether the caller records its trace.
    package let isSampled: Bool

    /// Reads `version-traceid-parentid-flags`; `nil` for what the standard says to ignore.
    package init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count >= 4, parts[0].utf8.count == 2, parts[0] != "ff",
            parts[0] != "00" || parts.count == 4,
            parts[1].utf8.count == 32, parts[2].utf8.count == 16, parts[3].utf8.count == 2,
            parts[0...3].allSatisfy({ $0.utf8.allSatisfy(isLowerHex) }),
            parts[1].utf8.contains(where: { $0 != 48 }),
            parts[2].utf8.contains(where: { $0 != 48 }),
            let flags = UInt8(parts[3], radix: 16)
        else { return nil }
        traceID = String(parts[1])
        parentID = String(parts[2])
        isSampled = flags & 1 == 1
    }

    package var description: String { "00-\(traceID)-\(parentID)-\(isSampled ? "01" : "00")" }
}

private func isLowerHex(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (97...102).contains(byte)
}
