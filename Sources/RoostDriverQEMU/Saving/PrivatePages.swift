internal import Glibc
internal import RoostLinux
internal import RoostModel

/// The memory of a guest as its VMM maps it, from a file that is not its own. All calls block.
///
/// /proc/PID/pagemap tells the pages that are the VMM's own from the file's; looking costs 8 bytes a page
/// of what the mapping covers (1 GiB: 2 MiB read), copying only what changed.
struct PrivateMemory: Sendable {
    fileprivate let mappings: [Mapping]
    private let map: Descriptor
    fileprivate let content: Descriptor
    fileprivate let contentPath: String

    fileprivate struct Mapping {
        var start: UInt64
        var end: UInt64
        var offset: UInt64

        func contains(_ offset: UInt64) -> Bool {
            offset >= self.offset && offset - self.offset < end - start
        }
    }

    /// Finds the mapping of the file `path` in the process. Throws ``Reason/ioFailed`` when the
    /// process may not be looked at or has no such mapping.
    init(of pid: Int32, mapping path: String) throws(Fault) {
        var state = stat()
        guard stat(path, &state) == 0 else { throw systemFault("look at", path, errno) }
        mappings = try Self.mappings(of: pid, inode: UInt64(state.st_ino))
        guard !mappings.isEmpty else {
            throw Fault(
                .ioFailed,
                "process \(pid) does not map '\(path)'",
                metadata: ["path": path]
            )
        }
        map = try Self.openProc("/proc/\(pid)/pagemap")
        contentPath = "/proc/\(pid)/mem"
        content = try Self.openProc(contentPath)
    }

    /// The pages that are the VMM's own now; it must stand still.
    func pages() throws(Fault) -> PrivatePages {
        var found: [UInt64] = []
        for mapping in mappings { try Self.scan(mapping, map, into: &found) }
        return PrivatePages(offsets: found.sorted(), memory: self)
    }

    private static func openProc(_ path: String) throws(Fault) -> Descriptor {
        let number = open(path, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { throw systemFault("open", path, errno) }
        return Descriptor(number)
    }

    private static func mappings(of pid: Int32, inode: UInt64) throws(Fault) -> [Mapping] {
        let path = "/proc/\(pid)/maps"
        guard let bytes = try DurableFile.read(path, limit: 4 << 20) else {
            throw systemFault("open", path, ENOENT)
        }
        let wanted = String(inode)
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").compactMap { line in
            // start-end permissions offset device inode path
            let words = line.split(separator: " ", omittingEmptySubsequences: true)
            guard words.count > 5, words[4] == wanted, words[1].hasSuffix("p") else { return nil }
            let range = words[0].split(separator: "-").compactMap { UInt64($0, radix: 16) }
            guard range.count == 2, let offset = UInt64(words[2], radix: 16) else { return nil }
            return Mapping(start: range[0], end: range[1], offset: offset)
        }
    }

    private static func scan(
        _ mapping: Mapping,
        _ map: Descriptor,
        into found: inout [UInt64]
    ) throws(Fault) {
        let size = UInt64(PageFile.pageSize)
        var page = mapping.start / size
        let last = mapping.end / size
        let present: UInt64 = 1 << 63
        let swapped: UInt64 = 1 << 62
        let ofFile: UInt64 = 1 << 61
        var entries = [UInt64](repeating: 0, count: 16 << 10)
        while page < last {
            let wanted = min(Int(last - page), entries.count) * 8
            let count = entries.withUnsafeMutableBytes {
                pread(map.number, $0.baseAddress, wanted, Int(page) * 8)
            }
            guard count > 0 else { throw systemFault("read", "pagemap", count == 0 ? EIO : errno) }
            entries.withUnsafeBufferPointer { entries in
                for index in 0..<count / 8 {
                    let entry = entries[index]
                    if entry & (present | swapped) == 0 || entry & ofFile != 0 { continue }
                    found.append((page + UInt64(index)) * size - mapping.start + mapping.offset)
                }
            }
            page += UInt64(count / 8)
        }
    }
}

/// The pages of a guest's memory that are its VMM's own: those written since its memory file was
/// mapped privately. The VMM must stand still.
struct PrivatePages: Sendable {
    /// Offsets in the memory file, rising.
    let offsets: [UInt64]
    fileprivate let memory: PrivateMemory

    /// Calls `body` with each page, in order.
    func eachPage(
        _ body: (UInt64, UnsafeRawBufferPointer) throws(Fault) -> Void
    ) throws(Fault) {
        let size = PageFile.pageSize
        let page = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: size)
        defer { page.deallocate() }
        for offset in offsets {
            guard let mapping = memory.mappings.first(where: { $0.contains(offset) }) else {
                continue
            }
            let address = mapping.start + (offset - mapping.offset)
            guard pread(memory.content.number, page.baseAddress, size, Int(address)) == size else {
                throw systemFault("read", memory.contentPath, errno)
            }
            try body(offset, UnsafeRawBufferPointer(page))
        }
    }
}
