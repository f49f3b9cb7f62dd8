import Crypto
import RoostAPI
import RoostControl
package import RoostModel
package import RoostOperations
import RoostStore
package import SwiftProtobuf

/// The context of a call: its op id, who asks, and the digest that tells a repeat from a reuse.
package func requestContext(
    _ method: String,
    _ message: some Message,
    validateOnly: Bool = false,
    answersWhenAccepted: Bool = false
) throws(Fault) -> RequestContext {
    guard let call = Call.current else {
        throw Fault(.bug, "\(method) was reached without a call")
    }
    if validateOnly { AuditedCall.current?.leaveNothing() }
    var options = BinaryEncodingOptions()
    options.useDeterministicOrdering = true
    let bytes: [UInt8]
    do {
        bytes = try message.serializedBytes(options: options)
    } catch {
        throw Fault(.malformedRequest, "cannot encode the request again", cause: error)
    }
    var hash = SHA256()
    hash.update(data: Array(method.utf8) + [0] + bytes)
    let digits = hash.finalize().map { byte in
        String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
    }
    return RequestContext(
        operation: call.operation,
        principal: Caller.current.principal,
        method: method,
        digest: digits.joined(),
        validateOnly: validateOnly,
        answersWhenAccepted: answersWhenAccepted,
        traceParent: call.trace?.description
    )
}

/// Says what the call that is served is about, for the audit trail: where no commit will say it.
func audit(_ kind: Event.Subject.Kind, _ name: String, detail: String = "") {
    AuditedCall.current?.about(.init(kind: kind, id: name, name: name), detail: detail)
}

/// The context of a call that changes one VM.
func mutation(
    _ method: String,
    _ request: some VMMutation
) throws(Fault) -> RequestContext {
    try requestContext(
        method,
        request,
        validateOnly: request.validateOnly,
        answersWhenAccepted: try answersWhenAccepted(request.wait)
    )
}

/// The message of a change.
func change(_ outcome: VMOutcome) -> Roost_Compute_V1_VMChange {
    var change = Roost_Compute_V1_VMChange()
    change.vm = Roost_Compute_V1_VM(outcome.vm, etag: etagText(outcome.etag))
    change.changed = outcome.changed
    return change
}

/// The project that a request means: the caller's own where it names none, else `default`.
///
/// - Throws: ``RoostModel/Reason/permissionDenied`` for another one than a caller is confined to.
func project(_ text: String) throws(Fault) -> ProjectView {
    guard let own = Caller.current.project else {
        return ProjectView(text.isEmpty ? "default" : text)
    }
    guard text.isEmpty || text == own else {
        throw Fault(
            .permissionDenied,
            "this caller is confined to the project \(own) and asked for \(shown(text))",
            metadata: ["project": own]
        )
    }
    return ProjectView(own, isConfined: true)
}

/// The projects that a list or watch means, as a filter has them: empty for every one. Every one that
/// there is for a confined caller is its own.
func projects(_ text: String) throws(Fault) -> String {
    guard text == "-" else { return try project(text).name }
    return Caller.current.project ?? ""
}

/// Whether a call is answered as soon as its operation is durable.
func answersWhenAccepted(_ until: Roost_Compute_V1_Wait.Until) throws(Fault) -> Bool {
    switch until {
    case .unspecified, .done: return false
    case .accepted: return true
    case .UNRECOGNIZED(let number): throw .invalid("wait", "\(number) is no moment")
    }
}

/// Reads an etag; empty means none.
func etag(_ text: String) throws(Fault) -> Revision? {
    if text.isEmpty { return nil }
    guard let number = Int64(text) else {
        throw .invalid("etag", "'\(shown(text))' is not from an earlier answer")
    }
    return Revision(number)
}

/// The text of an etag.
func etagText(_ revision: Revision?) -> String { revision.map { "\($0.number)" } ?? "" }

/// Reads an op id.
func operationID(_ text: String, field: String) throws(Fault) -> OperationID {
    guard let id = OperationID(text) else {
        throw .invalid(field, "'\(shown(text))' is not op- and 26 base32 characters")
    }
    return id
}
