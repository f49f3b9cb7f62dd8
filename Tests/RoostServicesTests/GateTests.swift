import GRPCCore
import Logging
import RoostAPI
import RoostControl
import RoostModel
import RoostOperations
import RoostScheduler
import RoostStore
import RoostTrust
import Synchronization
import Testing

@testable import RoostServices

private let start = "roost.compute.v1.VMService/StartVM"
private let get = "roost.compute.v1.VMService/GetVM"
private let somewhere = Peer.network("10.0.0.1:4711")

/// Who gets in, and to what. The listeners around it are tested on the built programs.
@Suite("The gate", .timeLimit(.minutes(1)))
struct GateTests {
    @Test("a socket lets in its own user and root, and nobody whom the kernel does not name")
    func local() async throws {
        let gate = Gate(LocalDoor(owner: 1000))
        for uid: UInt32 in [0, 1000] {
            let caller = try await gate.admitted(start, [], .local(uid: uid, gid: 1, pid: 1))
            #expect(caller == Caller(principal: "uid:\(uid)", role: .admin))
        }
        let other = await #expect(throws: Fault.self) {
            try await gate.admitted(start, [], .local(uid: 1001, gid: 0, pid: 1))
        }
        #expect(other?.reason == .permissionDenied)
        for peer in [Peer.other("unix:"), somewhere] {
            let nobody = await #expect(throws: Fault.self) {
                try await gate.admitted(start, [], peer)
            }
            #expect(nobody?.reason == .unauthenticated)
        }
    }

    @Test("a method without a rule is refused to everybody, and health is for anybody")
    func rules() async throws {
        let gate = Gate(OpenDoor())
        let fault = await #expect(throws: Fault.self) {
            try await gate.admitted("roost.compute.v1.VMService/New", [], somewhere)
        }
        #expect(fault?.reason == .bug)
        let health = try await Gate(Scene().door).admitted(
            "grpc.health.v1.Health/Check",
            [],
            somewhere
        )
        #expect(health == .unknown)
    }

    @Test("no token, one that is cut, altered, unknown, of another fleet, or sent oddly is refused")
    func badTokens() async throws {
        let scene = try Scene()
        let gate = Gate(scene.door)
        let token = try await scene.token(.admin)
        let text = token.text.reveal()
        let other = AccessToken(
            id: Array(repeating: 1, count: 6),
            secret: Array(repeating: 2, count: 16),
            fingerprint: scene.fingerprint
        ).text.reveal()
        let foreign = AccessToken(
            id: Array(repeating: 1, count: 6),
            secret: Array(repeating: 2, count: 16),
            fingerprint: String(repeating: "0", count: 64)
        ).text.reveal()
        let cases: [([String], Reason, String)] = [
            ([], .unauthenticated, "no token"),
            (["Bearer \(text.dropLast())"], .accessTokenInvalid, "part of it is missing"),
            (["Bearer x\(text)"], .accessTokenInvalid, "no access token"),
            (["Bearer \(text.dropLast(8))00000000"], .accessTokenInvalid, "has been altered"),
            (["Bearer \(other)"], .accessTokenInvalid, "nobody here knows"),
            (["Bearer \(foreign)"], .accessTokenInvalid, "another fleet"),
            (["Basic \(text)"], .accessTokenInvalid, "not Bearer"),
            ([text], .accessTokenInvalid, "not Bearer"), ([""], .accessTokenInvalid, "not Bearer"),
            (["Bearer \(text)", "Bearer \(text)"], .accessTokenInvalid, "2 authorization"),
            (
                ["Bearer " + String(repeating: "x", count: 513)], .accessTokenInvalid,
                "more than 512 bytes"
            ),
        ]
        for (headers, reason, says) in cases {
            let fault = await #expect(throws: Fault.self) {
                try await gate.admitted(get, headers, somewhere)
            }
            #expect(fault?.reason == reason, "\(says)")
            #expect(fault?.message.contains(says) == true, "\(fault?.message ?? "")")
            let secret = text.split(separator: ".")[2]
            #expect(fault.map { "\($0)".contains(secret) } == false)
            #expect(fault?.code == .unauthenticated)
        }
        let admin = try await gate.admitted(start, ["bearer  \(text)"], somewhere)
        #expect(admin == Caller(principal: "token:\(token.id)", role: .admin))
    }

    @Test("too small a role is denied by name, and a token that was removed opens nothing more")
    func roles() async throws {
        let scene = try Scene()
        let gate = Gate(scene.door)
        let viewer = try await scene.token(.viewer, project: "web")
        let header = ["Bearer \(viewer.text.reveal())"]
        let caller = try await gate.admitted(get, header, somewhere)
        #expect(caller.project == "web" && caller.view == ProjectView("web", isConfined: true))
        let fault = await #expect(throws: Fault.self) {
            try await gate.admitted(start, header, somewhere)
        }
        #expect(fault?.reason == .permissionDenied)
        #expect(fault?.metadata["role"] == "viewer" && fault?.metadata["needs"] == "operator")
        let fleet = await #expect(throws: Fault.self) {
            try await gate.admitted("roost.fleet.v1.NodeService/ListNodes", header, somewhere)
        }
        #expect(fleet?.metadata["project"] == "web")
        _ = try await scene.tokens.delete(viewer.id, by: "uid:0")
        let gone = await #expect(throws: Fault.self) {
            try await gate.admitted(get, header, somewhere)
        }
        #expect(gone?.reason == .accessTokenInvalid)
    }

    @Test("a confined caller's project is its own; any other is denied, all is its own")
    func projects() throws {
        #expect(try RoostServices.project("") == "default")
        #expect(try RoostServices.projects("-") == "")
        try Caller.$current.withValue(.init(principal: "token:1", role: .viewer, project: "web")) {
            () throws in
            let own = ProjectView("web", isConfined: true)
            #expect(try RoostServices.project("") == own)
            #expect(try RoostServices.project("web") == own)
            #expect(try RoostServices.projects("-") == "web")
            for other in ["default", "Web", "web ", "-"] {
                let fault = #expect(throws: Fault.self) { try RoostServices.project(other) }
                #expect(fault?.reason == .permissionDenied)
            }
        }
    }

    @Test("refusals are logged without the token, and ten of them in a minute at most")
    func logging() async throws {
        let lines = Lines()
        let scene = try Scene(log: Logger(label: "gate") { _ in LineHandler(lines: lines) })
        let gate = Gate(scene.door)
        let text = try await scene.token(.viewer).text.reveal()
        let made = lines.all.count
        for _ in 0..<50 {
            await #expect(throws: Fault.self) {
                try await gate.admitted(get, ["Bearer \(text)x"], somewhere)
            }
        }
        #expect(lines.all.count - made == TokenDoor.loggedRefusals)
        #expect(lines.all.allSatisfy { !$0.contains(text.split(separator: ".")[2]) })
    }

    /// What a call comes to that is answered by `answer`, which fails with `before` or `after` a result.
    private func refusal(
        before: (any Error & Sendable)? = nil,
        after: (any Error & Sendable)? = nil
    ) async throws -> String? {
        let scene = try Scene()
        let gate = Gate(OpenDoor(), trail: scene.vms)
        let context = ServerContext(
            descriptor: MethodDescriptor(
                fullyQualifiedService: "roost.image.v1.ImageService",
                method: "DeleteImage"
            ),
            remotePeer: "ipv4:10.0.0.1:4711",
            localPeer: "ipv4:10.0.0.2:1",
            cancellation: ServerContext.RPCCancellationHandle()
        )
        let request = StreamingServerRequest<Int>(
            metadata: [:],
            messages: RPCAsyncSequence(wrapping: AsyncThrowingStream { $0.finish() })
        )
        let call = Call(operation: OperationID(bits: 9))
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await scene.spawner.run() }
            defer { group.cancelAll() }
            let end = await Task {
                try await Call.$current.withValue(call) {
                    let response = try await gate.intercept(request: request, context: context) {
                        _,
                        _ -> StreamingServerResponse<Int> in
                        if let before { throw before }
                        return StreamingServerResponse { _ in
                            if let after { throw after }
                            return [:]
                        }
                    }
                    _ = try await response.accepted.get().producer(
                        RPCWriter(wrapping: NoWriter())
                    )
                }
            }.result
            if before == nil && after == nil { try end.get() }
            while true {
                let rows = try await scene.vms.audit(AuditFilter(), limit: 9).rows
                if rows.count == 1, let row = rows.first { return row.refusal }
                try Task.checkCancellation()
                await Task.yield()
            }
        }
    }

    @Test(
        "a call that failed is refused in the trail, and one whose caller left with the answer is not"
    )
    func refusals() async throws {
        let missing = Fault(.imageNotFound, "none")
        #expect(try await refusal() == nil)
        #expect(try await refusal(before: missing) == "IMAGE_NOT_FOUND")
        #expect(try await refusal(before: CancellationError()) == "OP_CANCELLED")
        #expect(try await refusal(after: missing) == "IMAGE_NOT_FOUND")
        #expect(try await refusal(after: CancellationError()) == nil)
    }
}

private struct NoWriter: RPCWriterProtocol {
    func write(_ element: Int) async throws {}
    func write(contentsOf elements: some Sequence<Int>) async throws {}
}

/// A control plane's tokens, on a store in memory.
private struct Scene {
    let vms: VMService
    let spawner = Spawner()
    let tokens: AccessTokens
    let door: TokenDoor
    let fingerprint = String(repeating: "a", count: 64)

    init(log: Logger = Logger(label: "gate") { _ in SwiftLogNoOpLogHandler() }) throws {
        vms = VMService(
            ControlParts(
                store: MemoryStore(),
                nodes: NodeDirectory(strategy: .spread),
                surroundings: Surroundings(
                    clock: ContinuousClock(),
                    wall: Noon(),
                    entropy: SystemEntropy()
                ),
                failpoints: NoFailpoints(),
                spawner: spawner,
                log: log,
                epoch: 1
            )
        )
        tokens = AccessTokens(vms)
        door = TokenDoor(tokens, fingerprint: fingerprint, log: log)
    }

    func token(_ role: Role, project: String = "") async throws -> AccessToken {
        let token = AccessToken(
            id: Array(repeating: 7, count: 6),
            secret: Array(16..<32),
            fingerprint: fingerprint
        )
        _ = try await tokens.create(
            id: token.id,
            secretDigest: token.secretDigest,
            .init(name: "", role: role, project: project, ttlSeconds: 60),
            RequestContext(
                operation: OperationID(bits: 1),
                principal: "uid:0",
                method: "CreateAccessToken",
                digest: ""
            )
        )
        return token
    }
}

private struct Noon: WallClock {
    func now() -> Timestamp { Timestamp(milliseconds: 43_200_000) }
}

private struct SystemEntropy: Entropy {
    func next() -> UInt64 { .random(in: .min ... .max) }
}

/// What was logged.
private final class Lines: Sendable {
    private let lines = Mutex<[String]>([])
    var all: [String] { lines.withLock { $0 } }
    func add(_ line: String) { lines.withLock { $0.append(line) } }
}

private struct LineHandler: LogHandler {
    let lines: Lines
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    init(lines: Lines) { self.lines = lines }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { lines.add("\(event.message) \(event.metadata ?? [:])") }
}
