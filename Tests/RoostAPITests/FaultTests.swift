import GRPCCore
import GRPCProtobuf
import RoostAPI
import RoostModel
import SwiftProtobuf
import Testing

@Suite("Faults on the wire")
struct FaultTests {
    private let operation = OperationID(bits: 0x0193_0000_0000_0000_0000_0000_0000_0042)

    @Test(arguments: Reason.allCases)
    func everyReasonComesBackAsItWas(reason: Reason) {
        let fault = Fault(
            reason,
            "what happened to 'x'",
            violations: [FieldViolation("spec.cpu", "is required")],
            metadata: ["vm": "x", "op": "op-1"]
        )
        let received = ReceivedFault(RPCError(fault).identified(as: operation))
        #expect(received.fault == fault)
        #expect(received.fault.code == fault.code)
        #expect(received.operation == operation)
        #expect(received.remedy == fault.remedy)
        #expect(received.description == "what happened to 'x' (\(operation.short))")
    }

    @Test func theCauseIsNeverSent() throws {
        struct Secret: Error, CustomStringConvertible { let description = "password" }
        let fault = Fault(.ioFailed, "cannot write", cause: Secret())
        let error = RPCError(fault).identified(as: operation)
        let bytes = error.metadata[binaryValues: "grpc-status-details-bin"].flatMap { $0 }
        #expect(!bytes.isEmpty)
        #expect(!String(decoding: bytes, as: UTF8.self).contains("password"))
    }

    @Test func identifyingTwiceChangesNothing() {
        let once = RPCError(Fault(.inUse, "m", metadata: ["users": "a"])).identified(as: operation)
        #expect(once.identified(as: operation) == once)
    }

    @Test func aReasonOfANewerServerKeepsItsNameAndCode() throws {
        let status = GoogleRPCStatus(
            code: .resourceExhausted,
            message: "no",
            details: [.errorInfo(reason: "BRAND_NEW", domain: "roost", metadata: ["a": "b"])]
        )
        let received = ReceivedFault(RPCError(status))
        #expect(received.fault.code == .resourceExhausted)
        #expect(received.fault.metadata == ["a": "b", "reason": "BRAND_NEW"])
        #expect(received.operation == nil)
    }

    @Test func anErrorWithoutDetailsGetsAPlainReason() {
        let received = ReceivedFault(RPCError(code: .unavailable, message: "connection refused"))
        #expect(received.fault.reason == .daemonUnreachable)
        #expect(received.description == "connection refused")
    }

    @Test func theCommandsOfARemedyStandAlone() throws {
        let status = GoogleRPCStatus(Fault(.needsForce, "it runs", metadata: ["vm": "web"]))
        let any = try #require(status.details.compactMap(\.any).first)
        let help = try Roost_Ops_V1_Remediation(unpackingAny: any)
        #expect(help.text == "stop it first: roost stop web, or use --force")
        #expect(help.commands == ["roost stop web"])
    }

    @Test func anOperationsErrorIsTheSameStatus() {
        let status = Google_Rpc_Status(Fault(.diskFull, "no room", metadata: ["path": "/x"]))
        #expect(status.code == 8)
        #expect(status.details.contains { $0.isA(Google_Rpc_ErrorInfo.self) })
        #expect(status.details.contains { $0.isA(Roost_Ops_V1_Remediation.self) })
    }
}
