import CRoostLinux
import Glibc
import RoostGuestWire

/// What `path` leads to.
func fileFacts(_ path: String) throws(GuestFailure) -> FileFacts {
    var status = stat()
    guard stat(path, &status) == 0 else {
        throw SystemFailure(call: "stat", subject: path, errno: errno).asGuestFailure
    }
    return FileFacts(status)
}

extension FileFacts {
    /// As stat(2) says it.
    fileprivate init(_ status: stat) {
        self.init(
            mode: status.st_mode,
            uid: status.st_uid,
            gid: status.st_gid,
            size: UInt64(max(0, status.st_size)),
            modified: Int64(status.st_mtim.tv_sec)
        )
    }
}

/// Sends one regular file: its facts, its bytes, the end.
final class ReadFileTask: StreamTask {
    private let descriptor: Int32
    private let path: String
    private var facts: FileFacts?
    private var sent: UInt64 = 0
    private var isDone = false

    init(_ path: String) throws(GuestFailure) {
        self.path = path
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else {
            throw SystemFailure(call: "open", subject: path, errno: errno).asGuestFailure
        }
        self.descriptor = descriptor
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw GuestFailure(.invalidRequest, "\(path) is not a regular file")
        }
        facts = FileFacts(status)
    }

    deinit { close(descriptor) }

    func receive(_ bytes: [UInt8]) -> Int { bytes.count }
    func receive(_ message: Message) {}
    func inputEnded() {}
    func cancelled() {}

    func next(_ limit: Int) -> StreamOutput {
        if isDone { return .end }
        if let facts {
            self.facts = nil
            return .message(.file(facts))
        }
        guard limit > 0 else { return .idle }
        guard let bytes = readSome(descriptor, limit) else {
            isDone = true
            let failure = SystemFailure(call: "read", subject: path, errno: errno)
            return .message(.failed(failure.asGuestFailure))
        }
        sent += UInt64(bytes.count)
        guard bytes.isEmpty else { return .data(.main, bytes) }
        isDone = true
        return .message(.done(bytes: sent))
    }
}

/// Writes one file beside its place and renames it there once it is whole.
final class WriteFileTask: StreamTask {
    private let request: WriteFileRequest
    private let temporary: String
    private var descriptor: Int32
    private var written: UInt64 = 0
    private var failure: GuestFailure?
    private var isComplete = false
    private var isAnswered = false

    init(_ request: WriteFileRequest) throws(GuestFailure) {
        self.request = request
        guard request.mode <= 0o7777, !request.path.isEmpty else {
            throw GuestFailure(.invalidRequest, "mode \(String(request.mode, radix: 8))")
        }
        var status = stat()
        if stat(request.path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
            throw SystemFailure(call: "write", subject: request.path, errno: EISDIR).asGuestFailure
        }
        temporary = Self.temporaryName(beside: request.path)
        descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw SystemFailure(call: "create", subject: request.path, errno: errno).asGuestFailure
        }
    }

    deinit { discard() }

    private static func temporaryName(beside path: String) -> String {
        let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
        return "\(directory).roost-\(getpid())-\(bootNanoseconds())"
    }

    func receive(_ bytes: [UInt8]) -> Int {
        guard failure == nil, descriptor >= 0 else { return bytes.count }
        do throws(SystemFailure) {
            try writeAll(descriptor, bytes[...], request.path)
            written += UInt64(bytes.count)
        } catch {
            failure = error.asGuestFailure
            discard()
        }
        return bytes.count
    }

    func receive(_ message: Message) {}

    func inputEnded() {
        guard failure == nil, descriptor >= 0 else { return }
        if let size = request.size, size != written {
            failure = GuestFailure(.invalidRequest, "\(written) bytes came, not \(size)")
            return discard()
        }
        do throws(SystemFailure) {
            // The owner first: changing it clears the set-id bits.
            try check(fchown(descriptor, request.uid, request.gid), "chown", request.path)
            try check(fchmod(descriptor, request.mode), "chmod", request.path)
            try check(rename(temporary, request.path), "rename", request.path)
            close(descriptor)
            descriptor = -1
            isComplete = true
        } catch {
            failure = error.asGuestFailure
            discard()
        }
    }

    func next(_ limit: Int) -> StreamOutput {
        if isAnswered { return .end }
        if let failure {
            isAnswered = true
            return .message(.failed(failure))
        }
        guard isComplete else { return .idle }
        isAnswered = true
        return .message(.done(bytes: written))
    }

    func cancelled() { discard() }

    private func discard() {
        guard descriptor >= 0 else { return }
        close(descriptor)
        descriptor = -1
        unlink(temporary)
    }
}
