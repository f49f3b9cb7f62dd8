import Glibc
package import RoostModel

/// One open file on the host, closed when the last reference goes.
///
/// Every call blocks: use it on a thread kept for blocking calls. Not `Sendable`.
package final class DiskFile {
    /// The file's descriptor, owned by this object.
    package let descriptor: Int32
    /// The path it was opened by, for messages.
    package let path: String

    /// Takes over `descriptor`, which was opened from `path`.
    package init(descriptor: Int32, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    deinit { close(descriptor) }

    /// Opens an existing regular file for reading; a symbolic link at the end is followed.
    ///
    /// - Throws: `pathNotFound` if there is none, `ioFailed` if it cannot be opened or is no
    ///   regular file.
    package static func reading(_ path: String) throws(Fault) -> DiskFile {
        // Without O_NONBLOCK the open of a fifo hangs until somebody writes.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw systemFault(errno, "open", path) }
        let file = DiskFile(descriptor: descriptor, path: path)
        guard try file.status().st_mode & S_IFMT == S_IFREG else {
            throw Fault(.ioFailed, "\(printable(path)) is no regular file")
        }
        return file
    }

    /// Creates a file that must not exist yet, for reading and writing.
    ///
    /// - Throws: `ioFailed` if something has that name already, `diskFull` without room.
    package static func creating(
        _ path: String,
        mode: UInt32 = 0o644
    ) throws(Fault) -> DiskFile {
        let flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW
        let descriptor = open(path, flags, mode_t(mode))
        guard descriptor >= 0 else { throw systemFault(errno, "create", path) }
        return DiskFile(descriptor: descriptor, path: path)
    }

    /// What `fstat` says.
    func status() throws(Fault) -> stat {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw systemFault(errno, "stat", path) }
        return status
    }

    /// The file's size.
    package func size() throws(Fault) -> ByteCount {
        ByteCount(bytes: UInt64(max(0, try status().st_size)))
    }

    /// Sets the size; new bytes read as zero and take no room.
    package func truncate(to size: ByteCount) throws(Fault) {
        guard let length = off_t(exactly: size.bytes), ftruncate(descriptor, length) == 0 else {
            throw systemFault(errno, "resize", path)
        }
    }

    /// Writes all of `bytes` at `offset` (bytes from the start).
    package func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Fault) {
        var done = 0
        while done < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
            let count = pwrite(
                descriptor,
                rest.baseAddress,
                rest.count,
                off_t(offset) + off_t(done)
            )
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw systemFault(count == 0 ? EIO : errno, "write", path) }
            done += count
        }
    }

    /// Writes all of `bytes` at `offset` (bytes from the start).
    package func write(_ bytes: [UInt8], at offset: UInt64) throws(Fault) {
        let failure: Fault? = bytes.withUnsafeBytes { buffer in
            do throws(Fault) {
                try write(buffer, at: offset)
                return nil
            } catch {
                return error
            }
        }
        if let failure { throw failure }
    }

    /// Reads at `offset` until `buffer` is full or the file ends; returns the bytes read.
    package func read(
        into buffer: UnsafeMutableRawBufferPointer,
        at offset: UInt64
    ) throws(Fault) -> Int {
        var done = 0
        while done < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let count = pread(descriptor, rest.baseAddress, rest.count, off_t(offset) + off_t(done))
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw systemFault(errno, "read", path) }
            if count == 0 { break }
            done += count
        }
        return done
    }

    /// Reads up to `count` bytes at `offset`; fewer only where the file ends.
    package func read(_ count: Int, at offset: UInt64) throws(Fault) -> [UInt8] {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
        defer { buffer.deallocate() }
        let length = try read(into: buffer, at: offset)
        return [UInt8](buffer[..<length])
    }

    /// Reads the whole file.
    ///
    /// - Throws: `limitExceeded` if it is larger than `limit`.
    package func readAll(limit: ByteCount) throws(Fault) -> [UInt8] {
        let size = try size()
        guard size <= limit else {
            throw Fault(
                .limitExceeded,
                "\(printable(path)) has \(size.bytes) bytes; the limit is \(limit.bytes)"
            )
        }
        return try read(Int(size.bytes), at: 0)
    }

    /// Waits until data and metadata are on stable storage.
    package func sync() throws(Fault) {
        guard fsync(descriptor) == 0 else { throw systemFault(errno, "sync", path) }
    }
}

/// The fault for a failed system call: `diskFull`, `pathNotFound` or `ioFailed`.
func systemFault(_ number: Int32, _ action: String, _ path: String) -> Fault {
    let text = String(cString: strerror(number)).lowercased()
    let message = "cannot \(action) \(printable(path)): \(text)"
    switch number {
    case ENOSPC, EDQUOT, EFBIG: return Fault(.diskFull, message, metadata: ["path": path])
    case ENOENT, ENOTDIR: return Fault(.pathNotFound, message, metadata: ["path": path])
    default: return Fault(.ioFailed, message, metadata: ["path": path])
    }
}

/// `text` as it may stand in a message: control characters escaped, at most 200 characters.
func printable(_ text: some StringProtocol) -> String {
    var result = ""
    for scalar in text.unicodeScalars.prefix(200) {
        switch scalar.value {
        case 0..<0x20, 0x7F..<0xA0, 0x2028, 0x2029, 0x202A...0x202E, 0x2066...0x2069:
            result += "\\u{\(String(scalar.value, radix: 16))}"
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result
}

/// `bytes` as text for a message; what is no UTF-8 is replaced.
func printable(_ bytes: some Collection<UInt8>) -> String {
    printable(String(decoding: bytes.prefix(400), as: UTF8.self))
}
