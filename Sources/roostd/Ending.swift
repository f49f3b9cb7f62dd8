import GRPCCore
import RoostAPI
import RoostModel
import RoostServices

/// What an error says of a call's end.
struct Ending {
    var code: RPCError.Code
    var message: String
    var reason: Reason?
    var cause: (any Error)?

    init(_ error: any Error) {
        switch error {
        case let fault as Fault:
            code = RPCError.Code(fault.code)
            message = fault.description
            reason = fault.reason
            cause = fault.cause
        case let error as RPCError:
            code = error.code
            message = error.message
            reason = ReceivedFault(error).fault.reason
            cause = error.cause
        case let error as any RPCErrorConvertible:
            code = error.rpcErrorCode
            message = error.rpcErrorMessage
            cause = error.rpcErrorCause
        default:
            // What nobody made a fault of.
            code = .unknown
            message = "an error that is no fault"
            cause = error
        }
    }

    /// Whether the fault is ours and not the caller's or the world's.
    var isOurs: Bool { code == .internalError || code == .unknown || code == .dataLoss }
}
