package import GRPCCore
internal import GRPCProtobuf
package import RoostModel
internal import SwiftProtobuf

extension RPCError {
    /// The same error as it leaves here: its text ends with the op id's short form, its details
    /// name a reason and the op id, and its metadata carries `roost-op-id`. May be applied twice.
    package func identified(as operation: OperationID) -> RPCError {
        var status =
            (try? unpackGoogleRPCStatus())
            .flatMap { $0 }
            ?? GoogleRPCStatus(Fault(code.plainReason, message))
        status.code = code
        let suffix = " (\(operation.short))"
        status.message = message.hasSuffix(suffix) ? message : message + suffix
        let info = Roost_Ops_V1_OpInfo.with { $0.opID = operation.description }
        status.details.removeAll { detail in
            detail.any.map { $0.isA(Roost_Ops_V1_OpInfo.self) } ?? false
        }
        if let any = try? Google_Protobuf_Any(message: info) { status.details.append(.any(any)) }
        var metadata = metadata
        for (key, value) in status.rpcErrorMetadata {
            metadata.removeAllValues(forKey: key)
            switch value {
            case .string(let text): metadata.addString(text, forKey: key)
            case .binary(let bytes): metadata.addBinary(bytes, forKey: key)
            }
        }
        metadata.replaceOrAddString(operation.description, forKey: opIDKey)
        return RPCError(code: code, message: status.message, metadata: metadata, cause: cause)
    }
}
