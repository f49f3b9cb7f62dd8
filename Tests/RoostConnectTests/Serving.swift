import Foundation
import GRPCCore
import Logging
import RoostAPI
import RoostConnect
import RoostModel
import SwiftProtobuf
import Synchronization
import Testing

extension Payload: WirePayload {}

/// The op id of every call that brings none.
let madeOperation = OperationID(bits: 0x0193_0000_0000_0000_0000_0000_0000_0042)

/// A server with a few real answers, run for one test.
struct Serving {
    let vms = TestVMs()
    var configuration: ConnectConfiguration
    private let isEnding: Bool

    init(_ address: ListenAddress = .tcp(host: "127.0.0.1", port: 0), isEnding: Bool = false) {
        self.isEnding = isEnding
        configuration = ConnectConfiguration(address: address)
        configuration.logger.logLevel = .error
        configuration.aliases = ["limiquantix.compute.v1.VMService": "roost.compute.v1.VMService"]
        configuration.routes = { request in
            request.path == "/healthz" ? WebResponse(text: "ok from \(request.remotePeer)\n") : nil
        }
    }

    /// Serves while `body` runs with the port (0 on a Unix socket), then shuts down in order.
    func run<Result: Sendable>(
        _ body: @escaping @Sendable (_ port: Int) async throws -> Result
    ) async throws -> Result {
        try await run { port, _ in try await body(port) }
    }

    /// As the other one, with the transport itself.
    func run<Result: Sendable>(
        _ body:
            @escaping @Sendable (_ port: Int, _ transport: ConnectTransport<Payload>) async throws
            -> Result
    ) async throws -> Result {
        let (ports, port) = AsyncStream.makeStream(of: Int.self)
        var configuration = configuration
        configuration.onListening = { text in
            port.yield(text.split(separator: ":").last.flatMap { Int($0) } ?? 0)
        }
        let transport = ConnectTransport<Payload>(configuration)
        let isEnding = isEnding
        let server = GRPCServer(
            transport: IdentifiedTransport(transport) { madeOperation },
            services: [
                vms, EchoGuests(), HealthService(services: ["roost.compute.v1.VMService"]),
                ReflectionService(services: ["roost.compute.v1.VMService"]),
            ],
            interceptors: [CallInterceptor(), CancellationInterceptor { isEnding }]
        )
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve() }
            for await port in ports {
                defer { server.beginGracefulShutdown() }
                return try await body(port, transport)
            }
            try await group.waitForAll()
            throw Fault(.bug, "the server never listened")
        }
    }
}

/// A VM service that keeps nothing, with answers that depend on the request.
final class TestVMs: Roost_Compute_V1_VMService.SimpleServiceProtocol {
    /// Yields when a watch has ended, with whether its task was cancelled.
    let watchEnds = AsyncStream.makeStream(of: Bool.self)
    /// Yields when a slow call begins, and when its task was cancelled.
    let slowCalls = AsyncStream.makeStream(of: Bool.self)
    /// What calls of the VM `stubborn` wait for, deaf to their cancellation.
    let release = AsyncStream.makeStream(of: Void.self)
    /// Peers and calls as the handlers saw them.
    let seen = Mutex<[(peer: Peer, call: Call?, host: String)]>([])

    func createVM(
        request: Roost_Compute_V1_CreateVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VM {
        seen.withLock { $0.append((Peer(context), Call.current, "")) }
        let draft = try VMDraft(request)
        let violations = draft.violations()
        guard violations.isEmpty else { throw Fault.invalid(violations) }
        let spec = VMSpec(
            cores: draft.cores ?? 0,
            memoryMiB: draft.memoryMiB ?? 0,
            image: "sha256:1",
            kernel: "sha256:2",
            ports: draft.ports
        )
        let now = Timestamp(milliseconds: 1_700_000_000_123)
        let vm = VM(
            id: VMID(bits: 7),
            name: draft.name,
            project: draft.project,
            labels: draft.labels,
            annotations: draft.annotations,
            spec: spec,
            desired: .stopped,
            status: VMStatus(state: .stopped, reason: "created", since: now),
            createdAt: now,
            operation: madeOperation
        )
        return Roost_Compute_V1_VM(vm, etag: "1")
    }

    /// Sends as many bookmarks as the revision says, then waits for ever.
    func watchVMs(
        request: Roost_Compute_V1_WatchVMsRequest,
        response: RPCWriter<Roost_Compute_V1_WatchVMsResponse>,
        context: ServerContext
    ) async throws {
        defer { watchEnds.continuation.yield(Task.isCancelled) }
        for revision in 0..<max(0, request.fromRevision) {
            try await response.write(
                .with {
                    $0.type = .bookmark
                    $0.revision = revision
                }
            )
        }
        if request.id == "end" { return }
        if request.id == "fail" { throw Fault(.revisionCompacted, "revision 1 is gone") }
        try await Task.sleep(for: .seconds(600))
    }

    func getVM(
        request: Roost_Compute_V1_GetVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VM {
        if request.id == "slow" {
            slowCalls.continuation.yield(false)
            defer { slowCalls.continuation.yield(Task.isCancelled) }
            try await Task.sleep(for: .seconds(600))
        }
        if request.id == "stubborn" {
            slowCalls.continuation.yield(false)
            let release = release.stream
            await Task { for await _ in release { return } }.value
        }
        if request.id == "bug" { throw Unexpected() }
        throw Fault(
            .vmNotFound,
            "no VM 'é\(request.id)'",
            metadata: ["vm": request.id]
        )
    }

    private struct Unexpected: Error {}

    private func refuse<Answer>(_ method: String) throws -> Answer {
        throw Fault(.unsupported, "\(method) is not part of this test")
    }

    func listVMs(
        request: Roost_Compute_V1_ListVMsRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_ListVMsResponse { try refuse("ListVMs") }
    func updateVM(
        request: Roost_Compute_V1_UpdateVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VM { try refuse("UpdateVM") }
    func startVM(
        request: Roost_Compute_V1_StartVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange { try refuse("StartVM") }
    func stopVM(
        request: Roost_Compute_V1_StopVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange { try refuse("StopVM") }
    func restartVM(
        request: Roost_Compute_V1_RestartVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange { try refuse("RestartVM") }
    func rebootVM(
        request: Roost_Compute_V1_RebootVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange { try refuse("RebootVM") }
    func killVM(
        request: Roost_Compute_V1_KillVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange { try refuse("KillVM") }
    func pauseVM(
        request: Roost_Compute_V1_PauseVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange { try refuse("PauseVM") }
    func resumeVM(
        request: Roost_Compute_V1_ResumeVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange { try refuse("ResumeVM") }
    func cloneVM(
        request: Roost_Compute_V1_CloneVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VM { try refuse("CloneVM") }

    func forkVM(
        request: Roost_Compute_V1_ForkVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_ForkVMResponse { try refuse("ForkVM") }

    func suspendVM(
        request: Roost_Compute_V1_SuspendVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange { try refuse("SuspendVM") }
    func deleteVM(
        request: Roost_Compute_V1_DeleteVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange { try refuse("DeleteVM") }
    func undeleteVM(
        request: Roost_Compute_V1_UndeleteVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange { try refuse("UndeleteVM") }
    func purgeVM(
        request: Roost_Compute_V1_PurgeVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange { try refuse("PurgeVM") }
    func resetVMState(
        request: Roost_Compute_V1_ResetVMStateRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VMChange { try refuse("ResetVMState") }
}

/// A guest service whose commands say back what they read.
struct EchoGuests: Roost_Compute_V1_GuestService.SimpleServiceProtocol {
    func exec(
        request: RPCAsyncSequence<Roost_Compute_V1_ExecRequest, any Error>,
        response: RPCWriter<Roost_Compute_V1_ExecResponse>,
        context: ServerContext
    ) async throws {
        for try await part in request {
            switch part.message {
            case .start:
                let session = Call.current?.operation.description ?? ""
                try await response.write(.with { $0.started.session = session })
            case .stdin(let bytes): try await response.write(.with { $0.stdout = bytes })
            case .endOfInput:
                try await response.write(.with { $0.exit.code = 3 })
                return
            case .resize, .signal, nil: throw Fault(.unsupported, "not part of this test")
            }
        }
    }

    func copyIn(
        request: RPCAsyncSequence<Roost_Compute_V1_CopyInRequest, any Error>,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_CopyInResponse {
        var count = 0
        for try await part in request {
            if case .data(let data) = part.message { count += data.count }
        }
        guard count > 0 else { throw Fault(.pathNotFound, "nothing came") }
        return .init()
    }

    func copyOut(
        request: Roost_Compute_V1_CopyOutRequest,
        response: RPCWriter<Roost_Compute_V1_CopyOutResponse>,
        context: ServerContext
    ) async throws {
        let piece = Data(repeating: 7, count: 65_536)
        for _ in 0..<160 { try await response.write(.with { $0.data = piece }) }
    }

    func stat(
        request: Roost_Compute_V1_StatRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_GuestPath { throw Fault(.pathNotFound, "none") }
    func readLog(
        request: Roost_Compute_V1_ReadLogRequest,
        response: RPCWriter<Roost_Compute_V1_ReadLogResponse>,
        context: ServerContext
    ) async throws { throw Fault(.pathNotFound, "none") }
    func getGuestStatus(
        request: Roost_Compute_V1_GetGuestStatusRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_GuestStatus { throw Fault(.pathNotFound, "none") }
    func waitVM(
        request: Roost_Compute_V1_WaitVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_WaitVMResponse { throw Fault(.pathNotFound, "none") }
}
