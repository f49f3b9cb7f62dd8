import RoostLink
import RoostModel
import RoostOperations
import RoostScheduler
import RoostStore
import Synchronization
import Testing

@testable import RoostControl

/// Beats, silence and joining, without a network or a clock: ticks are given by hand.
@Suite("Membership", .timeLimit(.minutes(1)))
struct MembershipTests {
    @Test("a node that is silent is NOT_READY, then LOST, and READY at its next beat")
    func silence() async throws {
        try await withDesk { desk in
            let membership = try await Self.membership(desk)
            let state = { desk.vms.parts.nodes.fleet.facts(desk.node)?.state }
            #expect(state() == .ready)
            for _ in 0..<11 { membership.tick() }
            #expect(state() == .ready)
            membership.tick()
            #expect(state() == .notReady)
            for _ in 0..<28 { membership.tick() }
            #expect(state() == .lost)
            #expect(try await !membership.beat(desk.node, keyDigest: "key", stateHash: 1))
            #expect(state() == .ready)
        }
    }

    @Test("a beat that says nothing new writes nothing")
    func writes() async throws {
        try await withDesk { desk in
            let membership = try await Self.membership(desk)
            let store = desk.vms.parts.store
            // That it has registered is an event, which is written by itself.
            while !desk.vms.untold.withLock({ $0.count == 0 }) { await Task.yield() }
            let before = try await store.revision()
            for _ in 0..<100 {
                _ = try await membership.beat(desk.node, keyDigest: "key", stateHash: 7)
            }
            try await membership.register(desk.node, keyDigest: "key", Self.said)
            #expect(try await store.revision() == before)
            var other = Self.said
            other.port = 9999
            try await membership.register(desk.node, keyDigest: "key", other)
            #expect(try await store.revision() > before)
        }
    }

    @Test("what a node has is taken in from any beat that says it, bounded, and nowhere written")
    func holdings() async throws {
        try await withDesk { desk in
            let membership = try await Self.membership(desk)
            let store = desk.vms.parts.store
            while !desk.vms.untold.withLock({ $0.count == 0 }) { await Task.yield() }
            let before = try await store.revision()
            let known = { desk.vms.parts.nodes.fleet.facts(desk.node)?.artifacts }
            let digest = "sha256:" + String(repeating: "a", count: 64)
            let beat = { (images: [NodeHoldings.Image]?) async throws(Fault) in
                _ = try await membership.beat(
                    desk.node,
                    keyDigest: "key",
                    stateHash: 7,
                    holdings: images.map { NodeHoldings(images: $0) }
                )
            }
            try await beat([.init(digest: digest, names: ["debian-12"])])
            let wanted: Set = [Artifact(.image, digest), Artifact(.image, "debian-12")]
            #expect(known() == wanted)
            try await beat(nil)
            #expect(known() == wanted)
            let bad = await fault { () async throws(Fault) in try await beat([.init(digest: "")]) }
            #expect(bad?.violations.map(\.field) == ["holdings.images[0].digest"])
            #expect(known() == wanted)
            try await membership.register(
                desk.node,
                keyDigest: "key",
                Self.said,
                holdings: NodeHoldings(images: [.init(digest: digest)])
            )
            #expect(known() == [Artifact(.image, digest)])
            #expect(try await store.revision() == before)
        }
    }

    @Test("a cordon survives silence and beats")
    func cordon() async throws {
        try await withDesk { desk in
            let membership = try await Self.membership(desk)
            _ = try await desk.fleet.change(desk.node.description, .cordon(reason: "x"))
            for _ in 0..<12 { membership.tick() }
            #expect(try desk.fleet.get(desk.node.description).facts.state == .notReady)
            _ = try await membership.beat(desk.node, keyDigest: "key", stateHash: 1)
            #expect(try desk.fleet.get(desk.node.description).facts.state == .cordoned)
        }
    }

    @Test("a beat of an unknown node, or with another key, is refused")
    func refused() async throws {
        try await withDesk { desk in
            let membership = try await Self.membership(desk)
            let unknown = await #expect(throws: Fault.self) {
                _ = try await membership.beat(NodeID(bits: 77), keyDigest: "key", stateHash: 0)
            }
            #expect(unknown?.reason == .nodeRemoved)
            let other = await #expect(throws: Fault.self) {
                _ = try await membership.beat(desk.node, keyDigest: "other", stateHash: 0)
            }
            #expect(other?.reason == .notThisNode)
        }
    }

    @Test("a join token that is asked for twice is made once, also when it is gone")
    func once() async throws {
        try await withDesk { desk in
            let membership = try await Self.membership(desk)
            let asked = desk.request("CreateJoinToken", "t")
            let make = { @Sendable (context: RequestContext) async throws(Fault) in
                try await membership.createToken(
                    id: "t",
                    secretDigest: "s",
                    uses: 3,
                    ttlSeconds: 60,
                    context
                )
            }
            async let one = make(asked)
            async let other = make(asked)
            #expect(try await one.key == other.key)
            var reused = asked
            reused.digest = "u"
            let fault = await #expect(throws: Fault.self) { try await make(reused) }
            #expect(fault?.reason == .opIDReused)
            _ = try await membership.deleteToken("t")
            let removed = await #expect(throws: Fault.self) { try await make(asked) }
            #expect(removed?.reason == .joinTokenInvalid)
        }
    }

    @Test("of twenty that join at once with three uses, three get in")
    func lastUses() async throws {
        try await withDesk { desk in
            let membership = try await Self.membership(desk)
            _ = try await membership.createToken(
                id: "t",
                secretDigest: "s",
                uses: 3,
                ttlSeconds: 60,
                desk.request("CreateJoinToken")
            )
            let got = await withTaskGroup(of: Bool.self) { group in
                for number in 1...20 {
                    group.addTask {
                        do {
                            _ = try await membership.join(
                                token: "t",
                                secretDigest: "s",
                                node: NodeID(bits: UInt128(100 + number)),
                                name: "same",
                                keyDigest: "k\(number)"
                            )
                            return true
                        } catch { return false }
                    }
                }
                return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(got == 3)
            let rows = try await desk.vms.parts.store.list(MemberRow.self, Query()).rows
            let names = rows.map(\.row.name).filter { $0.hasPrefix("same") }
            #expect(Set(names) == ["same", "same-2", "same-3"])
        }
    }

    private static let said = NodeSaid(
        host: "127.0.0.1",
        port: 9090,
        capacity: Desk.capacity,
        driver: "simulated",
        version: "0",
        labels: [:],
        policy: OvercommitPolicy()
    )

    /// With the desk's node as a member that has registered.
    private static func membership(_ desk: Desk) async throws -> Membership {
        let membership = Membership(
            desk.vms,
            reach: SameReach(link: try desk.vms.parts.nodes.link(desk.node)),
            timing: HeartbeatTiming(interval: .seconds(4))
        )
        _ = try await membership.createToken(
            id: "first",
            secretDigest: "s",
            uses: 1,
            ttlSeconds: 60,
            desk.request("CreateJoinToken")
        )
        _ = try await membership.join(
            token: "first",
            secretDigest: "s",
            node: desk.node,
            name: "node1",
            keyDigest: "key"
        )
        try await membership.register(desk.node, keyDigest: "key", said)
        return membership
    }
}

/// The node is where it is.
private struct SameReach: NodeReach {
    let link: any NodeLink
    func link(_ node: NodeID) -> any NodeLink { link }
    func set(_ node: NodeID, host: String, port: Int) {}
    func remove(_ node: NodeID) {}
}
