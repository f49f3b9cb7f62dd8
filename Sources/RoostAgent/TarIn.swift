import CRoostLinux
import Glibc
import RoostGuestWire
import RoostTar

/// Unpacks a tar below one directory, which nothing in the archive can leave: every path is
/// resolved by the kernel with RESOLVE_BENEATH, and `..` and absolute names are refused.
final class TarInTask: StreamTask {
    /// A long name or pax header at most.
    private static let extensionLimit = 65_536
    private static let depthLimit = 256

    private enum Step {
        case header
        case content(TarMember, descriptor: Int32, left: UInt64)
        case extended(Int)
        case padding(Int)
        case finished
    }

    private let root: Int32
    private let keepsOwners: Bool
    private var step = Step.header
    private var buffer: [UInt8] = []
    private var headers = TarHeaders(extensionLimit: extensionLimit)
    private var total: UInt64 = 0
    private var entryCount: UInt64 = 0
    /// Directories get their modes and times last, or a read-only one could not be filled.
    private var directories: [TarMember] = []
    private var failure: GuestFailure?
    private var isComplete = false
    private var answered = false

    init(_ path: String, keepsOwners: Bool) throws(GuestFailure) {
        self.keepsOwners = keepsOwners
        if mkdir(path, 0o755) != 0, errno != EEXIST {
            throw SystemFailure(call: "mkdir", subject: path, errno: errno).asGuestFailure
        }
        root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard root >= 0 else {
            throw SystemFailure(call: "open", subject: path, errno: errno).asGuestFailure
        }
    }

    deinit {
        if case .content(_, let descriptor, _) = step { close(descriptor) }
        if root >= 0 { close(root) }
    }

    func receive(_ message: Message) {}
    func cancelled() {}

    func receive(_ bytes: [UInt8]) -> Int {
        guard failure == nil else { return bytes.count }
        total += UInt64(bytes.count)
        buffer += bytes
        do throws(GuestFailure) {
            while try advance() {}
        } catch {
            failure = error
            buffer = []
        }
        return bytes.count
    }

    func inputEnded() {
        guard failure == nil else { return }
        switch step {
        case .finished: break
        // Some writers leave the two zero blocks out.
        case .header where buffer.isEmpty && entryCount > 0 && !headers.isInsideHeaders: break
        case .header, .content, .extended, .padding:
            failure = GuestFailure(.archiveInvalid, "the archive is cut short")
            return
        }
        for header in directories.reversed() {
            do throws(GuestFailure) {
                let descriptor = try openEntry(header, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
                finish(descriptor, header)
                close(descriptor)
            } catch {
                failure = error
                return
            }
        }
        isComplete = true
    }

    func next(_ limit: Int) -> StreamOutput {
        if answered { return .end }
        if let failure {
            answered = true
            return .message(.failed(failure))
        }
        guard isComplete else { return .idle }
        answered = true
        return .message(.done(bytes: total))
    }

    // MARK: Parsing

    /// Does what the buffer allows; `false` when it needs more bytes.
    private func advance() throws(GuestFailure) -> Bool {
        switch step {
        case .finished:
            buffer = []
            return false
        case .header:
            guard let block = taken(TarHeaders.blockSize) else { return false }
            try begin(block)
        case .padding(let count):
            guard taken(count) != nil else { return false }
            step = .header
        case .content(let header, let descriptor, let left):
            let part = buffer.prefix(Int(min(UInt64(buffer.count), left)))
            guard left == 0 || !part.isEmpty else { return false }
            do throws(SystemFailure) {
                try writeAll(descriptor, part, name(header))
            } catch {
                throw error.asGuestFailure
            }
            let count = part.count
            buffer.removeFirst(count)
            step = .content(header, descriptor: descriptor, left: left - UInt64(count))
            if left == UInt64(count) {
                finish(descriptor, header)
                close(descriptor)
                step = .padding(TarHeaders.padding(after: header.size))
            }
        case .extended(let count):
            guard let bytes = taken(count) else { return false }
            _ = try decoded { headers throws(TarProblem) in try headers.take(extension: bytes) }
            step = .padding(TarHeaders.padding(after: UInt64(count)))
        }
        return true
    }

    /// The next `count` bytes, once they are there.
    private func taken(_ count: Int) -> [UInt8]? {
        guard buffer.count >= count else { return nil }
        defer { buffer.removeFirst(count) }
        return Array(buffer.prefix(count))
    }

    private func begin(_ block: [UInt8]) throws(GuestFailure) {
        let next = try decoded { headers throws(TarProblem) in try headers.take(block: block) }
        switch next {
        case .end: step = .finished
        case .extension(let count): step = .extended(count)
        case .member(let member):
            entryCount += 1
            try make(member)
        }
    }

    /// What `body` makes of the headers, with its problems as failures.
    private func decoded<Result>(
        _ body: (inout TarHeaders) throws(TarProblem) -> Result
    ) throws(GuestFailure) -> Result {
        do throws(TarProblem) {
            return try body(&headers)
        } catch {
            throw GuestFailure(.archiveInvalid, "entry \(entryCount + 1): \(error)")
        }
    }

    // MARK: Making entries

    private func name(_ header: TarMember) -> String {
        String(decoding: header.path, as: UTF8.self)
    }

    /// The parts of an entry's or a link's name below the root.
    private func parts(_ path: [UInt8]) throws(GuestFailure) -> [String] {
        let text = String(decoding: path, as: UTF8.self)
        let parts = text.split(separator: "/").map(String.init).filter { $0 != "." }
        guard path.first != 0x2F, !parts.contains(".."), !path.contains(0),
            path.count <= WireLimits.path, parts.count <= Self.depthLimit
        else { throw GuestFailure(.archiveInvalid, "entry name \(text) leaves the directory") }
        return parts
    }

    /// Opens the directory that holds an entry, making what is missing, and answers its last name.
    private func parent(_ path: [UInt8]) throws(GuestFailure) -> (descriptor: Int32, last: String)?
    {
        let parts = try parts(path)
        guard let last = parts.last else { return nil }
        var directory = dup(root)
        for part in parts.dropLast() {
            let flags = O_RDONLY | O_DIRECTORY
            var next = roost_open_beneath(directory, part, flags, 0)
            if next == -ENOENT, mkdirat(directory, part, 0o755) == 0 {
                next = roost_open_beneath(directory, part, flags, 0)
            }
            if next == -EXDEV {
                // A link that leads up or to another place below the root is followed from there.
                next = openFromRoot(Array(parts.dropLast()), upTo: part)
            }
            close(directory)
            guard next >= 0 else {
                let text = String(decoding: path, as: UTF8.self)
                if next == -EXDEV {
                    throw GuestFailure(
                        .archiveInvalid,
                        "entry \(text) passes a link that leads out"
                    )
                }
                throw SystemFailure(call: "open", subject: text, errno: -next).asGuestFailure
            }
            directory = next
        }
        return (directory, last)
    }

    private func openFromRoot(_ parts: [String], upTo part: String) -> Int32 {
        guard let end = parts.firstIndex(of: part) else { return -EXDEV }
        let path = parts[...end].joined(separator: "/")
        return roost_open_beneath(root, path, O_RDONLY | O_DIRECTORY, 0)
    }

    private func openEntry(_ header: TarMember, _ flags: Int32) throws(GuestFailure) -> Int32 {
        guard let (directory, last) = try parent(header.path) else { return dup(root) }
        defer { close(directory) }
        let descriptor = openat(directory, last, flags | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw SystemFailure(call: "open", subject: name(header), errno: errno).asGuestFailure
        }
        return descriptor
    }

    private func make(_ header: TarMember) throws(GuestFailure) {
        if case .other(let letter) = header.kind {
            throw GuestFailure(.archiveInvalid, "entry \(name(header)) is of type \(letter)")
        }
        guard let (directory, last) = try parent(header.path) else {
            // The root itself: its mode and owner apply to the directory that was named.
            if header.kind == .directory { directories.append(header) }
            return
        }
        defer { close(directory) }
        do throws(SystemFailure) {
            try make(header, last, in: directory)
        } catch {
            throw error.asGuestFailure
        }
    }

    private func make(
        _ header: TarMember,
        _ last: String,
        in directory: Int32
    ) throws(SystemFailure) {
        let subject = name(header)
        if header.kind == .directory {
            if mkdirat(directory, last, 0o700) != 0 {
                var status = stat()
                let isThere = fstatat(directory, last, &status, 0) == 0
                guard errno == EEXIST, isThere, status.st_mode & S_IFMT == S_IFDIR else {
                    throw SystemFailure(call: "mkdir", subject: subject, errno: EEXIST)
                }
                // Through a link of the image's the directory keeps what it has.
                var own = stat()
                if fstatat(directory, last, &own, AT_SYMLINK_NOFOLLOW) == 0,
                    own.st_mode & S_IFMT == S_IFLNK
                {
                    return
                }
            }
            directories.append(header)
            return
        }
        if unlinkat(directory, last, 0) != 0, errno != ENOENT {
            throw SystemFailure(call: "replace", subject: subject, errno: errno)
        }
        switch header.kind {
        case .file:
            let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
            let file = try check(openat(directory, last, flags, 0o600), "create", subject)
            step = .content(header, descriptor: file, left: header.size)
        case .hardLink: try makeLink(header, last, in: directory)
        case .symbolicLink:
            let target = String(decoding: header.link, as: UTF8.self)
            try check(symlinkat(target, directory, last), "symlink", subject)
            setOwnerAndTime(header, last, in: directory)
        case .characterDevice, .blockDevice, .fifo:
            try makeNode(header, last, in: directory)
        case .directory, .other: break
        }
    }

    private func makeLink(
        _ header: TarMember,
        _ last: String,
        in directory: Int32
    ) throws(SystemFailure) {
        let subject = name(header)
        let target: (descriptor: Int32, last: String)?
        do throws(GuestFailure) {
            target = try parent(header.link)
        } catch {
            throw SystemFailure(call: "link", subject: subject, errno: EXDEV)
        }
        guard let target else {
            throw SystemFailure(call: "link", subject: subject, errno: EISDIR)
        }
        defer { close(target.descriptor) }
        try check(linkat(target.descriptor, target.last, directory, last, 0), "link", subject)
    }

    private func makeNode(
        _ header: TarMember,
        _ last: String,
        in directory: Int32
    ) throws(SystemFailure) {
        let type: mode_t =
            switch header.kind {
            case .characterDevice: S_IFCHR
            case .blockDevice: S_IFBLK
            default: S_IFIFO
            }
        let number = gnu_dev_makedev(header.major, header.minor)
        let device = type == S_IFIFO ? 0 : number
        try check(mknodat(directory, last, type | header.mode, device), "mknod", name(header))
        setOwnerAndTime(header, last, in: directory)
        fchmodat(directory, last, header.mode, 0)
    }

    private func setOwnerAndTime(_ header: TarMember, _ last: String, in directory: Int32) {
        if keepsOwners { fchownat(directory, last, header.user, header.group, AT_SYMLINK_NOFOLLOW) }
        let time = timespec(tv_sec: Int(header.modified), tv_nsec: 0)
        utimensat(directory, last, [time, time], AT_SYMLINK_NOFOLLOW)
    }

    private func finish(_ descriptor: Int32, _ header: TarMember) {
        if keepsOwners { fchown(descriptor, header.user, header.group) }
        fchmod(descriptor, header.mode)
        let time = timespec(tv_sec: Int(header.modified), tv_nsec: 0)
        futimens(descriptor, [time, time])
    }
}
