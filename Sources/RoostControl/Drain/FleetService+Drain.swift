import Logging
package import RoostModel
package import RoostOperations
import RoostScheduler
package import RoostStore

/// Draining nodes, and ending that. See README.md of this folder.
extension FleetService {
    /// A drain, or the end of one, as far as it is.
    package struct DrainReport: Sendable {
        package var node: Node
        /// `nil`: nothing was to be done to VMs.
        package var row: DrainRow?
        /// `false` when what was asked for held already.
        package var changed: Bool
        /// Where there is room for each VM, by the same word as ``whatIf(_:)`` says it; only of a drain
        /// that was merely asked about.
        package var rooms: [VMID: Room] = [:]
    }

    /// Whether a VM would find room elsewhere. Its disk stays where it is all the same.
    package enum Room: Sendable, Hashable {
        case on(NodeID, String)
        case nowhere(String)
    }

    /// Lets nothing new come to a node, and takes down what runs there. Answers when each VM has its
    /// outcome, or when it is durable that they are going to have one.
    ///
    /// - Throws: every violation; as ``NodeDirectory/find(_:field:)``; ``Reason/nodeUnreachable`` for
    ///   a node that is not heard of; ``Reason/noNodeFits`` for the only one that takes VMs, unless
    ///   forced; ``Reason/opInProgress`` while another drain of it, or its end, is under way;
    ///   ``Reason/staleEtag``, ``Reason/opIDReused``, ``Reason/opIDExpired``.
    package func drain(
        _ reference: String,
        _ order: DrainOrder,
        etag: Revision? = nil,
        _ context: RequestContext
    ) async throws(Fault) -> DrainReport {
        try check(order)
        if let earlier = try await earlier(context) { return try await answer(earlier, context) }
        let id = try nodes.find(reference)
        while true {
            let found = try await current(id, etag)
            try await unlessDrainGoesOn(id)
            let node = try get(id.description)
            try canDrain(node, order)
            var row = row(.drain, node, context)
            row.suspends = order.suspends
            row.graceSeconds = order.graceSeconds
            if context.validateOnly { return try await proposal(row, node) }
            if node.isDrained, let mark = nodes.drain(of: id) {
                return try await recordDrained(row, mark.row.drain, context)
            }
            if try await acceptDrain(row, over: found, order) {
                return try await answer(row, context)
            }
        }
    }

    /// Lets VMs come to a node again. What its drain took down, and nobody has seen to since, is
    /// started again, or paused if it was paused.
    ///
    /// - Throws: as ``change(_:_:etag:isOnlyAsked:)``; ``Reason/opInProgress`` while an earlier end of
    ///   a drain is under way; ``Reason/opIDReused``, ``Reason/opIDExpired``.
    package func uncordon(
        _ reference: String,
        etag: Revision? = nil,
        _ context: RequestContext
    ) async throws(Fault) -> DrainReport {
        if let earlier = try await earlier(context) { return try await answer(earlier, context) }
        let id = try nodes.find(reference)
        while true {
            guard let mark = nodes.drain(of: id) else {
                let change = Change.uncordon
                let outcome = try await self.change(
                    id.description,
                    change,
                    etag: etag,
                    isOnlyAsked: context.validateOnly
                )
                return DrainReport(node: outcome.node, row: nil, changed: outcome.changed)
            }
            let found = try await current(id, etag)
            let row = row(.restore, try get(id.description), context)
            if context.validateOnly { return try await proposal(row, try get(id.description)) }
            if try await acceptRestore(row, over: found, mark) {
                return try await answer(row, context)
            }
        }
    }

    /// The drain that lasts on `node`, or the end of one that goes on; `nil`: neither.
    package func drainRow(_ node: NodeID) async throws(Fault) -> DrainRow? {
        if let live = try await live(on: node).last { return live }
        guard let mark = nodes.drain(of: node) else { return nil }
        return try await vms.parts.store.get(DrainRow.self, mark.row.drain.description)?.row
    }

    /// The drain or end of one of that op id; `nil`: none (any more).
    package func drainRow(operation: OperationID) async throws(Fault) -> DrainRow? {
        try await vms.parts.store.get(DrainRow.self, operation.description)?.row
    }

    /// Drains and their ends, the latest first; older ones than `before`, if it is given.
    package func drains(before: OperationID?) async throws(Fault) -> [DrainRow] {
        let rows = try await vms.parts.store.list(DrainRow.self, Query()).rows.map(\.row)
        return rows.filter { row in before.map { row.id < $0 } ?? true }.sorted { $0.id > $1.id }
    }

    /// Drains and their ends whose op id, as it is written, ends in `ending`.
    package func drains(endingIn ending: String) async throws(Fault) -> [OperationID] {
        try await vms.parts.store.list(DrainRow.self, Query()).rows.map(\.row.id)
            .filter { $0.description.hasSuffix(ending) }
    }

    // MARK: Once

    private func check(_ order: DrainOrder) throws(Fault) {
        var violations: [FieldViolation] = []
        if order.reason.utf8.count > 1024 {
            let problem = "has \(order.reason.utf8.count) bytes; at most 1024"
            violations.append(.init("reason", problem))
        }
        if !(0...86_400).contains(order.graceSeconds) {
            let problem = "\(order.graceSeconds) is outside 0 … 86400"
            violations.append(.init("timeout_seconds", problem))
        }
        guard violations.isEmpty else { throw .invalid(violations) }
    }

    /// What `context`'s op id began before; `nil`: it is new.
    private func earlier(_ context: RequestContext) async throws(Fault) -> DrainRow? {
        guard try await vms.ledger.isRepeat(context) else { return nil }
        return try await drainRow(operation: context.operation)
    }

    /// The report of `row`, when it has ended or the caller does not want to wait for that.
    private func answer(
        _ row: DrainRow,
        _ context: RequestContext
    ) async throws(Fault) -> DrainReport {
        var row = row
        if !context.answersWhenAccepted { row = try await ending(row) }
        return DrainReport(node: try get(row.node.description), row: row, changed: row.changed)
    }

    /// `row` when it has ended.
    package func ending(_ row: DrainRow) async throws(Fault) -> DrainRow {
        while true {
            let commit = vms.nextCommit
            let found = try await vms.parts.store.get(DrainRow.self, row.key)
            guard let found else {
                throw Fault(.operationNotFound, "no operation \(row.id)")
            }
            if found.row.phase == .ended { return found.row }
            await commit.wait()
            try vms.unlessCallerLeft()
        }
    }

    /// `row` when it has ended, or as it is after `limit`.
    package func ending(_ row: DrainRow, within limit: Duration) async throws(Fault) -> DrainRow {
        let timeout = Fault(.deadline, "waited", metadata: ["op": row.id.description])
        let clock = vms.parts.surroundings.clock
        do throws(Fault) {
            return try await within(limit, on: clock, onTimeout: timeout) {
                () async throws(Fault) in try await self.ending(row)
            }
        } catch  where error.reason == .deadline {
            return try await drainRow(operation: row.id) ?? row
        }
    }

    // MARK: Whether

    /// What operators said of the node, if its etag is still `etag`.
    private func current(
        _ node: NodeID,
        _ etag: Revision?
    ) async throws(Fault) -> Versioned<NodeRow>? {
        let found = try await vms.parts.store.get(NodeRow.self, NodeRow.key(node))
        if let found { nodes.take(found) }
        if let etag, etag != found?.version ?? Revision(0) {
            let name = nodes.name(node)
            throw Fault(
                .staleEtag,
                "node \(name) has changed since it was read",
                metadata: ["node": name]
            )
        }
        return found
    }

    /// Drains of `node`, and ends of them, that go on; the oldest first.
    private func live(on node: NodeID) async throws(Fault) -> [DrainRow] {
        let entries = [IndexEntry("live", "yes"), IndexEntry("node", node.description)]
        return try await vms.parts.store.list(DrainRow.self, Query(matching: entries)).rows
            .map(\.row)
    }

    private func unlessDrainGoesOn(_ node: NodeID) async throws(Fault) {
        guard let live = try await live(on: node).last else { return }
        throw Fault(
            .opInProgress,
            "\(nodes.name(node)) is being \(live.kind == .drain ? "drained" : "uncordoned") by \(live.id)",
            metadata: ["op": live.id.description, "node": nodes.name(node)]
        )
    }

    private func canDrain(_ node: Node, _ order: DrainOrder) throws(Fault) {
        let name = nodes.name(node.facts.id)
        switch node.facts.state {
        case .ready, .cordoned, .draining: break
        case .notReady, .lost:
            throw Fault(
                .nodeUnreachable,
                "\(name) is \(node.facts.state.rawValue): nobody can stop its VMs; "
                    + "to keep new ones away meanwhile: roost node cordon \(name)",
                metadata: ["node": name]
            )
        }
        let others = nodes.fleet.nodes.contains {
            $0.id != node.facts.id && $0.state == .ready
        }
        guard others || order.force || node.facts.state == .draining else {
            throw Fault(
                .noNodeFits,
                "no node but \(name) takes VMs: with it drained nothing can be made or started",
                metadata: [
                    "change": "let another node take VMs (roost node ls), or drain with --force"
                ]
            )
        }
    }

    private func row(_ kind: DrainRow.Kind, _ node: Node, _ context: RequestContext) -> DrainRow {
        DrainRow(
            id: context.operation,
            node: node.facts.id,
            nodeName: nodes.name(node.facts.id),
            kind: kind,
            phase: .accepted,
            principal: context.principal,
            method: context.method,
            digest: context.digest,
            suspends: false,
            graceSeconds: 0,
            targets: [],
            startedAt: vms.now,
            finishedAt: nil,
            traceParent: context.traceParent
        )
    }

    /// What would be done, and where there would be room.
    private func proposal(_ row: DrainRow, _ node: Node) async throws(Fault) -> DrainReport {
        var row = row
        row.targets = try await targets(of: row)
        var report = DrainReport(node: node, row: row, changed: true)
        guard row.kind == .drain else { return report }
        let forecast = try nodes.fleet.forecast(.drain(row.node))
        for step in forecast.steps {
            switch step.outcome {
            case .goes(let decision):
                report.rooms[step.vm] = .on(decision.node, nodes.name(decision.node))
            case .refused(let refusal): report.rooms[step.vm] = .nowhere(refusal.fault().message)
            case .stays: break
            }
        }
        return report
    }

    // MARK: Accepting

    /// Records that nothing had to be done, so that a repeat of the id says the same: what `last` came to.
    private func recordDrained(
        _ row: DrainRow,
        _ last: OperationID,
        _ context: RequestContext
    ) async throws(Fault) -> DrainReport {
        var row = row
        row.phase = .ended
        row.changed = false
        row.finishedAt = vms.now
        row.targets = try await drainRow(operation: last)?.targets ?? []
        var batch = Batch()
        batch.insert(row)
        batch.insert(ClaimRow(row.context, at: row.startedAt))
        try await vms.commit(batch)
        return try await answer(row, context)
    }

    /// `false`: somebody else was first, look again.
    private func acceptDrain(
        _ row: DrainRow,
        over found: Versioned<NodeRow>?,
        _ order: DrainOrder
    ) async throws(Fault) -> Bool {
        var node = found?.row ?? NodeRow(node: row.node)
        node.isCordoned = true
        if !order.reason.isEmpty { node.cordonReason = order.reason }
        node.updatedAt = vms.now
        let mark = DrainMark(node: row.node, drain: row.id)
        var batch = Batch()
        batch.insert(row)
        batch.insert(ClaimRow(row.context, at: row.startedAt))
        if let found { batch.replace(found, with: node) } else { batch.insert(node) }
        let former = nodes.drain(of: row.node)
        if let former { batch.replace(former, with: mark) } else { batch.insert(mark) }
        guard let revision = try await write(batch, row) else { return false }
        nodes.take(Versioned(row: node, version: revision))
        nodes.take(Versioned(row: mark, version: revision), of: row.node, at: revision)
        begin(row)
        return true
    }

    /// `false`: somebody else was first, look again.
    private func acceptRestore(
        _ row: DrainRow,
        over found: Versioned<NodeRow>?,
        _ mark: Versioned<DrainMark>
    ) async throws(Fault) -> Bool {
        var node = found?.row ?? NodeRow(node: row.node)
        node.isCordoned = false
        node.cordonReason = ""
        node.updatedAt = vms.now
        // Before others may come: what was taken down here has its room first.
        let held = try await vms.all(on: row.node).map(\.row).filter { row.isAbout($0) != nil }
        // One that finds none is refused when it is started, and itemised.
        for vm in held { try? vms.promise(vm, on: row.node) }
        var batch = Batch()
        batch.insert(row)
        batch.insert(ClaimRow(row.context, at: row.startedAt))
        if let found { batch.replace(found, with: node) } else { batch.insert(node) }
        batch.require(DrainMark.self, mark.row.key, at: mark.version)
        batch.delete(DrainMark.self, mark.row.key)
        let revision: Revision?
        do throws(Fault) {
            revision = try await write(batch, row)
        } catch {
            for vm in held { await vms.recount(vm.id) }
            throw error
        }
        guard let revision else {
            for vm in held { await vms.recount(vm.id) }
            return false
        }
        nodes.take(nil, of: row.node, at: revision)
        nodes.take(Versioned(row: node, version: revision))
        begin(row)
        return true
    }

    /// The revision; `nil`: somebody else was first, and what they wrote is taken in.
    private func write(_ batch: Batch, _ row: DrainRow) async throws(Fault) -> Revision? {
        do throws(Fault) {
            return try await vms.commit(batch)
        } catch {
            try await vms.takeDrain(of: row.node)
            if let found = try await vms.parts.store.get(NodeRow.self, NodeRow.key(row.node)) {
                nodes.take(found)
            }
            // Of a commit without an answer nobody knows: what is stored counts.
            if try await vms.ledger.isRepeat(row.context),
                let written = try await vms.parts.store.get(DrainRow.self, row.key)
            {
                return written.version
            }
            guard error.reason == .storeConflict else { throw error }
            return nil
        }
    }
}
