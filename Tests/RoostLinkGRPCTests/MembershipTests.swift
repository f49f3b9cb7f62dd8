import Foundation
import GRPCCore
import Logging
import RoostAPI
import RoostControl
import RoostLink
import RoostModel
import RoostOperations
import RoostScheduler
import RoostServices
import RoostStore
import RoostTrust
import Synchronization
import Testing

@testable import RoostLinkGRPC

/// The control plane's listener for nodes, over a real socket with mutual TLS.
@Suite("Membership over TLS", .timeLimit(.minutes(1)))
struct MembershipTests {
    @Test("who has no certificate yet may join, and nothing else")
    func strangers() async throws {
        try await withControl { control in
            let node = NodeID(bits: 1)
            let keys = KeyPair()
            let own = FleetCredentials(
                keys: keys,
                leaf: try Leaf.selfSigned(keys, at: now()),
                trust: control.authority.trust
            )
            try await control.call(own) { line in
                let fault = await #expect(throws: Fault.self) {
                    _ = try await line.beat(node, stateHash: 0, epoch: 0)
                }
                #expect(fault?.reason == .unauthenticated)
                let unknown = JoinToken(
                    id: [9, 9, 9, 9, 9, 9],
                    secret: Array(repeating: 1, count: 16),
                    fingerprint: control.authority.trust.fingerprint
                )
                let refused = await #expect(throws: Fault.self) {
                    _ = try await line.join(unknown, node: node, name: "a")
                }
                #expect(refused?.reason == .joinTokenInvalid)
                let token = try await control.token(uses: 1)
                let admission = try await line.join(token, node: node, name: "a")
                #expect(
                    try await admission.trust.identity(of: admission.leaf.certificate)
                        == .node(node)
                )
                // Its answer was lost: the same again is the same, and counts once.
                _ = try await line.join(token, node: node, name: "a")
                #expect(try await control.membership.tokens().map(\.usesLeft) == [0])
                let second = await #expect(throws: Fault.self) {
                    _ = try await line.join(token, node: NodeID(bits: 2), name: "b")
                }
                #expect(second?.reason == .joinTokenUsedUp)
            }
        }
    }

    @Test("a node speaks for itself alone, and for nobody once it was removed")
    func identities() async throws {
        try await withControl { control in
            let (one, two) = (NodeID(bits: 1), NodeID(bits: 2))
            let first = try await control.joined(one, "one")
            _ = try await control.joined(two, "two")
            try await control.call(first) { line in
                let other = await #expect(throws: Fault.self) {
                    _ = try await line.beat(two, stateHash: 0, epoch: 0)
                }
                #expect(other?.reason == .notThisNode)
                await #expect(throws: Fault.self) { _ = try await register(line, two) }
                // It has joined and not registered: it is asked to.
                #expect(try await line.beat(one, stateHash: 0, epoch: 0).mustRegister)
                _ = try await register(line, one)
                #expect(try await !line.beat(one, stateHash: 0, epoch: 0).mustRegister)
                let renewed = try await line.renew()
                #expect(
                    try await renewed.trust.identity(of: renewed.leaf.certificate) == .node(one)
                )
                _ = try await control.membership.remove("one", force: false)
                for body in [
                    { _ = try await line.beat(one, stateHash: 0, epoch: 0) },
                    { _ = try await register(line, one) },
                    { _ = try await line.renew() },
                ] as [@Sendable () async throws -> Void] {
                    let gone = await #expect(throws: Fault.self) { try await body() }
                    #expect(gone?.reason == .nodeRemoved)
                }
            }
        }
    }

    @Test("a certificate of the authority for a key that never joined is nobody's")
    func otherKey() async throws {
        try await withControl { control in
            let node = NodeID(bits: 1)
            _ = try await control.joined(node, "one")
            let keys = KeyPair()
            let leaf = try control.authority.issue(.node(node), to: keys.publicKey, at: now())
            let stolen = FleetCredentials(keys: keys, leaf: leaf, trust: control.authority.trust)
            try await control.call(stolen) { line in
                let fault = await #expect(throws: Fault.self) {
                    _ = try await line.beat(node, stateHash: 0, epoch: 0)
                }
                #expect(fault?.reason == .notThisNode)
            }
        }
    }

    @Test("what a node says of itself is checked, every field at once")
    func violations() async throws {
        try await withControl { control in
            let node = NodeID(bits: 1)
            let credentials = try await control.joined(node, "one")
            try await control.call(credentials) { line in
                let fault = await #expect(throws: Fault.self) {
                    _ = try await line.register(
                        node,
                        name: "one",
                        address: "127.0.0.1:70000",
                        capacity: NodeCapacity(cores: 0, memoryMiB: 1),
                        policy: OvercommitPolicy(cpuRatio: -1),
                        driver: "simulated",
                        version: "0",
                        holdings: NodeHoldings(
                            images: [.init(digest: "sha256:1", names: ["a b"])],
                            templates: ["what"]
                        )
                    )
                }
                let fields = fault?.violations.map(\.field) ?? []
                #expect(
                    fields == [
                        "address", "cores", "memory_mib", "overcommit.cpu_ratio",
                        "holdings.images[0].digest", "holdings.images[0].names[0]",
                        "holdings.templates[0]",
                    ]
                )
            }
        }
    }

    @Test("what a node has travels with its registration, and with a beat that says something else")
    func holdings() async throws {
        try await withControl { control in
            let node = NodeID(bits: 1)
            let credentials = try await control.joined(node, "one")
            let digest = "sha256:" + String(repeating: "a", count: 64)
            let shape = "aaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-c1-m512-d4-user"
            let first = NodeHoldings(
                images: [.init(digest: digest, names: ["debian-12", "x/y:z"], isDefault: true)],
                templates: [shape]
            )
            let known = { control.nodes.fleet.facts(node)?.artifacts }
            try await control.call(credentials) { line in
                _ = try await register(line, node, first)
                #expect(
                    known() == [
                        Artifact(.image, digest), Artifact(.image, "debian-12"),
                        Artifact(.image, "x/y:z"), Artifact(.template, shape),
                    ]
                )
                // The default is no name, and is found without one.
                let wishes = control.nodes.wishes(for: VMDraft(name: "vm", cores: 1))
                #expect(wishes.map(\.artifact) == [Artifact(.image, digest)])
                _ = try await line.beat(node, stateHash: 0, epoch: 0)
                #expect(known()?.count == 4)
                let other = NodeHoldings(images: [.init(digest: digest)])
                _ = try await line.beat(node, stateHash: 0, epoch: 0, holdings: other)
                #expect(known() == [Artifact(.image, digest)])
                let none = NodeHoldings()
                _ = try await line.beat(node, stateHash: 0, epoch: 0, holdings: none)
                #expect(known() == [])
                let images = (0...NodeHoldings.mostImages).map { _ in
                    NodeHoldings.Image(digest: digest)
                }
                let fault = await #expect(throws: Fault.self) {
                    let many = NodeHoldings(images: images)
                    _ = try await line.beat(node, stateHash: 0, epoch: 0, holdings: many)
                }
                #expect(fault?.violations.map(\.field) == ["holdings.images"])
            }
        }
    }
}

private func register(
    _ line: ControlLine,
    _ node: NodeID,
    _ holdings: NodeHoldings = NodeHoldings()
) async throws(Fault) -> Duration {
    try await line.register(
        node,
        name: "node",
        address: "127.0.0.1:9",
        capacity: NodeCapacity(cores: 4, memoryMiB: 4096),
        policy: OvercommitPolicy(),
        driver: "simulated",
        version: "0",
        holdings: holdings
    )
}

private func now() -> Timestamp {
    Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000))
}

private struct SystemTime: WallClock {
    func now() -> Timestamp {
        Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000))
    }
}

private final class Count: Entropy {
    private let last = Mutex<UInt64>(0)
    func next() -> UInt64 {
        last.withLock { last in
            last += 1
            return last
        }
    }
}

private struct NoFailpoints: Failpoints {
    func pass(_ point: Failpoint) async throws(Fault) {}
    func skips(_ point: Failpoint) -> Bool { false }
    func mark(_ marker: Marker) {}
}

/// Nodes are not called back.
private struct NoReach: NodeReach {
    let pool: DaemonPool
    func link(_ node: NodeID) -> any NodeLink { pool.link(node) }
    func set(_ node: NodeID, host: String, port: Int) {}
    func remove(_ node: NodeID) {}
}

private struct Control {
    let authority: Authority
    let membership: Membership
    let nodes: NodeDirectory
    let address: DaemonPool.Address
    let numbers: Count

    func token(uses: Int) async throws(Fault) -> JoinToken {
        let number = UInt8(truncatingIfNeeded: numbers.next())
        let token = JoinToken(
            id: [0, 0, 0, 0, 0, number],
            secret: Array(repeating: number, count: 16),
            fingerprint: authority.trust.fingerprint
        )
        _ = try await membership.createToken(
            id: token.id,
            secretDigest: token.secretDigest,
            uses: uses,
            ttlSeconds: 60,
            RequestContext(
                operation: OperationID(bits: .max - UInt128(number)),
                principal: "uid:0",
                method: "CreateJoinToken",
                digest: ""
            )
        )
        return token
    }

    func call(
        _ credentials: FleetCredentials,
        _ body: (ControlLine) async throws -> Void
    ) async throws {
        try await ControlLine.connected(
            to: address,
            credentials,
            expecting: .member(.control),
            body
        )
    }

    /// The credentials of a node that has joined.
    func joined(_ node: NodeID, _ name: String) async throws -> FleetCredentials {
        let keys = KeyPair()
        let own = FleetCredentials(
            keys: keys,
            leaf: try Leaf.selfSigned(keys, at: now()),
            trust: nil
        )
        let token = try await token(uses: 1)
        let admission = try await ControlLine.connected(
            to: address,
            own,
            expecting: .controlOf(fingerprint: token.fingerprint, Refusal())
        ) { line in try await line.join(token, node: node, name: name) }
        return FleetCredentials(keys: keys, leaf: admission.leaf, trust: admission.trust)
    }
}

private func withControl(_ body: @escaping @Sendable (Control) async throws -> Void) async throws {
    let authority = try Authority(at: now())
    let keys = KeyPair()
    let credentials = FleetCredentials(
        keys: keys,
        leaf: try authority.issue(.control, to: keys.publicKey, at: now()),
        trust: authority.trust
    )
    let log = Logger(label: "control") { _ in SwiftLogNoOpLogHandler() }
    let spawner = Spawner()
    let numbers = Count()
    let nodes = NodeDirectory()
    let vms = VMService(
        ControlParts(
            store: MemoryStore(disk: MemoryDisk()),
            nodes: nodes,
            surroundings: Surroundings(
                clock: ContinuousClock(),
                wall: SystemTime(),
                entropy: numbers
            ),
            failpoints: NoFailpoints(),
            spawner: spawner,
            log: log
        )
    )
    let reach = NoReach(pool: DaemonPool(credentials: credentials, log: log) { _ in })
    let timing = HeartbeatTiming(interval: .seconds(3))
    let membership = Membership(vms, reach: reach, timing: timing)
    let server = try FleetServer(
        host: "127.0.0.1",
        port: 0,
        credentials: credentials,
        admitsStrangers: true,
        services: [MembershipSkin(membership, authority, now: { now() })],
        interceptors: [],
        operationID: { OperationID(bits: 1) }
    )
    let cancelJobs = Signal()
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await server.serve() }
        group.addTask {
            await withTaskGroup(of: Void.self) { jobs in
                jobs.addTask { await spawner.run() }
                await cancelJobs.wait()
                jobs.cancelAll()
            }
        }
        let bound = try await server.address()
        let control = Control(
            authority: authority,
            membership: membership,
            nodes: nodes,
            address: .init(host: bound.host, port: bound.port),
            numbers: numbers
        )
        // A server that is cancelled while somebody connects traps: it is stopped, whatever happens.
        let outcome: Result<Void, any Error>
        do { outcome = .success(try await body(control)) } catch { outcome = .failure(error) }
        server.stop()
        spawner.finish()
        cancelJobs.set()
        try await group.waitForAll()
        try outcome.get()
    }
}
