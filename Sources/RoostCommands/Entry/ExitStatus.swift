internal import RoostModel

/// What this program ends with. `run`, `exec` and `sh` end with the guest's code instead, and with
/// 125 to 127 as docker has them when there is none.
enum ExitStatus {
    static let ok: Int32 = 0
    static let failed: Int32 = 1
    static let usage: Int32 = 2
    static let notFound: Int32 = 3
    static let conflict: Int32 = 4
    static let denied: Int32 = 5
    static let unavailable: Int32 = 6
    static let noCapacity: Int32 = 7
    static let deadline: Int32 = 124
    static let toolFailed: Int32 = 125
    static let commandNotExecutable: Int32 = 126
    static let commandNotFound: Int32 = 127
    static let interrupted: Int32 = 130
    /// Whoever read our output is gone, as a shell shows SIGPIPE.
    static let brokenPipe: Int32 = 141

    /// The status for a fault of `reason`.
    static func of(_ reason: Reason) -> Int32 {
        switch reason.code {
        case .invalidArgument: usage
        case .notFound: notFound
        case .alreadyExists, .failedPrecondition, .aborted: conflict
        case .unauthenticated, .permissionDenied: denied
        case .unavailable: unavailable
        case .resourceExhausted: noCapacity
        case .deadlineExceeded: deadline
        case .canceled: interrupted
        case .outOfRange, .dataLoss, .unimplemented, .internalError: failed
        }
    }

    /// The status of a command in a guest that did not begin, for `fault`.
    static func ofCommand(_ fault: Fault) -> Int32 {
        switch fault.reason {
        // The guest tells what is not there from what is there and cannot be run.
        case .commandNotFound where fault.metadata["exitCode"] == "126": commandNotExecutable
        case .commandNotFound: commandNotFound
        case .permissionDenied: commandNotExecutable
        default: toolFailed
        }
    }

    /// The status of a whole for those of its parts: theirs where they agree, else ``failed``.
    static func ofAll(_ parts: [Int32]) -> Int32 {
        let bad = Set(parts.filter { $0 != ok })
        guard let only = bad.first else { return ok }
        return bad.count == 1 ? only : failed
    }
}
