internal import Glibc
internal import RoostLinux
internal import RoostModel

/// A VMM that loads a saved state while it is written, through a socket: so the guest stands still for the
/// longer of the two, not for both. All calls block.
struct StateReader: Sendable {
    /// Long enough for a VMM that loads whatever one machine has.
    private static let patience: Int32 = 120_000
    private let socket: Descriptor
    private let vm: String

    /// Returns the reader, and what its VMM is to have: the end that it reads, and the other one, which it
    /// never uses. With that no daemon's death ends the stream: a VMM whose stream ends early ends too, and
    /// the next daemon would not learn from it that its source was stopped only to be saved.
    static func make(for vm: String) throws(Fault) -> (reader: StateReader, ends: [Descriptor]) {
        var ends: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else {
            throw systemFault("make a socket for", vm, errno)
        }
        let reader = StateReader(socket: Descriptor(ends[0]), vm: vm)
        return (reader, [Descriptor(ends[1]), reader.socket])
    }

    /// Throws ``Reason/vmmFailed`` when the VMM is gone, ``Reason/deadline`` when it does not read.
    func write(_ bytes: UnsafeRawBufferPointer) throws(Fault) {
        var done = 0
        while done < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
            let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
            let count = send(socket.number, rest.baseAddress, rest.count, flags)
            if count > 0 {
                done += count
            } else if errno == EAGAIN {
                try awaitRoom()
            } else if errno != EINTR {
                throw Fault(
                    .vmmFailed,
                    "the VMM that was to go on for \(vm) stopped reading its state",
                    metadata: ["vm": vm]
                )
            }
        }
    }

    /// That was all.
    func end() { shutdown(socket.number, Int32(SHUT_WR)) }

    private func awaitRoom() throws(Fault) {
        var poller = pollfd(fd: socket.number, events: Int16(POLLOUT), revents: 0)
        while true {
            let count = poll(&poller, 1, Self.patience)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw Fault(.deadline, "QEMU did not load VM \(vm) in time", metadata: ["vm": vm])
            }
            return
        }
    }
}

/// Where a saved state is written to: a file, and whoever reads it meanwhile. All calls block.
struct StateTarget: Sendable {
    let file: Descriptor
    let path: String
    let reader: StateReader?

    /// Writes the next bytes of the state, which are at `offset` of the file.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Fault) {
        // Who waits for it first.
        try reader?.write(bytes)
        try PageFile.write(bytes, to: file, at: offset, path)
    }

    func end() { reader?.end() }
}
