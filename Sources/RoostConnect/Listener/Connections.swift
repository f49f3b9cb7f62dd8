internal import NIOCore
internal import Synchronization

/// The connections that are open, so that all of them can be closed.
///
/// To cancel what serves a connection is no way to end it: a stream that its client opens in that
/// moment has nobody to take it, and NIO traps ("Deinited NIOAsyncWriter without calling finish()").
/// What serves a closed connection ends by itself.
final class Connections: Sendable {
    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var areClosed = false
    }
    private let state = Mutex(State())

    /// Counts `channel` until it closes; closes it at once if all were.
    func add(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        let areClosed = state.withLock { state in
            if !state.areClosed { state.channels[id] = channel }
            return state.areClosed
        }
        if areClosed { return channel.close(promise: nil) }
        channel.closeFuture.whenComplete { [self] _ in
            _ = state.withLock { $0.channels.removeValue(forKey: id) }
        }
    }

    /// Closes all there are, and those that come.
    func close() {
        let channels = state.withLock { state in
            state.areClosed = true
            return state.channels.values.map { $0 }
        }
        for channel in channels { channel.close(promise: nil) }
    }
}
