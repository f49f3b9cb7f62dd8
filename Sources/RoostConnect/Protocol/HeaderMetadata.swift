internal import GRPCCore
internal import HTTPTypes

/// Headers of the protocols themselves: they are no metadata.
private let ownHeaders: Set<String> = [
    "content-type", "content-length", "content-encoding", "accept", "accept-encoding",
    "connection", "host", "te", "trailer", "transfer-encoding", "keep-alive", "upgrade",
    "connect-protocol-version", "connect-timeout-ms", "connect-content-encoding",
    "connect-accept-encoding", "grpc-encoding", "grpc-accept-encoding", "grpc-status",
    "grpc-message",
]

extension Metadata {
    /// The metadata among `fields`. Names that end in `-bin` hold base64.
    init(_ fields: HTTPFields) {
        self.init()
        for field in fields {
            let name = field.name.canonicalName
            if ownHeaders.contains(name) { continue }
            if name.hasSuffix("-bin") {
                for part in field.value.split(separator: ",") {
                    guard let bytes = Base64.decode(part.filter { $0 != " " }) else { continue }
                    addBinary(bytes, forKey: name)
                }
            } else {
                addString(field.value, forKey: name)
            }
        }
    }

    /// The metadata as headers, each name with `prefix` before it.
    func headers(prefix: String = "", padded: Bool = false) -> [(HTTPField.Name, String)] {
        compactMap { key, value in
            let key = key.lowercased()
            if ownHeaders.contains(key) { return nil }
            guard let name = HTTPField.Name(prefix + key) else { return nil }
            switch value {
            case .string(let text): return (name, text)
            case .binary(let bytes): return (name, Base64.encode(bytes, padded: padded))
            }
        }
    }
}

extension HTTPFields {
    /// Adds every one of `headers`.
    mutating func add(_ headers: [(HTTPField.Name, String)]) {
        for (name, value) in headers { append(HTTPField(name: name, value: value)) }
    }
}

/// The metadata key of google.rpc.Status, which Connect writes as `details` instead.
let statusDetailsKey = "grpc-status-details-bin"
