import Foundation
import RoostAPI
import RoostConnect
import RoostModel
import SwiftProtobuf
import Synchronization
import Testing

private let create = "roost.compute.v1.VMService/CreateVM"
private let good =
    #"{"name":"test-vm","spec":{"cpu":{"cores":2},"memory":{"size_mib":2048}}}"#

@Suite("Connect unary over a real socket", .timeLimit(.minutes(2)))
struct UnaryTests {
    @Test(arguments: ["roost", "limiquantix"])
    func thePublishedCurlLineAnswersWithTheVM(package: String) async throws {
        let answer = try await Serving().run { port in
            try await post(port, "\(package).compute.v1.VMService/CreateVM", good)
        }
        #expect(answer.status == 200)
        #expect(answer.headers["content-type"] == "application/json")
        #expect(answer.json["name"] as? String == "test-vm")
        #expect(answer.json["id"] as? String == "00000000000000000000000000000007")
        let status = answer.json["status"] as? [String: Any]
        #expect(status?["state"] as? String == "STOPPED")
        #expect(status?["since"] as? String == "2023-11-14T22:13:20.123Z")
        let memory = (answer.json["spec"] as? [String: Any])?["memory"] as? [String: Any]
        #expect(memory?["sizeMib"] as? String == "2048")
        #expect(answer.headers["roost-op-id"] == madeOperation.description)
    }

    @Test(arguments: ["--http1.1", "--http2-prior-knowledge"])
    func bothHTTPVersionsAreServedOnOnePort(version: String) async throws {
        let answer = try await Serving().run { try await post($0, create, good, [version]) }
        #expect(answer.status == 200)
        #expect(answer.json["name"] as? String == "test-vm")
    }

    @Test(arguments: [
        (#"{"name":"a","spec":{"cpu":{"cores":1},"memory":{"sizeMib":"512"}},"new":[1]}"#, "512"),
        (#"{"name":"a","spec":{"cpu":{"cores":1},"memory":{"size_mib":512,"x":{}}}}"#, "512"),
    ])
    func bothCasingsAreReadAndUnknownFieldsAreIgnored(body: String, mib: String) async throws {
        let answer = try await Serving().run { try await post($0, create, body) }
        let memory = (answer.json["spec"] as? [String: Any])?["memory"] as? [String: Any]
        #expect(memory?["sizeMib"] as? String == mib)
    }

    @Test func binaryProtobufWorksOnTheSamePath() async throws {
        var request = Roost_Compute_V1_CreateVMRequest()
        request.name = "bin"
        request.spec.cpu.cores = 1
        request.spec.memory.sizeMib = 512
        let body: Data = try request.serializedBytes()
        let answer = try await Serving().run { port in
            try await curl(
                ["-H", "Content-Type: application/proto", "http://127.0.0.1:\(port)/\(create)"],
                input: body
            )
        }
        #expect(answer.headers["content-type"] == "application/proto")
        let vm = try Roost_Compute_V1_VM(serializedBytes: answer.body)
        #expect(vm.name == "bin" && vm.status.state == .stopped)
    }

    @Test func aMissingCPUIsNamedInTextDetailsAndStatus() async throws {
        let answer = try await Serving().run { port in
            try await post(port, create, #"{"name":"x","spec":{"memory":{"size_mib":1}}}"#)
        }
        #expect(answer.status == 400)
        #expect(answer.json["code"] as? String == "invalid_argument")
        let message = try #require(answer.json["message"] as? String)
        #expect(message.contains("spec.cpu"))
        #expect(message.hasSuffix(" (\(madeOperation.short))"))
        let bad = try Google_Rpc_BadRequest(
            serializedBytes: try #require(answer.details["google.rpc.BadRequest"])
        )
        #expect(bad.fieldViolations.map(\.field) == ["spec.cpu", "spec.memory.size_mib"])
        let info = try Google_Rpc_ErrorInfo(
            serializedBytes: try #require(answer.details["google.rpc.ErrorInfo"])
        )
        #expect(info.reason == "INVALID_FIELDS" && info.domain == "roost")
        let op = try Roost_Ops_V1_OpInfo(
            serializedBytes: try #require(answer.details["roost.ops.v1.OpInfo"])
        )
        #expect(op.opID == madeOperation.description)
        #expect(answer.details["roost.ops.v1.Remediation"] != nil)
    }

    @Test(arguments: [
        (#"{"name":7}"#, "name: wants a string, not a number"),
        (#"{"spec":{"cpu":{"cores":"many"}}}"#, "spec.cpu.cores: wants a whole number"),
        (#"{"spec":{"cpu":{"cores":1.5}}}"#, "spec.cpu.cores: wants a whole number, not 1.5"),
        (#"{"spec":{"cpu":[]}}"#, "spec.cpu: wants an object, not an array"),
        (#"{"labels":{"a":1}}"#, "labels[a]: wants a string"),
        (#"{"spec":{"ports":[{"protocol":"SCTP"}]}}"#, "'SCTP' is not one of TCP, UDP"),
        (#"{"spec":{"network":{"mode":"BRIDGE"}},"x":1}"#, "spec.network.mode: 'BRIDGE'"),
        (#"{"name":"#, "not JSON"), ("[]", "an array, not a JSON object"),
    ])
    func aMalformedBodyIsRefusedNamingTheField(body: String, text: String) async throws {
        let answer = try await Serving().run { try await post($0, create, body) }
        #expect(answer.status == 400)
        let message = try #require(answer.json["message"] as? String)
        #expect(message.contains(text))
        #expect(message.hasSuffix(" (\(madeOperation.short))"))
        let info = try Google_Rpc_ErrorInfo(
            serializedBytes: try #require(answer.details["google.rpc.ErrorInfo"])
        )
        #expect(info.reason == "MALFORMED_REQUEST")
    }

    @Test func anEmptyBodyIsTheEmptyMessage() async throws {
        let answer = try await Serving().run { try await post($0, create, "") }
        #expect(answer.status == 400)
        #expect(answer.text.contains("INVALID") || answer.text.contains("name: is empty"))
    }

    @Test func anUnknownMethodIsUnimplementedWithAnOpID() async throws {
        let operation = "op-01kagr00000000000000000042"
        let answer = try await Serving().run { port in
            try await post(
                port,
                "roost.compute.v1.VMService/Explode",
                "{}",
                [
                    "-H", "roost-op-id: \(operation)",
                ]
            )
        }
        #expect(answer.status == 501)
        #expect(answer.json["code"] as? String == "unimplemented")
        #expect(answer.headers["roost-op-id"] == operation)
        #expect((answer.json["message"] as? String)?.hasSuffix(" (op-000042)") == true)
        let info = try Google_Rpc_ErrorInfo(
            serializedBytes: try #require(answer.details["google.rpc.ErrorInfo"])
        )
        #expect(info.reason == "UNKNOWN_METHOD")
    }

    @Test func theCallersOpIDAndTraceReachTheHandlerAndABadOpIDIsNamed() async throws {
        let serving = Serving()
        let operation = "op-01kagr00000000000000000042"
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        let (answer, refused) = try await serving.run { port in
            (
                try await post(
                    port,
                    create,
                    good,
                    [
                        "-H", "roost-op-id: \(operation)", "-H", "traceparent: \(trace)",
                    ]
                ),
                try await post(port, create, good, ["-H", "roost-op-id: op-nonsense"])
            )
        }
        #expect(answer.headers["roost-op-id"] == operation)
        let seen = serving.vms.seen.withLock { $0 }
        #expect(seen.count == 1)
        #expect(seen.first?.call?.operation == OperationID(operation))
        #expect(seen.first?.call?.trace?.description == trace)
        #expect(refused.status == 400)
        #expect(refused.text.contains("op-nonsense"))
        let info = try Google_Rpc_ErrorInfo(
            serializedBytes: try #require(refused.details["google.rpc.ErrorInfo"])
        )
        #expect(info.reason == "OP_ID_INVALID")
    }

    @Test func aBodyOverFourMebibytesIsRefusedBeforeAndAfterInflating() async throws {
        let large = #"{"name":""# + String(repeating: "a", count: 4 << 20) + #""}"#
        let bomb = try await gzip(Data(large.utf8))
        #expect(bomb.count < 1 << 16)
        let (plain, packed) = try await Serving().run { port in
            (
                try await post(port, create, large),
                try await curl(
                    [
                        "-H", "Content-Type: application/json", "-H", "Content-Encoding: gzip",
                        "http://127.0.0.1:\(port)/\(create)",
                    ],
                    input: bomb
                )
            )
        }
        for answer in [plain, packed] {
            #expect(answer.status == 429)
            let info = try Google_Rpc_ErrorInfo(
                serializedBytes: try #require(answer.details["google.rpc.ErrorInfo"])
            )
            #expect(info.reason == "REQUEST_TOO_LARGE")
        }
    }

    @Test func gzippedRequestsAreRead() async throws {
        let body = try await gzip(Data(good.utf8))
        let answer = try await Serving().run { port in
            try await curl(
                [
                    "-H", "Content-Type: application/json", "-H", "Content-Encoding: gzip",
                    "http://127.0.0.1:\(port)/\(create)",
                ],
                input: body
            )
        }
        #expect(answer.status == 200)
        #expect(answer.json["name"] as? String == "test-vm")
    }

    @Test func aDeadlineEndsTheCallAtOnce() async throws {
        // The handler takes ten minutes unless it is cancelled; the suite's time limit would say so.
        let answer = try await Serving().run { port in
            try await post(
                port,
                "roost.compute.v1.VMService/GetVM",
                #"{"id":"slow"}"#,
                [
                    "-H", "Connect-Timeout-Ms: 200",
                ]
            )
        }
        #expect(answer.status == 504)
        #expect(answer.json["code"] as? String == "deadline_exceeded")
    }

    @Test func errorsThatNobodyForesawHaveAReasonAndAnOpID() async throws {
        let answer = try await Serving().run { port in
            try await post(port, "roost.compute.v1.VMService/GetVM", #"{"id":"bug"}"#)
        }
        #expect(answer.status == 500)
        #expect((answer.json["message"] as? String)?.hasSuffix(" (op-000022)") == true)
        let info = try Google_Rpc_ErrorInfo(
            serializedBytes: try #require(answer.details["google.rpc.ErrorInfo"])
        )
        #expect(info.reason == "INTERNAL")
    }

    @Test func pagesWrongVerbsAndWrongTypesAreToldApart() async throws {
        let (health, none, verb, type) = try await Serving().run { port in
            (
                try await curl(["-X", "GET", "http://127.0.0.1:\(port)/healthz?x=1"]),
                try await curl(["-X", "GET", "http://127.0.0.1:\(port)/nothing"]),
                try await curl(["-X", "GET", "http://127.0.0.1:\(port)/\(create)"]),
                try await curl(["-H", "Content-Type: text/x", "http://127.0.0.1:\(port)/\(create)"])
            )
        }
        #expect(health.status == 200 && health.text.hasPrefix("ok from ipv4:127.0.0.1:"))
        #expect(none.status == 404)
        #expect(verb.status == 405 && verb.headers["allow"] == "POST")
        #expect(type.status == 415)
        #expect(type.headers["roost-op-id"] == madeOperation.description)
    }

    @Test func aUnixSocketServesCurlAndSaysWhoCalls() async throws {
        let path = "/tmp/roost-connect-\(ProcessInfo.processInfo.processIdentifier).sock"
        let serving = Serving(.unix(path: path))
        let (answer, mode) = try await serving.run { _ in
            let answer = try await curl(
                [
                    "--unix-socket", path, "-H", "Content-Type: application/json",
                    "http://x/\(create)",
                ],
                input: Data(good.utf8)
            )
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            return (answer, attributes[.posixPermissions] as? Int)
        }
        #expect(answer.status == 200)
        #expect(mode == 0o600)
        let seen = serving.vms.seen.withLock { $0 }
        guard case .local(let uid, let gid, let pid) = try #require(seen.first?.peer) else {
            Issue.record("no credentials: \(seen)")
            return
        }
        #expect(uid == getuid() && gid == getgid() && pid > 1)
    }
}

/// `data` as the real gzip packs it.
func gzip(_ data: Data) async throws -> Data {
    let process = Process()
    process.executableURL = URL(filePath: "/bin/gzip")
    process.arguments = ["-9", "-c"]
    let (stdin, stdout) = (Pipe(), Pipe())
    process.standardInput = stdin
    process.standardOutput = stdout
    try process.run()
    let output = Thread.reading(stdout.fileHandleForReading)
    Thread.writing(data, to: stdin.fileHandleForWriting)
    var all = Data()
    for await piece in output { all.append(piece) }
    process.waitUntilExit()
    return all
}
