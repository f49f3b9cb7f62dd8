internal import FoundationEssentials
internal import GRPCCore
internal import HTTPTypes
internal import SwiftProtobuf

/// An error as the Connect protocol writes it.
///
/// Source: connectrpc.com/docs/protocol, "Error end-stream" and "Error codes".
struct ConnectError: Encodable {
    let code: String
    let message: String
    let details: [Detail]?

    struct Detail: Encodable {
        /// The message's full name, such as `google.rpc.ErrorInfo`.
        let type: String
        /// The message in base64 without padding.
        let value: String
    }

    init(_ status: Status, _ metadata: Metadata) {
        code = status.code.connectName
        message = status.message
        let bytes = metadata[binaryValues: statusDetailsKey].first { _ in true }
        let known = bytes.flatMap { try? Google_Rpc_Status(serializedBytes: $0) }
        let list = known?.details.map { any in
            Detail(
                type: any.typeURL.split(separator: "/").last.map(String.init) ?? any.typeURL,
                value: Base64.encode(any.value, padded: false)
            )
        }
        details = list.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The error as JSON.
    var json: [UInt8] { jsonBytes(self) }
}

/// The last frame of a Connect stream.
struct ConnectEnd: Encodable {
    let error: ConnectError?
    let metadata: [String: [String]]?

    init(_ status: Status, _ metadata: Metadata) {
        error = status.code == .ok ? nil : ConnectError(status, metadata)
        var values: [String: [String]] = [:]
        for (name, value) in metadata.headers() where name.canonicalName != statusDetailsKey {
            values[name.canonicalName, default: []].append(value)
        }
        self.metadata = values.isEmpty ? nil : values
    }

    /// The end as JSON.
    var json: [UInt8] { jsonBytes(self) }
}

private func jsonBytes(_ value: some Encodable) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
    // Strings, arrays and dictionaries of them: encoding these has no way to fail.
    return (try? encoder.encode(value)).map { Array($0) } ?? Array("{}".utf8)
}

extension Status.Code {
    /// The code's name in Connect.
    var connectName: String {
        switch self {
        case .cancelled: "canceled"
        case .invalidArgument: "invalid_argument"
        case .deadlineExceeded: "deadline_exceeded"
        case .notFound: "not_found"
        case .alreadyExists: "already_exists"
        case .permissionDenied: "permission_denied"
        case .resourceExhausted: "resource_exhausted"
        case .failedPrecondition: "failed_precondition"
        case .aborted: "aborted"
        case .outOfRange: "out_of_range"
        case .unimplemented: "unimplemented"
        case .internalError: "internal"
        case .unavailable: "unavailable"
        case .dataLoss: "data_loss"
        case .unauthenticated: "unauthenticated"
        default: "unknown"
        }
    }

    /// The HTTP status of a unary Connect error.
    var httpStatus: Int {
        switch self {
        case .ok: 200
        case .cancelled: 499
        case .invalidArgument, .failedPrecondition, .outOfRange: 400
        case .unauthenticated: 401
        case .permissionDenied: 403
        case .notFound: 404
        case .alreadyExists, .aborted: 409
        case .resourceExhausted: 429
        case .unimplemented: 501
        case .unavailable: 503
        case .deadlineExceeded: 504
        default: 500
        }
    }
}
