internal import NIOCore
internal import NIOHTTP2

/// Keeps from Hummingbird's connection manager what it closes whole HTTP/2 connections for.
///
/// - It takes the fourth ping within 30 s for abuse and, unlike gRPC's rule (gRFC A8), never forgets a
///   strike when it sends data. gRPC's core pings with each burst of data to measure the bandwidth:
///   every call on a connection with a watch died after a few messages with "Socket closed". The codec
///   beneath answers pings and bounds those that nobody reads the answers of.
/// - It closes on any error, also on one that concerns a single stream, such as a reset that crosses
///   the end of its answer (RFC 9113, 5.1, "closed": to be ignored).
/// - At a graceful end it closes when the last answer's end is handed to the codec, before a byte of it
///   is written. A close waits here until all is written; see `drainTime`.
final class ToleranceHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    /// How long a client that does not read can keep a connection that is to be closed.
    private static let drainTime = TimeAmount.seconds(1)
    private var isDraining = false

    /// Puts one behind the HTTP/2 codec of `channel`; on its event loop.
    static func add(to channel: any Channel) throws {
        let pipeline = channel.pipeline.syncOperations
        let codec = try pipeline.handler(type: NIOHTTP2Handler.self)
        try pipeline.addHandler(ToleranceHandler(), position: .after(codec))
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .ping(_, ack: false) = unwrapInboundIn(data).payload { return }
        context.fireChannelRead(data)
    }

    func close(
        context: ChannelHandlerContext,
        mode: CloseMode,
        promise: EventLoopPromise<Void>?
    ) {
        guard mode == .all, !isDraining else { return context.close(mode: mode, promise: promise) }
        isDraining = true
        let channel = context.channel
        channel.closeFuture.cascade(to: promise)
        let late = channel.eventLoop.scheduleTask(in: Self.drainTime) {
            channel.close(promise: nil)
        }
        channel.closeFuture.whenComplete { _ in late.cancel() }
        // Not now: what is being handed down at this moment is flushed behind this call.
        channel.eventLoop.execute {
            channel.close(mode: .output).whenComplete { _ in channel.close(promise: nil) }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case is NIOHTTP2Errors.NoSuchStream, is NIOHTTP2Errors.StreamClosed,
            is NIOHTTP2Errors.StreamError:
            break
        default: context.fireErrorCaught(error)
        }
    }
}
