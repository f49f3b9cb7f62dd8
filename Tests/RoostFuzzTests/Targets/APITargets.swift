import GRPCCore
import RoostModel
import SwiftProtobuf

@testable import RoostAPI

let apiTargets = [
    FuzzTarget(name: "api-json", check: json),
    FuzzTarget(name: "api-binary", check: binary),
    FuzzTarget(name: "api-error", check: errors),
]

/// A JSON body of a few messages: refused with its fields named, or translated.
private func json(_ input: [UInt8]) throws {
    var steering = Steering(input)
    let kind = steering.byte()
    let bytes = Array(steering.rest)
    do throws(Fault) {
        switch kind % 3 {
        case 0: try create(try readJSON(bytes))
        case 1: try update(try readJSON(bytes))
        default:
            let request: Roost_Compute_V1_ListVMsRequest = try readJSON(bytes)
            _ = try Selector(request.selector)
        }
    } catch {
        let known: Set<Reason> = [.malformedRequest, .invalidFields]
        try promise(known.contains(error.reason), "\(error.reason): \(error.message)")
    }
}

/// A protobuf body of the same messages.
private func binary(_ input: [UInt8]) throws {
    var steering = Steering(input)
    let kind = steering.byte()
    let bytes = Array(steering.rest)
    do {
        switch kind % 4 {
        case 0: try create(try .init(serializedBytes: bytes))
        case 1: try update(try .init(serializedBytes: bytes))
        case 2: try spec(try .init(serializedBytes: bytes))
        default:
            let time = try Google_Protobuf_Timestamp(serializedBytes: bytes)
            _ = Google_Protobuf_Timestamp(Timestamp(time))
        }
    } catch let fault as Fault {
        try promise(fault.reason == .invalidFields, "\(fault.reason): \(fault.message)")
    } catch let broken as BrokenPromise {
        throw broken
    } catch {
        return
    }
}

private func create(_ request: Roost_Compute_V1_CreateVMRequest) throws(Fault) {
    let draft = try VMDraft(request)
    _ = draft.violations()
}

private func update(_ request: Roost_Compute_V1_UpdateVMRequest) throws(Fault) {
    _ = try updateFields(request.updateMask.paths)
    _ = try VMDraft(request.vm).violations()
}

/// A complete spec comes back from its message as it went.
private func spec(_ message: Roost_Compute_V1_VMSpec) throws {
    let spec = try VMSpec(message)
    // What a caller has not validated may be larger than the message's fields.
    guard (0...Int(Int32.max)).contains(spec.restart.maxRestarts) else { return }
    let again = try VMSpec(Roost_Compute_V1_VMSpec(spec))
    try promise(again == spec, "\(spec) became \(again)")
}

/// An error of a server's: whatever its details are, it can be shown.
private func errors(_ input: [UInt8]) throws {
    var steering = Steering(input)
    let kind = steering.byte()
    var metadata = Metadata()
    metadata.addBinary(Array(steering.rest), forKey: "grpc-status-details-bin")
    metadata.addString(steering.text, forKey: opIDKey)
    let code = RPCError.Code(Status.Code(rawValue: Int(kind % 17)) ?? .unknown) ?? .unknown
    let received = ReceivedFault(RPCError(code: code, message: steering.text, metadata: metadata))
    _ = received.description
    _ = commands(in: received.remedy)
}
