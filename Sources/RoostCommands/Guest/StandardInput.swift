internal import Glibc
internal import RoostLinux
internal import RoostModel

/// Reads a descriptor of any kind without holding one of Swift's threads while nothing comes.
struct StandardInput: Sendable {
    let descriptor: Int32

    /// Up to `limit` bytes; empty at the end. Cancellation ends the wait with
    /// ``RoostModel/Reason/opCancelled``.
    func read(upTo limit: Int = 64 << 10) async throws(Fault) -> [UInt8] {
        while true {
            switch await Reactor.shared.wait(descriptor, for: .read) {
            case .cancelled, .timedOut: throw Fault(.opCancelled, "reading was cancelled")
            // A file cannot be waited for, and never lets one wait.
            case .ready, .gone: break
            }
            let bytes = try await onItsOwnThread { () throws(Fault) -> [UInt8]? in
                var problem: Int32 = 0
                let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
                    let got = Glibc.read(descriptor, buffer.baseAddress, limit)
                    problem = got < 0 ? errno : 0
                    count = max(got, 0)
                }
                switch problem {
                case 0: return bytes
                case EAGAIN, EINTR: return nil
                // A terminal that has gone away.
                case EIO: return []
                default: throw systemFault("read from", "standard input", problem)
                }
            }
            if let bytes { return bytes }
        }
    }
}
