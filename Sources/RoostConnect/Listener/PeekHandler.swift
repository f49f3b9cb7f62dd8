internal import NIOCore

/// Holds a connection's first bytes until they tell HTTP/2 from HTTP/1.1, then goes away.
final class PeekHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    /// What a connection with prior knowledge of HTTP/2 begins with; four bytes are enough.
    private static let preface = Array("PRI ".utf8)

    private var decided: EventLoopPromise<Bool>?
    private let patience: TimeAmount
    private var seen = ByteBuffer()
    private var timer: Scheduled<Void>?

    /// Fulfils `decided` with whether it is HTTP/2; closes the connection after `patience`.
    init(decided: EventLoopPromise<Bool>, patience: TimeAmount) {
        self.decided = decided
        self.patience = patience
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        timer = context.eventLoop.scheduleTask(in: patience) { channel.close(promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        decide(throwing: ChannelError.eof)
        if seen.readableBytes > 0 {
            context.fireChannelRead(wrapInboundOut(seen))
            context.fireChannelReadComplete()
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        seen.writeBuffer(&bytes)
        let start = Array(seen.readableBytesView.prefix(Self.preface.count))
        let isPrefix = Self.preface.starts(with: start)
        if isPrefix && start.count < Self.preface.count { return }
        // Fulfilling it builds the rest of the pipeline, at once and on this event loop.
        let promise = decided
        decided = nil
        promise?.succeed(isPrefix)
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        decide(throwing: ChannelError.eof)
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent where decided != nil,
            ChannelEvent.inputClosed where decided != nil:
            context.close(promise: nil)
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }

    private func decide(throwing error: any Error) {
        decided?.fail(error)
        decided = nil
    }
}
