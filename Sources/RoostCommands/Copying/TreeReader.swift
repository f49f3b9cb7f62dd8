internal import Glibc
internal import RoostLinux
internal import RoostModel
internal import RoostTar
internal import Synchronization

/// Makes a tar stream of a file or tree of this host, piece by piece: modes, times and symbolic
/// links are kept, links are not followed, and what is neither file, directory nor link is left out.
/// A file that shrinks meanwhile is filled up with zeros.
final class TreeReader: Sendable {
    private struct State {
        /// What is still to be sent, the next one last: a path here and its name there.
        var pending: [(path: String, name: String)]
        var file: (descriptor: Descriptor, left: UInt64, padding: Int)?
        var isEnded = false
    }

    private let state: Mutex<State>

    /// The tree at `path`, called `name` in the archive; `.` stands for what is in it.
    init(_ path: String, name: String) {
        state = Mutex(State(pending: [(path, name)]))
    }

    /// The next piece, at most about 256 KiB; `nil` at the end. Blocks while the disk is slow.
    func next() throws(Fault) -> [UInt8]? {
        try state.withLock { state throws(Fault) in
            if state.isEnded { return nil }
            var piece: [UInt8] = []
            while piece.count < 128 << 10 {
                if state.file != nil {
                    try Self.readFile(&state, into: &piece)
                } else if let entry = state.pending.popLast() {
                    try Self.add(entry, &state, into: &piece)
                } else {
                    state.isEnded = true
                    piece += [UInt8](repeating: 0, count: 2 * TarHeaders.blockSize)
                    break
                }
            }
            return piece
        }
    }

    private static func add(
        _ entry: (path: String, name: String),
        _ state: inout State,
        into piece: inout [UInt8]
    ) throws(Fault) {
        var status = stat()
        guard lstat(entry.path, &status) == 0 else {
            throw systemFault("look at", entry.path, errno)
        }
        func header(_ kind: TarMember.Kind) -> TarMember {
            var member = TarMember(kind, path: Array(entry.name.utf8))
            member.mode = UInt32(status.st_mode & 0o7777)
            // Nobody needs to know times before 1970 of a file that is copied.
            member.modified = max(0, Int64(status.st_mtim.tv_sec))
            return member
        }
        switch status.st_mode & S_IFMT {
        case S_IFDIR:
            var directory = header(.directory)
            directory.path.append(UInt8(ascii: "/"))
            piece += directory.encoded()
            let prefix = entry.name == "." ? "./" : "\(entry.name)/"
            for name in try names(in: entry.path).sorted(by: >) {
                state.pending.append(("\(entry.path)/\(name)", prefix + name))
            }
        case S_IFLNK:
            var link = header(.symbolicLink)
            link.link = Array(try target(of: entry.path).utf8)
            piece += link.encoded()
        case S_IFREG:
            let number = open(entry.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
            guard number >= 0 else { throw systemFault("open", entry.path, errno) }
            var file = header(.file)
            file.size = UInt64(status.st_size)
            piece += file.encoded()
            let padding = TarHeaders.padding(after: file.size)
            state.file = (Descriptor(number), file.size, padding)
        default: break
        }
    }

    private static func readFile(_ state: inout State, into piece: inout [UInt8]) throws(Fault) {
        guard var file = state.file else { return }
        let size = Int(min(file.left, 128 << 10))
        var buffer = [UInt8](repeating: 0, count: size)
        let got = size == 0 ? 0 : read(file.descriptor.number, &buffer, size)
        guard got >= 0 else { throw systemFault("read", "file", errno) }
        // Zeros stand for what was cut off meanwhile; the header has promised the size.
        piece += got == 0 ? buffer : Array(buffer[..<got])
        file.left -= UInt64(got == 0 ? size : got)
        state.file = file
        if file.left == 0 {
            piece += [UInt8](repeating: 0, count: file.padding)
            file.descriptor.close()
            state.file = nil
        }
    }

    private static func names(in path: String) throws(Fault) -> [String] {
        guard let directory = opendir(path) else { throw systemFault("open", path, errno) }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }

    private static func target(of path: String) throws(Fault) -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink(path, &buffer, buffer.count)
        guard count >= 0 else { throw systemFault("read the link", path, errno) }
        return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
