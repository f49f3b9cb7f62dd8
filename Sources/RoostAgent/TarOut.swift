import CRoostLinux
import Glibc
import RoostGuestWire
import RoostTar

/// Sends a tree as a tar: modes, owners, times, symbolic and hard links, devices. Sockets are left
/// out, other file systems are not entered. A file that shrinks meanwhile is filled with zeros.
final class TarOutTask: StreamTask {
    private struct Directory {
        var path: String
        var name: String
        var entries: [String]
    }

    private struct Inode: Hashable {
        var device: UInt64
        var number: UInt64
    }

    /// Files with several names that are remembered, to be sent once.
    private static let linkLimit = 65_536

    private let device: UInt64
    private var stack: [Directory] = []
    private var links: [Inode: [UInt8]] = [:]
    private var buffer: ArraySlice<UInt8> = []
    private var file: (descriptor: Int32, path: String, left: UInt64, size: UInt64)?
    private var total: UInt64 = 0
    private var failure: GuestFailure?
    private var trailerSent = false
    private var answered = false

    init(_ path: String, contentsOnly: Bool) throws(GuestFailure) {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            throw SystemFailure(call: "stat", subject: path, errno: errno).asGuestFailure
        }
        device = UInt64(status.st_dev)
        let isDirectory = status.st_mode & S_IFMT == S_IFDIR
        let base = path.split(separator: "/").last.map(String.init) ?? "."
        let isNamed = !contentsOnly && base != "." && base != ".."
        let name = isDirectory && !isNamed ? "." : base
        add(path, as: name, status)
        if let failure { throw failure }
    }

    deinit { if let file { close(file.descriptor) } }

    func receive(_ bytes: [UInt8]) -> Int { bytes.count }
    func receive(_ message: Message) {}
    func inputEnded() {}
    func cancelled() {}

    func next(_ limit: Int) -> StreamOutput {
        if answered { return .end }
        guard limit > 0 else { return .idle }
        while buffer.isEmpty {
            if let failure {
                answered = true
                return .message(.failed(failure))
            }
            if file != nil {
                readFile(limit)
            } else if !step() {
                guard !trailerSent else {
                    answered = true
                    return .message(.done(bytes: total))
                }
                trailerSent = true
                buffer = ArraySlice(repeating: 0, count: 2 * TarHeaders.blockSize)
            }
        }
        let part = buffer.prefix(limit)
        buffer = buffer.dropFirst(part.count)
        total += UInt64(part.count)
        return .data(.main, Array(part))
    }

    /// Goes one entry further; `false` at the end of the tree.
    private func step() -> Bool {
        while var top = stack.last {
            guard let entry = top.entries.popLast() else {
                stack.removeLast()
                continue
            }
            stack[stack.count - 1] = top
            let path = top.path == "/" ? "/\(entry)" : "\(top.path)/\(entry)"
            var status = stat()
            // What vanished between listing and looking was not there.
            guard lstat(path, &status) == 0 else { continue }
            add(path, as: top.name == "." ? "./\(entry)" : "\(top.name)/\(entry)", status)
            return true
        }
        return false
    }

    private func add(_ path: String, as name: String, _ status: stat) {
        var header = TarMember(.file, path: Array(name.utf8))
        header.mode = status.st_mode & 0o7777
        header.user = status.st_uid
        header.group = status.st_gid
        header.modified = Int64(status.st_mtim.tv_sec)
        switch status.st_mode & S_IFMT {
        case S_IFREG: return addFile(path, header, status)
        case S_IFDIR:
            header.kind = .directory
            header.path.append(0x2F)
            if UInt64(status.st_dev) == device {
                // Sorted, so that the same tree gives the same bytes.
                let entries = entries(of: path).sorted(by: >)
                stack.append(Directory(path: path, name: name, entries: entries))
            }
        case S_IFLNK:
            header.kind = .symbolicLink
            var target = [CChar](repeating: 0, count: 4_096)
            let count = readlink(path, &target, target.count)
            header.link = target.prefix(max(0, count)).map { UInt8(bitPattern: $0) }
        case S_IFCHR, S_IFBLK:
            header.kind = status.st_mode & S_IFMT == S_IFCHR ? .characterDevice : .blockDevice
            // The kernel's encoding of a device number, as in <sys/sysmacros.h>.
            let number = UInt64(status.st_rdev)
            header.major = UInt32(number >> 8 & 0xFFF | number >> 32 & 0xFFFF_F000)
            header.minor = UInt32(number & 0xFF | number >> 12 & 0xFFFF_FF00)
        case S_IFIFO: header.kind = .fifo
        default: return
        }
        buffer += header.encoded()
    }

    private func addFile(_ path: String, _ base: TarMember, _ status: stat) {
        var header = base
        if status.st_nlink > 1 {
            let inode = Inode(device: UInt64(status.st_dev), number: UInt64(status.st_ino))
            if let first = links[inode] {
                header.kind = .hardLink
                header.link = first
                buffer += header.encoded()
                return
            }
            if links.count < Self.linkLimit { links[inode] = header.path }
        }
        let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            failure = SystemFailure(call: "open", subject: path, errno: errno).asGuestFailure
            return
        }
        header.size = UInt64(max(0, status.st_size))
        buffer += header.encoded()
        file = (descriptor, path, header.size, header.size)
    }

    private func readFile(_ limit: Int) {
        guard var current = file else { return }
        guard current.left > 0 else {
            close(current.descriptor)
            file = nil
            buffer = ArraySlice(repeating: 0, count: TarHeaders.padding(after: current.size))
            return
        }
        let wanted = Int(min(UInt64(limit), current.left))
        guard let bytes = readSome(current.descriptor, wanted) else {
            let error = SystemFailure(call: "read", subject: current.path, errno: errno)
            failure = error.asGuestFailure
            return
        }
        buffer = bytes.isEmpty ? ArraySlice(repeating: 0, count: wanted) : bytes[...]
        current.left -= UInt64(buffer.count)
        file = current
    }
}
