internal import Glibc
internal import RoostLinux
internal import RoostModel
internal import RoostTar
internal import Synchronization

/// Puts a tar stream from a guest below a directory of this host, which nothing in it can leave:
/// `..` and absolute names are refused, and no symbolic link is followed on the way to a member.
final class TreeWriter: Sendable {
    private struct State {
        var parser = TarParser()
        var file: Descriptor?
        var header: TarMember?
        /// Directories get their modes last, or a read-only one could not be filled.
        var directories: [(path: [Substring], mode: UInt32)] = []
        var skipped: [String] = []
    }

    private let root: Descriptor
    private let top: String?
    private let state = Mutex(State())

    /// Unpacks into `directory`. The first part of every name becomes `top`; without one it is left
    /// away, so that what was in the tree comes into `directory` itself.
    init(into directory: String, top: String?) throws(Fault) {
        let number = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard number >= 0 else { throw systemFault("open", directory, errno) }
        root = Descriptor(number)
        self.top = top
    }

    /// Takes the next bytes of the stream. Blocks while the disk is slow.
    func write(_ bytes: [UInt8]) throws(Fault) {
        try state.withLock { state throws(Fault) in
            var parser = state.parser
            try parser.read(bytes) { event throws(Fault) in try take(event, &state) }
            state.parser = parser
        }
    }

    /// Ends it, and returns the names of what could not be made here, such as devices.
    func finish() throws(Fault) -> [String] {
        try state.withLock { state throws(Fault) in
            guard state.parser.isEnded else {
                throw Fault(.archiveInvalid, "the archive ends in the middle")
            }
            for (path, mode) in state.directories.reversed() {
                let directory = try folder(path[...])
                fchmod(directory.number, mode_t(mode))
            }
            return state.skipped
        }
    }

    private func take(_ event: TarParser.Event, _ state: inout State) throws(Fault) {
        switch event {
        case .skipped(let name): state.skipped.append(name)
        case .member(let header):
            state.header = header
            try begin(header, &state)
        case .content(let bytes):
            guard let file = state.file else { return }
            try writeAll(Array(bytes), to: file, state.header.map(text) ?? "")
        case .memberEnd:
            if let file = state.file, let header = state.header {
                fchmod(file.number, mode_t(header.mode & 0o777))
                var times = [timespec(), timespec()]
                for index in times.indices { times[index].tv_sec = Int(header.modified) }
                futimens(file.number, times)
                file.close()
            }
            state.file = nil
        }
    }

    private func begin(_ header: TarMember, _ state: inout State) throws(Fault) {
        let parts = try placed(text(header))
        guard let name = parts.last.map(String.init) else { return }
        let directory = try folder(parts.dropLast())
        let number = directory.number
        switch header.kind {
        case .directory:
            if mkdirat(number, name, 0o700) != 0, errno != EEXIST {
                throw systemFault("make", text(header), errno)
            }
            state.directories.append((parts, header.mode & 0o777))
        case .file:
            unlinkat(number, name, 0)
            let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
            let file = openat(number, name, flags, 0o600)
            guard file >= 0 else { throw systemFault("make", text(header), errno) }
            state.file = Descriptor(file)
        case .symbolicLink:
            unlinkat(number, name, 0)
            guard symlinkat(String(decoding: header.link, as: UTF8.self), number, name) == 0 else {
                throw systemFault("link", text(header), errno)
            }
        case .characterDevice, .blockDevice, .fifo, .other: break
        case .hardLink:
            let source = try placed(String(decoding: header.link, as: UTF8.self))
            guard let sourceName = source.last.map(String.init) else { return }
            let sourceFolder = try folder(source.dropLast())
            unlinkat(number, name, 0)
            guard linkat(sourceFolder.number, sourceName, number, name, 0) == 0 else {
                throw systemFault("link", text(header), errno)
            }
        }
    }

    /// The parts of a member's name below the root.
    private func placed(_ path: String) throws(Fault) -> [Substring] {
        let parts = path.split(separator: "/").filter { $0 != "." }
        // Linux takes no longer path, and a tree that is deeper nobody can remove.
        guard path.utf8.count < Int(PATH_MAX) else {
            throw Fault(.archiveInvalid, "a name in the archive has \(path.utf8.count) bytes")
        }
        guard !path.hasPrefix("/"), !parts.contains(".."), !path.contains("\0") else {
            throw Fault(.archiveInvalid, "the archive names '\(shown(path))', outside of itself")
        }
        guard !path.hasPrefix("./") && path != "." else {
            return (top.map { [Substring($0)] } ?? []) + parts
        }
        return (top.map { [Substring($0)] } ?? []) + parts.dropFirst()
    }

    /// Opens a directory below the root, following no link.
    private func folder(_ parts: ArraySlice<Substring>) throws(Fault) -> Descriptor {
        var directory = root
        for part in parts {
            let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
            var number = openat(directory.number, String(part), flags)
            if number < 0, errno == ENOENT, mkdirat(directory.number, String(part), 0o755) == 0 {
                number = openat(directory.number, String(part), flags)
            }
            guard number >= 0 else { throw systemFault("open", String(part), errno) }
            directory = Descriptor(number)
        }
        return directory
    }

    private func writeAll(_ bytes: [UInt8], to file: Descriptor, _ path: String) throws(Fault) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { raw in
                Glibc.write(file.number, raw.baseAddress.map { $0 + sent }, bytes.count - sent)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw systemFault("write", path, errno)
            }
            sent += count
        }
    }
}

private func text(_ member: TarMember) -> String {
    String(decoding: member.path, as: UTF8.self)
}
