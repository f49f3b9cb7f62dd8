internal import Glibc
package import RoostModel

/// A file that one thread writes while another reads it from the start.
///
/// A reader waits, blocking its thread, until bytes are there, the writer has said that the file is
/// whole and right (``finish()``) or that it will never be (``fail(_:)``). So a reader that has seen
/// the end has seen what was checked. Everything but the waiting is short.
///
/// Unchecked: `written` and `ending` are touched under `mutex` only. The standard library's Mutex
/// has no condition variable, so POSIX's is used.
package final class GrowingFile: @unchecked Sendable {
    /// Where it lies.
    package let path: String
    private let file: Descriptor
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var written: UInt64
    private var ending: Result<Void, Fault>?

    /// Opens `path`, making it if it is not there, for its owner only. What it holds already counts
    /// as written.
    ///
    /// - Throws: ``Reason/ioFailed`` or ``Reason/diskFull``.
    package init(_ path: String) throws(Fault) {
        let number = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard number >= 0 else { throw systemFault("open", path, errno) }
        file = Descriptor(number)
        var status = stat()
        guard fstat(number, &status) == 0 else { throw systemFault("stat", path, errno) }
        self.path = path
        written = UInt64(max(0, status.st_size))
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(changed, nil)
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    /// How many bytes it holds.
    package var count: UInt64 { locked { written } }

    /// Drops every byte. Only before anybody reads.
    ///
    /// - Throws: ``Reason/ioFailed``.
    package func clear() throws(Fault) {
        guard ftruncate(file.number, 0) == 0 else { throw systemFault("empty", path, errno) }
        locked { written = 0 }
    }

    /// Writes all of `bytes` at the end. One writer at a time.
    ///
    /// - Throws: ``Reason/diskFull``, ``Reason/ioFailed``.
    package func append(_ bytes: UnsafeRawBufferPointer) throws(Fault) {
        let start = count
        var done = 0
        while done < bytes.count {
            let got = pwrite(
                file.number,
                bytes.baseAddress.map { $0 + done },
                bytes.count - done,
                off_t(start) + off_t(done)
            )
            if got < 0, errno == EINTR { continue }
            guard got > 0 else { throw systemFault("write", path, got == 0 ? EIO : errno) }
            done += got
        }
        change { written = start + UInt64(bytes.count) }
    }

    /// Says that the file is whole and was checked. The first ending counts.
    package func finish() { change { ending = ending ?? .success(()) } }

    /// Says why the file will never be whole. The first ending counts.
    package func fail(_ fault: Fault) { change { ending = ending ?? .failure(fault) } }

    /// Fills `buffer` from `offset` with what is there, at least one byte; waits for it.
    ///
    /// - Returns: How many bytes; 0 at the end of a file that is whole and was checked.
    /// - Throws: What ``fail(_:)`` was given; ``Reason/ioFailed``.
    package func read(
        into buffer: UnsafeMutableRawBufferPointer,
        at offset: UInt64
    ) throws(Fault) -> Int {
        let available = try waitForBytes(after: offset)
        guard available > 0 else { return 0 }
        let wanted = Int(min(UInt64(buffer.count), available))
        while true {
            let got = pread(file.number, buffer.baseAddress, wanted, off_t(offset))
            if got < 0, errno == EINTR { continue }
            guard got > 0 else { throw systemFault("read", path, got == 0 ? EIO : errno) }
            return got
        }
    }

    /// Waits until the file is whole and checked.
    ///
    /// - Throws: What ``fail(_:)`` was given.
    package func waitForEnd() throws(Fault) {
        pthread_mutex_lock(mutex)
        while ending == nil { pthread_cond_wait(changed, mutex) }
        let ending = ending
        pthread_mutex_unlock(mutex)
        try ending?.get()
    }

    /// Reads up to `count` bytes at `offset` that were written already, without waiting.
    package func peek(_ count: Int, at offset: UInt64) throws(Fault) -> [UInt8] {
        var problem: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            let got = retrying { pread(file.number, buffer.baseAddress, count, off_t(offset)) }
            problem = got < 0 ? errno : 0
            filled = max(got, 0)
        }
        if problem != 0 { throw systemFault("read", path, problem) }
        return bytes
    }

    private func waitForBytes(after offset: UInt64) throws(Fault) -> UInt64 {
        pthread_mutex_lock(mutex)
        while written <= offset, ending == nil { pthread_cond_wait(changed, mutex) }
        let (end, ending) = (written, ending)
        pthread_mutex_unlock(mutex)
        if case .failure(let fault) = ending { throw fault }
        return end > offset ? end - offset : 0
    }

    private func change(_ body: () -> Void) {
        pthread_mutex_lock(mutex)
        body()
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
    }

    private func locked<Value>(_ body: () -> Value) -> Value {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }
}
