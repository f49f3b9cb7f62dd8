internal import RoostDriver
internal import RoostLinux
internal import RoostModel
internal import Synchronization

/// The stream to the agent in one VM. It goes on over another socket when another process goes on for
/// the VM's: the guest's end of it is in the guest's memory, and notices nothing.
///
/// Exact only if both sides are silent when that happens, as between ``GuestHold/hold()`` and
/// ``GuestHold/letGo()``: what the agent says to the former process afterwards is lost.
final class AgentChannel: ByteStream {
    private struct State {
        var socket: SocketStream
        /// The one before, until it was read to its end.
        var former: SocketStream?
        var isClosed = false
        var wasCarried = false
    }

    private let state: Mutex<State>

    init(_ socket: SocketStream) { state = Mutex(State(socket: socket)) }

    /// Whether the agent has said anything yet.
    var hasReceived: Bool { state.withLock { $0.wasCarried || $0.socket.hasReceived } }

    func read(upTo limit: Int) async throws(Fault) -> [UInt8] {
        while true {
            let socket = state.withLock { $0.former ?? $0.socket }
            do throws(Fault) {
                let bytes = try await socket.read(upTo: limit)
                if !bytes.isEmpty || self.socket === socket { return bytes }
            } catch {
                // Cancelled, and then that matters whatever it reads from.
                guard self.socket !== socket, error.reason != .opCancelled else { throw error }
            }
            state.withLock { if $0.former === socket { $0.former = nil } }
        }
    }

    func write(_ bytes: [UInt8]) async throws(Fault) { try await socket.write(bytes) }

    func close() async { closeNow() }

    func closeNow() {
        state.withLock { state in
            state.isClosed = true
            return state.socket
        }
        .closeNow()
    }

    /// Goes on over `next`, which leads to the same port of the process that goes on.
    func carry(to next: SocketStream) {
        let ended = state.withLock { state in
            if state.isClosed { return next }
            let former = state.socket
            state.wasCarried = state.wasCarried || former.hasReceived
            state.socket = next
            state.former = former
            return former
        }
        ended.closeNow()
    }

    private var socket: SocketStream { state.withLock(\.socket) }
}
