internal import Glibc
package import RoostModel
internal import Synchronization

/// Bytes over a connected, non-blocking socket. Reads and writes may go on at once; it buffers
/// nothing itself, so a slow side holds back the other and nobody's memory grows.
package final class SocketStream: Sendable {
    private let socket: Descriptor
    private let received = Atomic<Bool>(false)

    /// Whether the other side has said anything yet.
    package var hasReceived: Bool { received.load(ordering: .relaxed) }

    /// Takes over a connected socket, which must be non-blocking.
    package init(_ socket: Descriptor) {
        self.socket = socket
    }

    deinit { Reactor.shared.forget(socket.number) }

    /// Up to `limit` bytes, waiting for at least one; an empty array is the end. A connection that
    /// the other side broke, or that was closed here, has ended too. Throws ``Reason/opCancelled``
    /// when the task is cancelled, ``Reason/deadline`` after `deadline`.
    package func read(
        upTo limit: Int,
        until deadline: ContinuousClock.Instant?
    ) async throws(Fault) -> [UInt8] {
        let size = min(max(limit, 1), 256 << 10)
        while true {
            var problem: Int32 = 0
            let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
                let got = retrying { recv(socket.number, buffer.baseAddress, size, 0) }
                problem = got < 0 ? errno : 0
                count = max(got, 0)
            }
            switch problem {
            case 0:
                if !bytes.isEmpty { received.store(true, ordering: .relaxed) }
                return bytes
            case EAGAIN: break
            case ECONNRESET, EBADF, ENOTCONN: return []
            default: throw systemFault("read from", "socket", problem)
            }
            switch await Reactor.shared.wait(socket.number, for: .read, until: deadline) {
            case .ready: continue
            case .gone: return []
            case .cancelled: throw Fault(.opCancelled, "reading was cancelled")
            case .timedOut: throw Fault(.deadline, "nothing came in time")
            }
        }
    }

    /// As ``read(upTo:until:)`` without a deadline.
    package func read(upTo limit: Int) async throws(Fault) -> [UInt8] {
        try await read(upTo: limit, until: nil)
    }

    /// Writes all of `bytes`, waiting while the other side is slow. Throws ``Reason/ioFailed`` when
    /// the other side is gone, ``Reason/opCancelled`` when cancelled, ``Reason/deadline`` after
    /// `deadline`; some bytes may have been sent then.
    package func write(
        _ bytes: [UInt8],
        until deadline: ContinuousClock.Instant?
    ) async throws(Fault) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                retrying {
                    let rest = UnsafeRawBufferPointer(rebasing: buffer[sent...])
                    return send(socket.number, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
                }
            }
            if count >= 0 {
                sent += count
                continue
            }
            let problem = errno
            guard problem == EAGAIN else { throw systemFault("write to", "socket", problem) }
            switch await Reactor.shared.wait(socket.number, for: .write, until: deadline) {
            case .ready: continue
            case .gone: throw systemFault("write to", "socket", EPIPE)
            case .cancelled: throw Fault(.opCancelled, "writing was cancelled")
            case .timedOut: throw Fault(.deadline, "the other side took nothing in time")
            }
        }
    }

    /// As ``write(_:until:)`` without a deadline.
    package func write(_ bytes: [UInt8]) async throws(Fault) {
        try await write(bytes, until: nil)
    }

    /// Ends both directions; whoever waits is woken. May be called twice.
    package func close() async { closeNow() }

    /// As ``close()``, for places that cannot wait.
    package func closeNow() {
        // The descriptor itself goes with the object: a number closed under a reader could already
        // be somebody else's.
        shutdown(socket.number, Int32(SHUT_RDWR))
    }
}
