internal import CRoostLinux
internal import Glibc
package import RoostModel

/// A log that a process of ours appends to by itself, kept to a bounded part of the disk.
///
/// The writer has the file open with O_APPEND and knows nothing of the bound: it neither stalls nor
/// dies when the daemon is away. Whoever watches gives the oldest blocks back to the file system
/// (FALLOC_FL_PUNCH_HOLE). So an offset means the same byte for ever, no byte that is kept is lost
/// to a race with the writer, and there is no second file. `ls -l` shows all that was ever written,
/// `du` what is kept. While no daemon runs nothing bounds the file: RLIMIT_FSIZE would also hit the
/// disks.
package struct BoundedLog: Sendable {
    package let path: String
    /// Bytes that are kept at least, when so many were written.
    package let kept: Int64

    /// A log at `path`, which need not exist yet.
    package init(_ path: String, kept: Int64 = 1 << 20) {
        self.path = path
        self.kept = kept
    }

    /// Gives back what is older than ``kept`` once twice as much is held. Blocks. Returns whether
    /// anything was given back. A missing file is fine.
    @discardableResult
    package func trim() throws(Fault) -> Bool {
        let number = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
        if number < 0 {
            if errno == ENOENT { return false }
            throw systemFault("open", path, errno)
        }
        let file = Descriptor(number)
        var state = stat()
        guard fstat(file.number, &state) == 0 else { throw systemFault("look at", path, errno) }
        guard Int64(state.st_blocks) * 512 > 2 * kept, Int64(state.st_size) > kept else {
            return false
        }
        // Whole blocks only: a hole inside a block would read as zeros in the middle of a line.
        let end = (Int64(state.st_size) - kept) & ~4095
        let problem = roost_host_punch_head(file.number, end)
        if problem == -EOPNOTSUPP {
            // A file system without holes: the writer goes on at the new end, zero.
            guard ftruncate(file.number, 0) == 0 else { throw systemFault("trim", path, errno) }
        } else if problem != 0 {
            throw systemFault("trim", path, -problem)
        }
        return true
    }

    /// Up to `limit` bytes from `offset`, or from the oldest byte kept when that is later. Blocks for
    /// the disk only. `next` is where the following call should begin; a missing file is empty.
    package func read(
        from offset: UInt64,
        limit: Int = 64 << 10
    ) throws(Fault) -> (bytes: [UInt8], next: UInt64, isEnd: Bool) {
        let number = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        if number < 0 {
            if errno == ENOENT { return ([], offset, true) }
            throw systemFault("open", path, errno)
        }
        let file = Descriptor(number)
        var state = stat()
        guard fstat(file.number, &state) == 0 else { throw systemFault("look at", path, errno) }
        let size = Int64(state.st_size)
        // Past the end: the file was begun again, so the reader begins again too.
        var start = Int64(clamping: offset) > size ? 0 : Int64(clamping: offset)
        let data = roost_host_seek_data(file.number, start)
        if data > start { start = data }
        let want = Int(min(Int64(limit), size - start))
        guard want > 0 else { return ([], UInt64(start), true) }
        var problem: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: want) { buffer, count in
            let got = retrying { pread(file.number, buffer.baseAddress, want, Int(start)) }
            problem = got < 0 ? errno : 0
            count = max(got, 0)
        }
        if problem != 0 { throw systemFault("read", path, problem) }
        let next = start + Int64(bytes.count)
        return (bytes, UInt64(next), next >= size)
    }

    /// The last `limit` bytes from `offset` on, made printable: control characters but newline and
    /// tab become `?`.
    package func lastWords(since offset: UInt64 = 0, limit: Int = 4096) -> String {
        var state = stat()
        guard lstat(path, &state) == 0 else { return "" }
        let start = max(UInt64(clamping: Int64(state.st_size) - Int64(limit)), offset)
        guard let tail = try? read(from: start, limit: limit) else { return "" }
        let safe = tail.bytes.map { (byte: UInt8) -> UInt8 in
            let isPlain = byte >= 32 && byte != 127
            return isPlain || byte == 10 || byte == 9 ? byte : 63
        }
        return String(decoding: safe, as: UTF8.self)
    }

    /// Trims whenever the file has grown, until the task is cancelled or the file is gone. Wakes at
    /// most four times a second however fast the file grows, and never while it does not.
    package func keepBounded() async {
        while !Task.isCancelled, await trimAtNextChange() {
            // Without a watch meanwhile: a guest that floods its console costs four wakes a second.
            if await Reactor.shared.sleep(until: .now + .milliseconds(250)) == .cancelled { return }
        }
    }

    private func trimAtNextChange() async -> Bool {
        guard let watch = try? FileWatch(path, .contents) else { return false }
        do {
            _ = try await onItsOwnThread { () throws(Fault) in try trim() }
        } catch { return false }
        await watch.changed()
        return access(path, F_OK) == 0
    }
}
