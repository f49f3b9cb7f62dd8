internal import Glibc
package import RoostModel

/// The fault for a system call on `path` that failed with `number`: a full disk or quota is
/// ``Reason/diskFull``, everything else ``Reason/ioFailed``. Metadata: `path`.
package func systemFault(_ action: String, _ path: String, _ number: Int32) -> Fault {
    let full = number == ENOSPC || number == EDQUOT
    return Fault(
        full ? .diskFull : .ioFailed,
        "cannot \(action) '\(path)': \(errorText(number))",
        metadata: ["path": path]
    )
}

/// The C library's words for an error number.
package func errorText(_ number: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard strerror_r(number, &buffer, buffer.count) == 0 else { return "error \(number)" }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Repeats `call` while a signal interrupts it. Never for close(2).
func retrying<Value: SignedInteger>(_ call: () -> Value) -> Value {
    while true {
        let value = call()
        if value != -1 || errno != EINTR { return value }
    }
}
