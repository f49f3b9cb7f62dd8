internal import Glibc
internal import RoostLinux
internal import RoostModel
internal import Synchronization

/// What a path of this host is.
enum LocalKind: Equatable {
    case file(mode: UInt32, size: Int64)
    case directory
    case link

    /// Looks at `path` without following a link at its end. What is neither is refused.
    init(_ path: String) throws(Fault) { try self.init(path, flags: AT_SYMLINK_NOFOLLOW) }

    /// Looks at what `path` leads to.
    init(following path: String) throws(Fault) { try self.init(path, flags: 0) }

    private init(_ path: String, flags: Int32) throws(Fault) {
        var status = stat()
        guard fstatat(AT_FDCWD, path, &status, flags) == 0 else {
            if errno == ENOENT { throw Fault(.pathNotFound, "there is no '\(shown(path))' here") }
            throw systemFault("look at", path, errno)
        }
        switch status.st_mode & S_IFMT {
        case S_IFDIR: self = .directory
        case S_IFLNK: self = .link
        case S_IFREG:
            self = .file(mode: UInt32(status.st_mode & 0o7777), size: Int64(status.st_size))
        default: throw Fault.invalid("source", "'\(shown(path))' is a device, pipe or socket")
        }
    }
}

/// A file of this host that is read, or that appears whole under its name or not at all.
final class LocalFile: Sendable {
    private let descriptor: Descriptor
    private let path: String
    private let temporary: String

    init(reading path: String) throws(Fault) {
        let number = open(path, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { throw systemFault("open", path, errno) }
        descriptor = Descriptor(number)
        self.path = path
        temporary = ""
    }

    /// Begins a file that will be at `path`, in place of one that is there.
    init(replacing path: String) throws(Fault) {
        self.path = path
        temporary = "\(path).\(getpid()).roost-part"
        let number = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw systemFault("make", path, errno) }
        descriptor = Descriptor(number)
    }

    /// Up to `limit` bytes; empty at the end.
    func read(upTo limit: Int) throws(Fault) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: limit)
        let got = Glibc.read(descriptor.number, &buffer, limit)
        guard got >= 0 else { throw systemFault("read", path, errno) }
        return Array(buffer[..<got])
    }

    /// All of it; more than `limit` bytes only as far as to see that they are more.
    func readWhole(limit: Int) throws(Fault) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count <= limit {
            let piece = try read(upTo: 64 << 10)
            if piece.isEmpty { break }
            bytes += piece
        }
        return bytes
    }

    func write(_ bytes: [UInt8]) throws(Fault) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { raw in
                Glibc.write(
                    descriptor.number,
                    raw.baseAddress.map { $0 + sent },
                    bytes.count - sent
                )
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw systemFault("write", path, errno)
            }
            sent += count
        }
    }

    func setMode(_ mode: UInt32) throws(Fault) {
        guard fchmod(descriptor.number, mode_t(mode)) == 0 else {
            throw systemFault("change the mode of", path, errno)
        }
    }

    /// Gives it its name.
    func publish() throws(Fault) {
        guard rename(temporary, path) == 0 else {
            let problem = errno
            discard()
            throw systemFault("replace", path, problem)
        }
    }

    /// Takes it away again.
    func discard() { unlink(temporary) }
}

/// The first error of several tasks.
final class OnceError: Sendable {
    private let value = Mutex<(any Error)?>(nil)
    var error: (any Error)? { value.withLock { $0 } }
    func set(_ error: any Error) { value.withLock { $0 = $0 ?? error } }
}
