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
final class ToleranceHandler: ChannelInboundHandler, Sendable {
    typealias InboundIn = HTTP2Frame

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

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case is NIOHTTP2Errors.NoSuchStream, is NIOHTTP2Errors.StreamClosed,
            is NIOHTTP2Errors.StreamError:
            break
        default: context.fireErrorCaught(error)
        }
    }
}
