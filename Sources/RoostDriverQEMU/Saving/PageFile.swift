internal import Crypto
internal import Glibc
internal import RoostLinux
internal import RoostModel

/// Files with holes, page by page: what is a hole and what is zeros makes no difference here.
/// All calls block.
enum PageFile {
    static let pageSize = 4096
    private static let chunk = 256 * pageSize

    /// The file's length and the digest of its content: SHA-256 over each page that is not all zeros,
    /// after its offset, and the length at the end. So a sparse copy has the digest of its original.
    static func digest(_ path: String) throws(Fault) -> (bytes: UInt64, digest: String) {
        let file = try openToRead(path)
        var hash = SHA256()
        let size = try forEachPage(in: file, path) { offset, page throws(Fault) in
            withUnsafeBytes(of: offset.bigEndian) { hash.update(bufferPointer: $0) }
            hash.update(bufferPointer: page)
        }
        withUnsafeBytes(of: size.bigEndian) { hash.update(bufferPointer: $0) }
        return (size, "sha256:" + hexadecimal(Array(hash.finalize())))
    }

    /// Copies `source` to the new file `target` without its holes and zeros. Not synced yet.
    static func copy(_ source: String, to target: String) throws(Fault) -> Descriptor {
        let file = try openToRead(source)
        let copy = try create(target)
        let size = try forEachPage(in: file, source) { offset, page throws(Fault) in
            try write(page, to: copy, at: offset, target)
        }
        guard ftruncate(copy.number, Int(clamping: size)) == 0 else {
            throw systemFault("size", target, errno)
        }
        return copy
    }

    /// Opens an empty file for its owner only.
    static func create(_ path: String) throws(Fault) -> Descriptor {
        let flags = O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW
        let number = open(path, flags, 0o600)
        guard number >= 0 else { throw systemFault("create", path, errno) }
        return Descriptor(number)
    }

    /// Bytes that the file takes on its file system.
    static func allocated(_ path: String) throws(Fault) -> UInt64 {
        var state = stat()
        guard lstat(path, &state) == 0 else { throw systemFault("look at", path, errno) }
        return UInt64(clamping: state.st_blocks) * 512
    }

    /// Writes all of `bytes` at `offset`.
    static func write(
        _ bytes: UnsafeRawBufferPointer,
        to file: Descriptor,
        at offset: UInt64,
        _ path: String
    ) throws(Fault) {
        var done = 0
        while done < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
            let count = pwrite(
                file.number,
                rest.baseAddress,
                rest.count,
                Int(clamping: offset) + done
            )
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw systemFault("write", path, errno) }
            done += count
        }
    }

    private static func openToRead(_ path: String) throws(Fault) -> Descriptor {
        let number = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard number >= 0 else { throw systemFault("open", path, errno) }
        return Descriptor(number)
    }

    /// Calls `body` for each page that is not all zeros, the last one as long as it is; returns the
    /// file's length.
    private static func forEachPage(
        in file: Descriptor,
        _ path: String,
        _ body: (UInt64, UnsafeRawBufferPointer) throws(Fault) -> Void
    ) throws(Fault) -> UInt64 {
        var state = stat()
        guard fstat(file.number, &state) == 0 else { throw systemFault("look at", path, errno) }
        let size = Int(state.st_size)
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: chunk, alignment: pageSize)
        let zeros = UnsafeMutableRawBufferPointer.allocate(byteCount: pageSize, alignment: 16)
        defer {
            room.deallocate()
            zeros.deallocate()
        }
        zeros.initializeMemory(as: UInt8.self, repeating: 0)
        var position = 0
        while position < size {
            guard let start = nextData(file, from: position, size) else { break }
            position = start
            let count = pread(file.number, room.baseAddress, chunk, position)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw systemFault("read", path, count == 0 ? EIO : errno) }
            // Whole pages, so that every page is seen in one piece.
            let whole = position + count < size ? count / pageSize * pageSize : count
            guard whole > 0 else { throw systemFault("read", path, EIO) }
            for from in stride(from: 0, to: whole, by: pageSize) {
                let page = UnsafeRawBufferPointer(
                    rebasing: room[from..<min(from + pageSize, whole)]
                )
                guard let base = page.baseAddress, let zero = zeros.baseAddress else { continue }
                if memcmp(base, zero, page.count) != 0 { try body(UInt64(position + from), page) }
            }
            position += whole
        }
        return UInt64(size)
    }

    /// The next page with data at or after `position`, which is a page's beginning.
    private static func nextData(_ file: Descriptor, from position: Int, _ size: Int) -> Int? {
        let seekData: Int32 = 3
        let found = lseek(file.number, position, seekData)
        // A file system that knows no holes says EINVAL; ENXIO is a hole up to the end.
        if found < 0 { return errno == ENXIO ? nil : position }
        return found / pageSize * pageSize
    }
}

/// Lower-case hex digits.
func hexadecimal(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    let text = bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
    return String(decoding: text, as: UTF8.self)
}
