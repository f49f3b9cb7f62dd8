import Logging
package import RoostLink
package import RoostModel
import RoostOperations
import RoostScheduler
import RoostStore
import Synchronization

/// The ways to nodes in other processes.
package protocol NodeReach: Sendable {
    /// The way to `node`, wherever it listens by then.
    func link(_ node: NodeID) -> any NodeLink
    /// Says where `node` listens.
    func set(_ node: NodeID, host: String, port: Int)
    /// Forgets `node`.
    func remove(_ node: NodeID)
}

/// How often nodes say that they live, and what silence means.
package struct HeartbeatTiming: Sendable, Hashable {
    /// Between two beats.
    package var interval: Duration
    /// Silence after which a node is ``NodeState/notReady``, in intervals.
    package var notReadyAfter: Int
    /// Silence after which it is ``NodeState/lost``, in intervals.
    package var lostAfter: Int

    package init(interval: Duration, notReadyAfter: Int = 3, lostAfter: Int = 10) {
        self.interval = interval
        self.notReadyAfter = notReadyAfter
        self.lostAfter = lostAfter
    }
}

/// Who is a node of this fleet, and which of them are heard of.
///
/// Beats live in memory: one that says nothing new costs no write. See README.md for the states.
package final class Membership: Sendable {
    /// What is known of a node's beats since this control plane came up.
    struct Pulse {
        var keyDigest: String
        /// The tick of the last beat.
        var heardAt: Int
        /// What it was found to be then; `nil`: ready.
        var silence: NodeState?
        /// Whether it said what it is since this control plane came up.
        var isRegistered: Bool
        /// The digest of what was last looked at.
        var stateHash: UInt64?
        /// Whether somebody looks now.
        var isLooking = false
    }

    let vms: VMService
    let reach: any NodeReach
    package let timing: HeartbeatTiming
    let pulses = Mutex<[NodeID: Pulse]>([:])
    private let ticks = Mutex(0)

    /// Ticks of ``watch()`` in one interval.
    private static let ticksPerInterval = 4

    package init(_ vms: VMService, reach: any NodeReach, timing: HeartbeatTiming) {
        self.vms = vms
        self.reach = reach
        self.timing = timing
    }

    var nodes: NodeDirectory { vms.parts.nodes }
    var store: any Store { vms.parts.store }
    private var log: Logger { vms.parts.log }

    // MARK: Coming up

    /// Makes every member that has ever registered known again: not ready until it is heard of.
    ///
    /// Call once, before ``VMService/recover()``.
    package func recover() async throws(Fault) {
        for row in try await store.list(MemberRow.self, Query()).rows.map(\.row) {
            guard let said = row.said else { continue }
            nodes.note(row.node, silence: .notReady)
            take(row, said)
            pulses.withLock {
                $0[row.node] = Pulse(
                    keyDigest: row.keyDigest,
                    heardAt: 0,
                    silence: .notReady,
                    isRegistered: false
                )
            }
        }
    }

    private func take(_ row: MemberRow, _ said: NodeSaid) {
        reach.set(row.node, host: said.host, port: said.port)
        nodes.join(
            reach.link(row.node),
            name: row.name,
            capacity: said.capacity,
            policy: said.policy,
            labels: said.labels
        )
    }

    // MARK: What nodes say

    /// A node says what it is, where it listens and what it has. Writes only what is new of the
    /// first two: what it has it says again to whoever comes up.
    ///
    /// - Throws: ``Reason/nodeRemoved``, ``Reason/notThisNode``; every violation of `said` and
    ///   `holdings`.
    package func register(
        _ node: NodeID,
        keyDigest: String,
        _ said: NodeSaid,
        holdings: NodeHoldings = NodeHoldings()
    ) async throws(Fault) {
        let violations = said.violations + holdings.violations()
        guard violations.isEmpty else { throw .invalid(violations) }
        var row = try await member(node, keyDigest)
        if row.row.said != said {
            var changed = row.row
            changed.said = said
            var batch = Batch()
            batch.replace(row, with: changed)
            let revision = try await vms.commit(batch)
            row = Versioned(row: changed, version: revision)
        }
        let isFirst = !nodes.holds(node)
        nodes.note(node, holds: holdings)
        if let row = try await store.get(NodeRow.self, NodeRow.key(node)) { nodes.take(row) }
        take(row.row, said)
        let now = ticks.withLock { $0 }
        let isNews = pulses.withLock { pulses in
            let before = pulses[node]
            var pulse =
                pulses[node] ?? Pulse(keyDigest: keyDigest, heardAt: now, isRegistered: true)
            pulse.keyDigest = keyDigest
            pulse.heardAt = now
            pulse.isRegistered = true
            pulse.silence = nil
            // What it holds is looked at once more: it may have come up anew.
            pulse.stateHash = nil
            pulses[node] = pulse
            return before?.isRegistered != true || before?.silence != nil
        }
        nodes.note(node, silence: nil)
        if isNews { vms.tell(node, is: stateNow(node), reason: "it has registered") }
        log.notice(
            "a node has registered",
            metadata: [
                "node": "\(node)", "name": "\(row.row.name)",
                "address": "\(said.host):\(said.port)",
            ]
        )
        if isFirst { vms.follow(reach.link(node)) }
    }

    /// A node says that it lives and, when that is another than it said last, what it has.
    ///
    /// - Returns: whether it shall register again.
    /// - Throws: ``Reason/nodeRemoved``, ``Reason/notThisNode``; every violation of `holdings`.
    package func beat(
        _ node: NodeID,
        keyDigest: String,
        stateHash: UInt64,
        holdings: NodeHoldings? = nil
    ) async throws(Fault) -> Bool {
        let now = ticks.withLock { $0 }
        let known = pulses.withLock { $0[node] }
        guard let known else {
            // It has joined, or it is nobody's.
            _ = try await member(node, keyDigest)
            return true
        }
        guard known.keyDigest == keyDigest else { throw Self.otherKey(node) }
        if let holdings {
            let violations = holdings.violations()
            guard violations.isEmpty else { throw .invalid(violations) }
            nodes.note(node, holds: holdings)
        }
        let (mustLook, wasSilent) = pulses.withLock { pulses -> (Bool, Bool) in
            guard var pulse = pulses[node] else { return (false, false) }
            let wasSilent = pulse.silence != nil
            pulse.heardAt = now
            pulse.silence = nil
            let mustLook = pulse.isRegistered && pulse.stateHash != stateHash && !pulse.isLooking
            if mustLook { pulse.isLooking = true }
            pulses[node] = pulse
            return (mustLook, wasSilent)
        }
        if wasSilent {
            nodes.note(node, silence: nil)
            vms.tell(node, is: stateNow(node), reason: "it is heard of again")
            log.notice("a node is heard of again", metadata: ["node": "\(node)"])
        }
        if mustLook { vms.parts.spawner.spawn { await self.look(at: node) } }
        return !known.isRegistered
    }

    /// What `node` is now that it is heard of, in one word.
    private func stateNow(_ node: NodeID) -> String {
        (nodes.fleet.facts(node)?.state ?? .ready).rawValue
    }

    /// Looks at everything that `node` sees: it says that it sees something else than was seen last.
    private func look(at node: NodeID) async {
        var hash: UInt64?
        do throws(Fault) {
            hash = try await vms.takeInEverything(from: reach.link(node))
        } catch {
            // The next beat differs as well, and asks for another look.
            log.info("cannot look at a node", metadata: ["node": "\(node)", "fault": "\(error)"])
        }
        pulses.withLock { pulses in
            pulses[node]?.isLooking = false
            if let hash { pulses[node]?.stateHash = hash }
        }
    }

    /// The member that holds this key.
    func member(_ node: NodeID, _ keyDigest: String) async throws(Fault) -> Versioned<MemberRow> {
        guard let row = try await store.get(MemberRow.self, MemberRow.key(node)) else {
            throw Fault(
                .nodeRemoved,
                "node \(node.short) is no member of this fleet (any more)",
                metadata: ["node": node.description]
            )
        }
        guard row.row.keyDigest == keyDigest else { throw Self.otherKey(node) }
        return row
    }

    static func otherKey(_ node: NodeID) -> Fault {
        Fault(
            .notThisNode,
            "node \(node.short) is a member already, with another key",
            metadata: ["node": node.description]
        )
    }

    // MARK: Silence

    /// Notices which nodes are silent, until cancelled.
    package func watch() async {
        while !Task.isCancelled {
            do {
                try await vms.parts.surroundings.clock.sleep(
                    for: timing.interval / Self.ticksPerInterval
                )
            } catch { return }
            tick()
        }
    }

    /// One tick of ``watch()``.
    func tick() {
        let now = ticks.withLock { ticks in
            ticks += 1
            return ticks
        }
        let changed = pulses.withLock { pulses in
            var changed: [(NodeID, NodeState)] = []
            for (node, pulse) in pulses.sorted(by: { $0.key < $1.key }) {
                let intervals = (now - pulse.heardAt) / Self.ticksPerInterval
                let silence: NodeState? =
                    intervals >= timing.lostAfter
                    ? .lost : intervals >= timing.notReadyAfter ? .notReady : pulse.silence
                guard let silence, silence != pulse.silence else { continue }
                pulses[node]?.silence = silence
                changed.append((node, silence))
            }
            return changed
        }
        for (node, silence) in changed {
            nodes.note(node, silence: silence)
            vms.tell(node, is: silence.rawValue, reason: "it has not been heard of")
            log.warning(
                "a node is silent",
                metadata: ["node": "\(node)", "state": "\(silence.rawValue)"]
            )
            if silence == .lost { vms.parts.spawner.spawn { await self.loseVMs(on: node) } }
        }
    }

    /// Says of every VM on `node` that should have a process that nobody knows; what is so, the node
    /// says when it is back.
    private func loseVMs(on node: NodeID) async {
        let name = nodes.name(node)
        do throws(Fault) {
            try await vms.lose(
                on: node,
                reason:
                    "node \(name) has not been heard of for \(timing.interval * timing.lostAfter)"
            )
        } catch {
            log.error(
                "cannot write down which VMs are lost",
                metadata: ["node": "\(node)", "fault": "\(error)"]
            )
        }
    }
}
