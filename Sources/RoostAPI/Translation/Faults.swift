package import GRPCCore
package import GRPCProtobuf
package import RoostModel
internal import SwiftProtobuf

/// The domain of every reason of ours in a google.rpc.ErrorInfo.
package let errorDomain = "roost"

extension Fault: RPCErrorConvertible {
    /// The code, one to one.
    package var rpcErrorCode: RPCError.Code { RPCError.Code(code) }
    /// The message. The transport's decorator adds the op id.
    package var rpcErrorMessage: String { message }
    /// The details, as every client of google.rpc.Status reads them.
    package var rpcErrorMetadata: Metadata { GoogleRPCStatus(self).rpcErrorMetadata }
    /// For logs here; never sent.
    package var rpcErrorCause: (any Error)? { cause }
}

extension GoogleRPCStatus {
    /// `fault` with ErrorInfo, BadRequest (if fields were refused) and Remediation.
    package init(_ fault: Fault) {
        var details: [ErrorDetails] = [
            .errorInfo(
                reason: fault.reason.rawValue,
                domain: errorDomain,
                metadata: fault.metadata
            )
        ]
        if !fault.violations.isEmpty {
            let violations = fault.violations.map {
                ErrorDetails.BadRequest.FieldViolation(field: $0.field, description: $0.problem)
            }
            details.append(.badRequest(violations: violations))
        }
        let remedy = fault.remedy
        if !remedy.isEmpty {
            let message = Roost_Ops_V1_Remediation.with {
                $0.text = remedy
                $0.commands = commands(in: remedy)
            }
            if let any = try? Google_Protobuf_Any(message: message) { details.append(.any(any)) }
        }
        self.init(code: RPCError.Code(fault.code), message: fault.message, details: details)
    }
}

/// The `roost …` commands in a remedy's sentence: each up to the next comma or the end.
func commands(in remedy: String) -> [String] {
    remedy.split(separator: ",").compactMap { clause in
        clause.firstRange(of: "roost ").map { String(clause[$0.lowerBound...]) }
    }
}

extension RPCError.Code {
    /// The wire's name for `code`.
    package init(_ code: Fault.Code) {
        switch code {
        case .invalidArgument: self = .invalidArgument
        case .notFound: self = .notFound
        case .alreadyExists: self = .alreadyExists
        case .failedPrecondition: self = .failedPrecondition
        case .aborted: self = .aborted
        case .resourceExhausted: self = .resourceExhausted
        case .unavailable: self = .unavailable
        case .deadlineExceeded: self = .deadlineExceeded
        case .canceled: self = .cancelled
        case .outOfRange: self = .outOfRange
        case .unauthenticated: self = .unauthenticated
        case .permissionDenied: self = .permissionDenied
        case .dataLoss: self = .dataLoss
        case .unimplemented: self = .unimplemented
        case .internalError: self = .internalError
        }
    }

    /// The reason of an error that names none: gRPC's own, or a stranger's.
    package var plainReason: Reason {
        // RPCError.Code is a struct of constants, so the compiler cannot see that this is all.
        switch self {
        case .invalidArgument: .malformedRequest
        case .notFound: .pathNotFound
        case .alreadyExists: .nameTaken
        case .failedPrecondition: .hostNotReady
        case .aborted: .storeConflict
        case .resourceExhausted: .requestTooLarge
        case .unavailable: .daemonUnreachable
        case .deadlineExceeded: .deadline
        case .cancelled: .opCancelled
        case .outOfRange: .revisionCompacted
        case .unauthenticated: .unauthenticated
        case .permissionDenied: .permissionDenied
        case .dataLoss: .stateUnreadable
        case .unimplemented: .unknownMethod
        default: .bug
        }
    }
}

extension Fault {
    /// What a transport refused before anybody read it: too large, not readable, not offered.
    package init(refusal error: RPCError) {
        let reason = error.code == .unimplemented ? Reason.unsupported : error.code.plainReason
        self.init(reason, error.message, cause: error.cause)
    }
}

/// An error as it came from a server.
package struct ReceivedFault: Error, Equatable, CustomStringConvertible {
    /// What went wrong. Its message has no op id.
    package var fault: Fault
    /// The operation it belongs to, when the server said so.
    package var operation: OperationID?
    /// What helps, in the server's words; the catalogue's when it sent none.
    package var remedy: String
    /// Whether the server said the reason itself; else it is the plain one of the error's code, and
    /// may be the transport's.
    package var namesReason: Bool

    /// Reads `error`, whoever sent it: a reason that is not in the catalogue becomes the plain
    /// one of its code, with the original in `metadata["reason"]`.
    package init(_ error: RPCError) {
        let status = (try? error.unpackGoogleRPCStatus()) ?? nil
        let info = status?.details.lazy.compactMap(\.errorInfo).first
        let known = info.flatMap { $0.domain == errorDomain ? Reason(rawValue: $0.reason) : nil }
        var fault = Fault(known ?? error.code.plainReason, error.message, cause: error.cause)
        fault.metadata = info?.metadata ?? [:]
        if known == nil, let info { fault.metadata["reason"] = info.reason }
        fault.violations =
            status?.details.lazy.compactMap(\.badRequest).first?.violations.map {
                FieldViolation($0.field, $0.violationDescription)
            } ?? []
        var operation: OperationID?
        var remedy: String?
        for any in status?.details.compactMap(\.any) ?? [] {
            if let info = try? Roost_Ops_V1_OpInfo(unpackingAny: any) {
                operation = OperationID(info.opID)
            } else if let help = try? Roost_Ops_V1_Remediation(unpackingAny: any) {
                remedy = help.text
            }
        }
        if operation == nil,
            let text = error.metadata[stringValues: opIDKey].first(where: { _ in true })
        {
            operation = OperationID(text)
        }
        if let operation, fault.message.hasSuffix(" (\(operation.short))") {
            fault.message.removeLast(operation.short.count + 3)
        }
        self.fault = fault
        namesReason = known != nil
        self.operation = operation
        self.remedy = remedy ?? fault.remedy
    }

    /// The message, ending with the op id when there is one.
    package var description: String {
        fault.message + (operation.map { " (\($0.short))" } ?? "")
    }
}
