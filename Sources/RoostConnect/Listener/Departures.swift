internal import NIOCore
internal import Synchronization

/// Tells whoever asked that an HTTP/1.1 client has gone, while its request is being answered.
final class Departures: Sendable {
    private struct State {
        var isGone = false
        var onGone: (@Sendable () -> Void)?
    }
    private let state = Mutex(State())

    /// Calls `action` once when the client goes, at once if it has gone. Replaces the former one.
    func watch(_ action: @escaping @Sendable () -> Void) {
        let isGone = state.withLock { state in
            state.onGone = state.isGone ? nil : action
            return state.isGone
        }
        if isGone { action() }
    }

    /// Forgets what ``watch(_:)`` was told.
    func unwatch() {
        state.withLock { $0.onGone = nil }
    }

    func clientIsGone() {
        let action = state.withLock { state in
            state.isGone = true
            defer { state.onGone = nil }
            return state.onGone
        }
        action?()
    }
}

/// Sees a client close its side. Hummingbird's own way to learn of it ends keep-alive.
final class DepartureHandler: ChannelInboundHandler, RemovableChannelHandler, Sendable {
    typealias InboundIn = Any

    private let departures: Departures

    init(_ departures: Departures) { self.departures = departures }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event { departures.clientIsGone() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        departures.clientIsGone()
        context.fireChannelInactive()
    }
}
