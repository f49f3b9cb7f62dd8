internal import GRPCCore
internal import GRPCProtobuf
package import RoostModel
internal import SwiftProtobuf

extension Google_Rpc_Status {
    /// `fault` with its details, for answers that hold an error, such as an operation's.
    package init(_ fault: Fault) {
        self.init()
        let bytes: [UInt8]? = try? GoogleRPCStatus(fault).serializedBytes()
        if let bytes, let status = try? Google_Rpc_Status(serializedBytes: bytes) {
            self = status
        } else {
            code = Int32(RPCError.Code(fault.code).rawValue)
            message = fault.message
        }
    }
}
