import CRoostLinux
import Glibc
import RoostGuestWire
import Synchronization

/// A system call that failed: what was tried, on what, and the error number.
struct SystemFailure: Error {
    let call: String
    let subject: String
    let errno: Int32

    /// `open /x: No such file or directory`.
    var text: String {
        let reason = strerror(errno).map { String(cString: $0) } ?? "error \(errno)"
        return "\(call) \(subject): \(reason.lowercased())"
    }

    /// The failure as the host gets it.
    var asGuestFailure: GuestFailure {
        let kind: GuestFailure.Kind =
            switch errno {
            case ENOENT, ENOTDIR: .pathNotFound
            case EACCES, EPERM, EROFS: .permissionDenied
            case ENOSPC, EDQUOT: .diskFull
            case ENAMETOOLONG, EISDIR, EINVAL: .invalidRequest
            case ENOSYS, EOPNOTSUPP: .unsupported
            case EMFILE, ENFILE, EAGAIN, ENOMEM: .limitExceeded
            default: .failed
            }
        return GuestFailure(kind, errno: errno, text)
    }
}

/// Takes a call's result: negative means that `errno` is set.
@discardableResult
func check(
    _ result: Int32,
    _ call: String,
    _ subject: String = ""
) throws(SystemFailure) -> Int32 {
    guard result < 0 else { return result }
    throw SystemFailure(call: call, subject: subject, errno: errno)
}

/// Takes the result of a function of CRoostLinux: negative is `-errno`.
@discardableResult
func checkShim(
    _ result: Int32,
    _ call: String,
    _ subject: String = ""
) throws(SystemFailure) -> Int32 {
    guard result < 0 else { return result }
    throw SystemFailure(call: call, subject: subject, errno: -result)
}

/// Prints one line to the console, with the op id of the request that caused it, and keeps it for the
/// guest's log.
func say(_ text: String, for operation: OperationMark = .none) {
    let mark = operation == .none ? "" : " op_id=\(operation)"
    let line = Array("roost-agent: \(text)\(mark)\n".utf8)
    _ = line.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
    let operationField = operation == .none ? "" : ",\"op_id\":\"\(operation)\""
    let object =
        "{\"time\":\"\(timestamp())\",\"process\":\"roost-agent\",\"message\":"
        + "\(jsonString(text))\(operationField)}"
    spoken.withLock { lines in
        // Before there is a port nobody takes them; a boot says a few.
        if lines.count < 256 { lines.append(object) }
    }
}

/// What the agent has said, one JSON object each, until the guest's log has it.
let spoken = Mutex<[String]>([])

/// Now, by the wall clock: RFC 3339 with nanoseconds, UTC.
func timestamp() -> String {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    var parts = tm()
    gmtime_r(&time.tv_sec, &parts)
    var buffer = [CChar](repeating: 0, count: 32)
    let length = strftime(&buffer, buffer.count, "%Y-%m-%dT%H:%M:%S", &parts)
    let seconds = String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let fraction = "\(time.tv_nsec)"
    return seconds + "." + String(repeating: "0", count: 9 - fraction.utf8.count) + fraction + "Z"
}

/// Nanoseconds since boot, sleep included.
func bootNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_BOOTTIME, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// Nanoseconds since 1970.
func wallNanoseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

/// Sets the wall clock.
func setWallClock(_ nanoseconds: Int64) throws(SystemFailure) {
    let second: Int64 = 1_000_000_000
    guard nanoseconds >= 0 else {
        throw SystemFailure(call: "clock_settime", subject: "\(nanoseconds)", errno: EINVAL)
    }
    var time = timespec(tv_sec: Int(nanoseconds / second), tv_nsec: Int(nanoseconds % second))
    try check(clock_settime(CLOCK_REALTIME, &time), "clock_settime")
}

/// Reads up to `limit` bytes of a file; `nil` when it cannot be opened.
func contents(of path: String, limit: Int = 1 << 20) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var all: [UInt8] = []
    while all.count < limit {
        guard let part = readSome(descriptor, min(65_536, limit - all.count)), !part.isEmpty else {
            break
        }
        all += part
    }
    return all
}

/// Reads a file as text; `nil` when it cannot be opened.
func text(of path: String, limit: Int = 1 << 20) -> String? {
    contents(of: path, limit: limit).map { String(decoding: $0, as: UTF8.self) }
}

/// Replaces a small file's content in place (it may be a bind mount or a kernel file).
func put(_ text: String, at path: String, mode: mode_t = 0o644) throws(SystemFailure) {
    let descriptor = try check(
        open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode),
        "open",
        path
    )
    defer { close(descriptor) }
    try writeAll(descriptor, Array(text.utf8)[...], path)
}

/// Writes all of `bytes` to a blocking descriptor.
func writeAll(
    _ descriptor: Int32,
    _ bytes: ArraySlice<UInt8>,
    _ subject: String
) throws(SystemFailure) {
    var rest = bytes
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if count < 0 {
            if errno == EINTR { continue }
            throw SystemFailure(call: "write", subject: subject, errno: errno)
        }
        rest = rest.dropFirst(count)
    }
}

/// Reads what is there: empty at the end, `nil` on an error (`errno` says which).
func readSome(_ descriptor: Int32, _ limit: Int) -> [UInt8]? {
    var failed = false
    let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
        var result = read(descriptor, buffer.baseAddress, limit)
        while result < 0 && errno == EINTR { result = read(descriptor, buffer.baseAddress, limit) }
        failed = result < 0
        count = max(0, result)
    }
    return failed ? nil : bytes
}

/// Makes a descriptor non-blocking.
func setNonBlocking(_ descriptor: Int32) {
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
}

/// Calls `body` with a NULL-terminated array of C strings.
func withCStrings<Result>(
    _ strings: [String],
    _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    let pointers = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(
        capacity: strings.count + 1
    )
    for (index, string) in strings.enumerated() { pointers[index] = strdup(string) }
    pointers[strings.count] = nil
    defer {
        for index in strings.indices { free(pointers[index]) }
        pointers.deallocate()
    }
    return body(pointers)
}
