internal import GRPCCore
internal import HTTPTypes

/// How a client speaks: which protocol and which encoding of messages.
enum Dialect: Sendable, Equatable {
    /// One message each way, without frames.
    case connectUnary(isJSON: Bool)
    /// Framed messages; the end is a frame of JSON.
    case connectStream(isJSON: Bool)
    /// Framed messages; the end is in HTTP trailers.
    case grpc(isJSON: Bool)

    /// Reads a content type; `nil` for one that no protocol here uses.
    init?(contentType: String) {
        let type = contentType.prefix { $0 != ";" }.lowercased()
        switch type.filter({ $0 != " " }) {
        case "application/json": self = .connectUnary(isJSON: true)
        case "application/proto": self = .connectUnary(isJSON: false)
        case "application/connect+json": self = .connectStream(isJSON: true)
        case "application/connect+proto": self = .connectStream(isJSON: false)
        case "application/grpc", "application/grpc+proto": self = .grpc(isJSON: false)
        case "application/grpc+json": self = .grpc(isJSON: true)
        default: return nil
        }
    }

    /// The content type of the answer.
    var contentType: String {
        switch self {
        case .connectUnary(let isJSON): "application/\(isJSON ? "json" : "proto")"
        case .connectStream(let isJSON): "application/connect+\(isJSON ? "json" : "proto")"
        case .grpc(let isJSON): "application/grpc+\(isJSON ? "json" : "proto")"
        }
    }

    /// Whether messages are JSON.
    var isJSON: Bool {
        switch self {
        case .connectUnary(let isJSON), .connectStream(let isJSON), .grpc(let isJSON): isJSON
        }
    }

    /// The header that names how the whole body, or each flagged frame, is compressed.
    var compressionHeader: HTTPField.Name {
        switch self {
        case .connectUnary: .contentEncoding
        case .connectStream: .connectContentEncoding
        case .grpc: .grpcEncoding
        }
    }
}

extension HTTPField.Name {
    /// `Connect-Content-Encoding`: how flagged frames are compressed.
    static let connectContentEncoding = known("connect-content-encoding")
    /// `Connect-Accept-Encoding`: what the server inflates.
    static let connectAcceptEncoding = known("connect-accept-encoding")
    /// `Connect-Protocol-Version`: 1, or absent.
    static let connectProtocolVersion = known("connect-protocol-version")
    /// `Connect-Timeout-Ms`: how long the client waits.
    static let connectTimeout = known("connect-timeout-ms")
    /// `grpc-encoding`: how flagged frames are compressed.
    static let grpcEncoding = known("grpc-encoding")
    /// `grpc-accept-encoding`: what the server inflates.
    static let grpcAcceptEncoding = known("grpc-accept-encoding")
    /// `grpc-status`: a number.
    static let grpcStatus = known("grpc-status")
    /// `grpc-message`: percent-encoded text.
    static let grpcMessage = known("grpc-message")
    /// `accept-post`: which content types a path takes.
    static let acceptPost = known("accept-post")

    private static func known(_ name: String) -> HTTPField.Name {
        guard let name = HTTPField.Name(name) else { preconditionFailure("not a header: \(name)") }
        return name
    }
}
