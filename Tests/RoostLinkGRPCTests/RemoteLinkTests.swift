import Foundation
import GRPCCore
import Logging
import RoostAPI
import RoostLink
import RoostModel
import RoostNode
import RoostTestKit
import RoostTrust
import Synchronization
import Testing

@testable import RoostLinkGRPC

@Suite("The link over gRPC", .timeLimit(.minutes(2)))
struct RemoteLinkTests {
    @Test("carries what a link must carry", arguments: NodeLinkConformance.all)
    func conforms(_ check: NodeLinkConformance) async throws {
        let scene = LinkScene()
        try await scene.run {
            try await withServedNode(scene) { served in
                try await check.run(served.link(as: .control), scene)
            }
        }
    }

    @Test("a node takes orders of nobody but its control plane")
    func strangers() async throws {
        let scene = LinkScene()
        try await scene.run {
            try await withServedNode(scene) { served in
                let other = FleetIdentity.node(NodeID(bits: 5))
                let denied = await #expect(throws: Fault.self) {
                    _ = try await served.link(as: other).observe()
                }
                #expect(denied?.reason == .permissionDenied)
                // Of another fleet, of none, and one that has ended: TLS itself refuses them.
                let foreign = try Authority(at: now())
                for credentials in [
                    try served.credentials(.control, of: foreign),
                    try served.selfMade(),
                    try served.credentials(.control, of: served.authority, from: -7200, for: 3600),
                ] {
                    let refused = await #expect(throws: Fault.self) {
                        _ = try await served.link(credentials).observe()
                    }
                    #expect(refused?.reason == .nodeUnreachable)
                }
            }
        }
    }

    @Test("a control plane speaks with no node but the one it means")
    func impostors() async throws {
        let scene = LinkScene()
        try await scene.run {
            try await withServedNode(scene, as: .node(NodeID(bits: 6))) { served in
                let fault = await #expect(throws: Fault.self) {
                    _ = try await served.link(as: .control).observe()
                }
                #expect(fault?.reason == .nodeUnreachable)
            }
        }
    }

    @Test("a dead node's calls fail at once, and a living one is not held up")
    func dead() async throws {
        let scene = LinkScene()
        try await scene.run {
            try await withServedNode(scene) { served in
                let pool = try served.pool(served.credentials(.control, of: served.authority))
                let dead = NodeID(bits: 1)
                pool.set(dead, at: .init(host: "127.0.0.1", port: try unusedPort()))
                pool.set(scene.local.node, at: served.address)
                let first = await #expect(throws: Fault.self) {
                    _ = try await pool.link(dead).observe()
                }
                #expect(first?.reason == .nodeUnreachable)
                for _ in 0..<200 {
                    await #expect(throws: Fault.self) { _ = try await pool.link(dead).observe() }
                    _ = try await pool.link(scene.local.node).observe()
                }
                let unknown = await #expect(throws: Fault.self) {
                    _ = try await pool.link(NodeID(bits: 2)).observe()
                }
                #expect(unknown?.reason == .nodeUnreachable)
                // For Prometheus: by how they ended, and without those that never went out.
                let told = pool.tally.exposition(isOpenMetrics: false)
                let observe =
                    "{grpc_service=\"roost.node.v1.NodeLinkService\",grpc_method=\"Observe\""
                let handled = "grpc_client_handled_total\(observe),grpc_code="
                #expect(told.contains("\(handled)\"OK\"} 200\n"), "\(told)")
                let tried = told.split(separator: "\n")
                    .first { $0.hasPrefix("\(handled)\"Unavailable\"} ") }
                    .flatMap { Int($0.split(separator: " ").last ?? "") }
                #expect((1..<100).contains(try #require(tried)), "\(told)")
            }
        }
    }

    @Test("a node that comes back at another address is found there")
    func moved() async throws {
        let scene = LinkScene()
        try await scene.run {
            try await withServedNode(scene) { served in
                let pool = served.pool(try served.credentials(.control, of: served.authority))
                let link = pool.link(scene.local.node)
                pool.set(scene.local.node, at: .init(host: "127.0.0.1", port: try unusedPort()))
                await #expect(throws: Fault.self) { _ = try await link.observe() }
                pool.set(scene.local.node, at: served.address)
                _ = try await link.observe()
            }
        }
    }
}

/// A port of this host that nobody listens on.
private func unusedPort() throws -> Int {
    let number = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(number) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
            bind(number, pointer, size) == 0 && getsockname(number, pointer, &size) == 0
        }
    }
    try #require(isBound)
    return Int(UInt16(bigEndian: address.sin_port))
}

private func now() -> Timestamp {
    Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000))
}

/// A node that listens on a real socket with mutual TLS.
private struct ServedNode {
    let authority: Authority
    let node: NodeID
    let address: DaemonPool.Address
    let run: DaemonPool.Runner

    func credentials(
        _ identity: FleetIdentity,
        of authority: Authority,
        from offset: Int64 = 0,
        for lifetime: Int64 = 3600
    ) throws(Fault) -> FleetCredentials {
        let keys = KeyPair()
        let leaf = try authority.issue(
            identity,
            to: keys.publicKey,
            at: now().adding(seconds: offset),
            lifetime: lifetime
        )
        return FleetCredentials(keys: keys, leaf: leaf, trust: self.authority.trust)
    }

    func selfMade() throws(Fault) -> FleetCredentials {
        let keys = KeyPair()
        let leaf = try Leaf.selfSigned(keys, at: now())
        return FleetCredentials(keys: keys, leaf: leaf, trust: authority.trust)
    }

    func pool(_ credentials: FleetCredentials) -> DaemonPool {
        let log = Logger(label: "pool") { _ in SwiftLogNoOpLogHandler() }
        return DaemonPool(credentials: credentials, log: log, run: run)
    }

    func link(_ credentials: FleetCredentials) -> RemoteLink {
        let pool = pool(credentials)
        pool.set(node, at: address)
        return pool.link(node)
    }

    func link(as identity: FleetIdentity) throws(Fault) -> RemoteLink {
        link(try credentials(identity, of: authority))
    }
}

/// Serves the node of `scene`, with the certificate of `identity` instead of its own if given.
private func withServedNode(
    _ scene: LinkScene,
    as identity: FleetIdentity? = nil,
    authority: Authority? = nil,
    _ body: @escaping @Sendable (ServedNode) async throws -> Void
) async throws {
    let authority = try authority ?? Authority(at: now())
    let keys = KeyPair()
    let leaf = try authority.issue(
        identity ?? .node(scene.local.node),
        to: keys.publicKey,
        at: now()
    )
    let server = try FleetServer(
        host: "127.0.0.1",
        port: 0,
        credentials: FleetCredentials(keys: keys, leaf: leaf, trust: authority.trust),
        admitsStrangers: false,
        services: [NodeLinkSkin(scene.local)],
        interceptors: [CancellationInterceptor()],
        operationID: { OperationID(bits: 1) }
    )
    let (jobs, inlet) = AsyncStream.makeStream(of: (@Sendable () async -> Void).self)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await server.serve() }
        group.addTask {
            await withDiscardingTaskGroup { owner in
                for await job in jobs { owner.addTask { await job() } }
                owner.cancelAll()
            }
        }
        let bound = try await server.address()
        let served = ServedNode(
            authority: authority,
            node: scene.local.node,
            address: .init(host: bound.host, port: bound.port),
            run: { inlet.yield($0) }
        )
        // A server that is cancelled while somebody connects traps: it is stopped, whatever happens.
        let outcome: Result<Void, any Error>
        do { outcome = .success(try await body(served)) } catch { outcome = .failure(error) }
        inlet.finish()
        server.stop()
        try await group.waitForAll()
        try outcome.get()
    }
}
