internal import GRPCCore
internal import HTTPTypes
internal import HummingbirdCore
internal import NIOCore

/// One request's peer.
struct Peer: Sendable {
    let connection: Connection
    /// The connection's channel, or the stream's where there are many on one connection.
    let channel: any Channel

    /// Calls `action` once the client is gone.
    func onDeparture(_ action: @escaping @Sendable () -> Void) {
        if connection.isHTTP2 {
            channel.closeFuture.whenComplete { _ in action() }
        } else {
            connection.departures.watch(action)
        }
    }
}

/// A call as its request's head says it.
struct Incoming: Sendable {
    let method: MethodDescriptor
    let dialect: Dialect
    let metadata: Metadata
    let reader: MessageReader
    /// Why it cannot be served as it stands. It still goes to the handler, which gives it an op id
    /// and lets nobody learn more than an authenticated client would.
    let refusal: RPCError?
    /// The HTTP status of a refusal, where it is not the error code's.
    let refusalStatus: Int?

    init(
        _ request: Request,
        method: MethodDescriptor,
        limit: Int,
        isHTTP2: Bool
    ) {
        let headers = request.headers
        let type = headers[.contentType] ?? ""
        let dialect = Dialect(contentType: type)
        // Errors are JSON where nobody can tell what the client reads.
        self.dialect = dialect ?? .connectUnary(isJSON: true)
        self.method = method
        let compression = headers[self.dialect.compressionHeader]?.lowercased() ?? ""
        reader = MessageReader(compression: compression, limit: limit)
        var metadata = Metadata(headers)
        if let authority = request.head.authority {
            metadata.replaceOrAddString(authority, forKey: "host")
        }
        var refusal = dialect == nil ? Self.unknownType(type) : self.dialect.refusal(of: method)
        refusalStatus = refusal == nil || dialect?.isGRPC == true ? nil : 415
        if let version = headers[.connectProtocolVersion], version != "1" {
            refusal = refusal ?? Self.malformed("connect-protocol-version is '\(version)', not 1")
        }
        if method.type == .bidirectionalStreaming, !isHTTP2 {
            let text = "\(method.method) streams both ways, which needs HTTP/2: use gRPC"
            refusal = refusal ?? RPCError(code: .unimplemented, message: text)
        }
        if let text = headers[.connectTimeout], self.dialect.isGRPC == false {
            if let timeout = Self.timeout(milliseconds: text) {
                metadata.replaceOrAddString(timeout, forKey: "grpc-timeout")
            } else {
                refusal =
                    refusal
                    ?? Self.malformed("connect-timeout-ms is '\(text)', not 1 to 10 digits")
            }
        }
        self.metadata = metadata
        self.refusal = refusal
    }

    /// What `grpc-timeout` says for `text` milliseconds; its number has at most eight digits.
    static func timeout(milliseconds text: String) -> String? {
        guard (1...10).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) }),
            let number = Int64(text)
        else { return nil }
        return number < 100_000_000 ? "\(number)m" : "\(number / 1000)S"
    }

    private static func unknownType(_ type: String) -> RPCError {
        malformed("content-type is '\(type.prefix(80))', not application/json or another of ours")
    }

    private static func malformed(_ message: String) -> RPCError {
        RPCError(code: .invalidArgument, message: message)
    }

    /// The context of the handler.
    func context(
        _ peer: Peer,
        _ handle: ServerContext.RPCCancellationHandle
    ) -> ServerContext {
        ServerContext(
            descriptor: method,
            remotePeer: peer.connection.remotePeer,
            localPeer: peer.connection.localPeer,
            cancellation: handle
        )
    }
}

extension Dialect {
    var isGRPC: Bool {
        if case .grpc = self { return true }
        return false
    }

    /// Why `method` cannot be called like this; `nil` when it can.
    func refusal(of method: MethodDescriptor) -> RPCError? {
        guard let type = method.type else { return nil }
        let streams = type.isRequestStreaming || type.isResponseStreaming
        switch self {
        case .grpc: return nil
        case .connectUnary where streams:
            let text = "\(method.method) streams: send content-type application/connect+json"
            return RPCError(code: .invalidArgument, message: text)
        case .connectStream where !streams:
            let text = "\(method.method) does not stream: send content-type application/json"
            return RPCError(code: .invalidArgument, message: text)
        case .connectUnary, .connectStream: return nil
        }
    }
}

/// The content types that a method's path takes, for `Accept-Post`.
let acceptedTypes = """
    application/json, application/proto, application/connect+json, application/connect+proto, \
    application/grpc
    """
