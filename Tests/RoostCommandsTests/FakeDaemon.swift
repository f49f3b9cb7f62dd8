import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2
import RoostAPI
import RoostLinux
import RoostModel
import SwiftProtobuf
import Synchronization
import Testing

@testable import RoostCommands

/// What a daemon says of itself, as a test wants it.
final class FakeAbout: Roost_Ops_V1_DaemonService.SimpleServiceProtocol {
    let info = Mutex(
        Roost_Ops_V1_DaemonInfo.with {
            $0.version = Product.version
            $0.pid = 4711
            $0.driver = "simulated"
            $0.role = "standalone"
        }
    )
    let findings = Mutex<[Roost_Ops_V1_Finding]>([])
    let leaks = Mutex<[Roost_Ops_V1_Leak]>([])

    func getInfo(
        request: Roost_Ops_V1_GetInfoRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_DaemonInfo { info.withLock { $0 } }

    func shutdown(
        request: Roost_Ops_V1_ShutdownRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_ShutdownResponse {
        throw Fault(.daemonBusy, "2 operations run")
    }

    func runDoctor(
        request: Roost_Ops_V1_RunDoctorRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_RunDoctorResponse {
        let findings = findings.withLock { $0 }
        return .with { $0.findings = findings }
    }

    func scanLeaks(
        request: Roost_Ops_V1_ScanLeaksRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_ScanLeaksResponse {
        let leaks = leaks.withLock { $0 }
        return .with { $0.leaks = leaks }
    }
}

/// What nodes say of their bytes, as a test wants it.
final class FakeUsage: Roost_Ops_V1_UsageService.SimpleServiceProtocol {
    let answer = Mutex(Roost_Ops_V1_GetUsageResponse())

    func getUsage(
        request: Roost_Ops_V1_GetUsageRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_GetUsageResponse { answer.withLock { $0 } }
}

/// A gRPC server on a Unix socket with services in memory, and the command line against it.
struct FakeDaemon: Sendable {
    let vms = FakeVMs()
    let guest: FakeGuest
    let about = FakeAbout()
    let usage = FakeUsage()
    let directory: String
    var socket: String { directory + "/roost.sock" }

    /// Serves while `body` runs.
    static func serving(_ body: (FakeDaemon) async throws -> Void) async throws {
        let directory = "/tmp/roost-cli-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(
            atPath: directory,
            withIntermediateDirectories: true
        )
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let daemon = FakeDaemon(directory: directory)
        let server = GRPCServer(
            transport: IdentifiedTransport(
                HTTP2ServerTransport.Posix(
                    address: .unixDomainSocket(path: daemon.socket),
                    transportSecurity: .plaintext
                )
            ) { newOperation() },
            services: [daemon.vms, daemon.guest, daemon.about, daemon.usage],
            interceptors: standardInterceptors()
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve() }
            _ = try await server.transport.base.listeningAddress
            try await body(daemon)
            // Not cancelled: a stream that comes in that moment would trap in the library.
            server.beginGracefulShutdown()
        }
    }

    private init(directory: String) {
        self.directory = directory
        guest = FakeGuest(vms)
    }

    /// What a run of `roost` did.
    struct Outcome: Equatable {
        var status: Int32
        var output: String
        var errors: String
    }

    /// Runs `roost` with `arguments` and `input`, against this daemon.
    func roost(
        _ arguments: String...,
        input: String = "",
        environment: [String: String] = [:]
    ) async throws -> Outcome {
        try await roost(arguments, input: input, environment: environment)
    }

    /// As the other one.
    func roost(
        _ arguments: [String],
        input: String,
        environment: [String: String]
    ) async throws -> Outcome {
        let base = "\(directory)/\(UUID().uuidString)"
        let paths = ["\(base).in", "\(base).out", "\(base).err"]
        try Data(input.utf8).write(to: URL(filePath: paths[0]))
        for path in paths[1...] { try Data().write(to: URL(filePath: path)) }
        let files = try paths.map { path in
            try #require(FileHandle(forUpdatingAtPath: path))
        }
        var surroundings = ["HOME": directory, "ROOST_SOCKET": socket]
        surroundings.merge(environment) { $1 }
        let invocation = Invocation(
            environment: surroundings,
            input: files[0].fileDescriptor,
            output: files[1].fileDescriptor,
            errors: files[2].fileDescriptor
        )
        let status = await roostMain(arguments, in: invocation)
        for file in files { try file.close() }
        return Outcome(
            status: status,
            output: try String(contentsOfFile: paths[1], encoding: .utf8),
            errors: try String(contentsOfFile: paths[2], encoding: .utf8)
        )
    }
}

/// A new op id.
func newOperation() -> OperationID {
    Surroundings(
        clock: ContinuousClock(),
        wall: SystemWallClock(),
        entropy: EntropySource()
    ).operationID()
}
