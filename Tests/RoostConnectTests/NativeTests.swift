import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2
import RoostAPI
import RoostConnect
import RoostModel
import SwiftProtobuf
import Synchronization
import Testing

/// The library's own gRPC client against the port that also speaks Connect.
@Suite("Native gRPC on the same port", .timeLimit(.minutes(2)))
struct NativeTests {
    private typealias VMs = Roost_Compute_V1_VMService.Client
    private typealias Guests = Roost_Compute_V1_GuestService.Client

    private func client(_ port: Int) throws -> HTTP2ClientTransport.Posix {
        try .http2NIOPosix(
            target: .ipv4(address: "127.0.0.1", port: port),
            transportSecurity: .plaintext
        )
    }

    @Test func aCallAnswersOverTCP() async throws {
        let vm = try await Serving().run { port in
            try await withGRPCClient(transport: try client(port)) { client in
                try await VMs(wrapping: client).createVM(
                    .with {
                        $0.name = "native"
                        $0.spec.cpu.cores = 1
                        $0.spec.memory.sizeMib = 512
                    }
                )
            }
        }
        #expect(vm.name == "native" && vm.status.state == .stopped)
    }

    @Test func aCallAnswersOverTheUnixSocket() async throws {
        let path = "/tmp/roost-native-\(ProcessInfo.processInfo.processIdentifier).sock"
        let serving = Serving(.unix(path: path))
        _ = try await serving.run { _ in
            try await withGRPCClient(
                transport: try .http2NIOPosix(
                    target: .unixDomainSocket(path: path, authority: "localhost"),
                    transportSecurity: .plaintext
                )
            ) { client in
                try await VMs(wrapping: client).createVM(
                    .with {
                        $0.name = "native"
                        $0.spec.cpu.cores = 1
                        $0.spec.memory.sizeMib = 512
                    }
                )
            }
        }
        let seen = serving.vms.seen.withLock { $0 }
        guard case .local(let uid, _, _) = try #require(seen.first?.peer) else {
            Issue.record("no credentials: \(seen)")
            return
        }
        #expect(uid == getuid())
    }

    @Test func anErrorComesBackAsTheFaultItWas() async throws {
        let operation = try #require(OperationID("op-01kagr00000000000000000042"))
        let error = try await Serving().run { port in
            try await withGRPCClient(transport: try client(port)) { client in
                await #expect(throws: RPCError.self) {
                    try await VMs(wrapping: client).getVM(
                        .with { $0.id = "x" },
                        metadata: [opIDKey: .string(operation.description)]
                    )
                }
            }
        }
        let received = ReceivedFault(try #require(error))
        #expect(received.fault == Fault(.vmNotFound, "no VM 'éx'", metadata: ["vm": "x"]))
        #expect(received.operation == operation)
        #expect(received.description == "no VM 'éx' (op-000042)")
        #expect(received.remedy == "list the VMs: roost ls -a")
    }

    @Test func anUnknownMethodHasAReasonAndAnOpID() async throws {
        let error = try await Serving().run { port in
            try await withGRPCClient(transport: try client(port)) { client in
                await #expect(throws: RPCError.self) {
                    _ = try await Roost_Image_V1_ImageService.Client(wrapping: client)
                        .listImages(.init())
                }
            }
        }
        let received = ReceivedFault(try #require(error))
        #expect(received.fault.reason == .unknownMethod)
        #expect(received.operation == madeOperation)
    }

    @Test func aCommandIsTalkedToBothWays() async throws {
        let (session, outputs, code) = try await Serving().run { port in
            try await withGRPCClient(transport: try client(port)) { client in
                let (answers, answer) = AsyncStream.makeStream(of: Int.self)
                return try await Guests(wrapping: client).exec { writer in
                    try await writer.write(.with { $0.start.arguments = ["cat"] })
                    var turn = answers.makeAsyncIterator()
                    for piece in ["one", "two"] {
                        // Says the next thing only after the answer to the last.
                        _ = await turn.next()
                        try await writer.write(.with { $0.stdin = Data(piece.utf8) })
                    }
                    _ = await turn.next()
                    try await writer.write(.with { $0.endOfInput = .init() })
                } onResponse: { response in
                    var session = ""
                    var outputs: [String] = []
                    var code: Int32 = -1
                    for try await part in response.messages {
                        switch part.message {
                        case .started(let started): session = started.session
                        case .stdout(let data):
                            outputs.append(String(decoding: data, as: UTF8.self))
                        case .exit(let exit): code = exit.code
                        case .stderr, nil: break
                        }
                        answer.yield(outputs.count)
                    }
                    return (session, outputs, code)
                }
            }
        }
        #expect(session == madeOperation.description)
        #expect(outputs == ["one", "two"])
        #expect(code == 3)
    }

    @Test func aLargeStreamArrivesWhole() async throws {
        let count = try await Serving().run { port in
            try await withGRPCClient(transport: try client(port)) { client in
                try await Guests(wrapping: client).copyOut(.init()) { response in
                    var count = 0
                    for try await part in response.messages { count += part.data.count }
                    return count
                }
            }
        }
        #expect(count == 160 * 65_536)
    }

    @Test func aDeadlineEndsTheCallAtOnce() async throws {
        let error = try await Serving().run { port in
            try await withGRPCClient(transport: try client(port)) { client in
                await #expect(throws: RPCError.self) {
                    var options = CallOptions.defaults
                    options.timeout = .milliseconds(200)
                    _ = try await VMs(wrapping: client).getVM(
                        Roost_Compute_V1_GetVMRequest.with { $0.id = "slow" },
                        options: options
                    )
                }
            }
        }
        #expect(error?.code == .deadlineExceeded)
    }

    @Test func healthAndReflectionAnswer() async throws {
        let (health, unknown, names, files) = try await Serving().run { port in
            try await withGRPCClient(transport: try client(port)) { client in
                let checks = Grpc_Health_V1_Health.Client(wrapping: client)
                let health = try await checks.check(
                    .with { $0.service = "roost.compute.v1.VMService" }
                )
                let unknown = await #expect(throws: RPCError.self) {
                    try await checks.check(.with { $0.service = "none" })
                }
                let (names, files) =
                    try await Grpc_Reflection_V1_ServerReflection
                    .Client(wrapping: client).serverReflectionInfo { writer in
                        try await writer.write(.with { $0.listServices = "*" })
                        try await writer.write(
                            .with { $0.fileContainingSymbol = "roost.compute.v1.VMService" }
                        )
                    } onResponse: { response in
                        var names: [String] = []
                        var files: [Data] = []
                        for try await part in response.messages {
                            names += part.listServicesResponse.service.map(\.name)
                            files += part.fileDescriptorResponse.fileDescriptorProto
                        }
                        return (names, files)
                    }
                return (health, unknown, names, files)
            }
        }
        #expect(health.status == .serving)
        #expect(unknown?.code == .notFound)
        #expect(names == ["roost.compute.v1.VMService"])
        let read = try files.map { try Google_Protobuf_FileDescriptorProto(serializedBytes: $0) }
        #expect(read.first?.name == "roost/compute/v1/vm_service.proto")
        #expect(read.contains { $0.name == "google/protobuf/timestamp.proto" })
    }

    @Test func theLibrarysOwnTransportGetsOpIDsToo() async throws {
        let transport = HTTP2ServerTransport.Posix(
            address: .ipv4(host: "127.0.0.1", port: 0),
            transportSecurity: .plaintext
        )
        let server = GRPCServer(
            transport: IdentifiedTransport(transport) { madeOperation },
            services: [TestVMs()],
            interceptors: standardInterceptors()
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve() }
            let port = try await transport.listeningAddress.ipv4?.port ?? 0
            let errors = try await withGRPCClient(transport: try client(port)) { client in
                [
                    await #expect(throws: RPCError.self) {
                        try await VMs(wrapping: client).getVM(.with { $0.id = "x" })
                    },
                    await #expect(throws: RPCError.self) {
                        _ = try await Guests(wrapping: client).stat(.init())
                    },
                ]
            }
            let received = errors.compactMap { $0 }.map { ReceivedFault($0) }
            #expect(received.map(\.fault.reason) == [.vmNotFound, .unknownMethod])
            #expect(received.map(\.operation) == [madeOperation, madeOperation])
            server.beginGracefulShutdown()
        }
    }
}
