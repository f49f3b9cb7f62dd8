import Glibc
package import RoostModel

/// Bytes that are pulled in order, once. Blocking.
package struct ByteSource {
    private let pull: (UnsafeMutableRawBufferPointer) throws(Fault) -> Int

    /// Wraps a function that does what ``read(_:)`` promises.
    package init(_ pull: @escaping (UnsafeMutableRawBufferPointer) throws(Fault) -> Int) {
        self.pull = pull
    }

    /// Puts at least one byte into `buffer` and returns how many; 0 only at the end.
    package func read(_ buffer: UnsafeMutableRawBufferPointer) throws(Fault) -> Int {
        try pull(buffer)
    }

    /// Reads from `file` at its current position; pipes and sockets will do.
    package static func file(_ file: DiskFile) -> ByteSource {
        ByteSource { buffer throws(Fault) in
            while true {
                let count = Glibc.read(file.descriptor, buffer.baseAddress, buffer.count)
                if count < 0 && errno == EINTR { continue }
                if count < 0 && errno == EAGAIN {
                    // A pipe whose other end was made non-blocking by its owner.
                    var poll = pollfd(fd: file.descriptor, events: Int16(POLLIN), revents: 0)
                    _ = Glibc.poll(&poll, 1, -1)
                    continue
                }
                guard count >= 0 else { throw systemFault(errno, "read", file.path) }
                return count
            }
        }
    }

    /// Hands out `bytes`, at most `chunk` of them at a time.
    package static func bytes(_ bytes: [UInt8], chunk: Int = .max) -> ByteSource {
        var position = 0
        return ByteSource { buffer throws(Fault) in
            let count = min(buffer.count, chunk, bytes.count - position)
            buffer.copyBytes(from: bytes[position..<position + count])
            position += count
            return count
        }
    }
}
