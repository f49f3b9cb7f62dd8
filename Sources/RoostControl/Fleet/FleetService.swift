package import RoostModel
import RoostOperations
import RoostScheduler
package import RoostStore
import Synchronization

/// The nodes as operators have them, and what the scheduler says when it is asked.
///
/// What operators say of a node is one row, changed by one conditional commit; every create compares
/// it, so that none that is decided before a cordon is accepted after it.
package final class FleetService: Sendable {
    let vms: VMService
    var nodes: NodeDirectory { vms.parts.nodes }
    /// Drains, and ends of them, that this process carries out.
    let draining = Mutex<[OperationID: NodeID]>([:])

    package init(_ vms: VMService) { self.vms = vms }

    /// A node, what is promised of it, and what was said of it.
    package struct Node: Sendable {
        package var facts: NodeFacts
        package var promisedCores: Int
        package var promisedMemoryMiB: Int
        /// VMs that are on it and not in the trash, running or not.
        package var vmCount: Int
        package var row: NodeRow
        /// The revision of the row; 0 when nobody ever said anything.
        package var etag: Revision
        /// Whether it is drained and nothing of it is in use any more.
        package var isDrained: Bool
    }

    /// What became of a change.
    package struct Outcome: Sendable {
        package var node: Node
        /// `false` when what was asked for held already.
        package var changed: Bool
    }

    // MARK: Reading

    /// The nodes whose labels match, by name, then id.
    package func list(_ selector: Selector = .all) -> [Node] {
        let fleet = nodes.fleet
        let counts = fleet.residentCounts
        return fleet.nodes.filter { selector.matches($0.labels) }
            .map { node($0, fleet, counts[$0.id] ?? 0) }
            .sorted { ($0.facts.name, $0.facts.id) < ($1.facts.name, $1.facts.id) }
    }

    /// One node.
    ///
    /// - Throws: as ``NodeDirectory/find(_:field:)``.
    package func get(_ reference: String) throws(Fault) -> Node {
        let id = try nodes.find(reference)
        let fleet = nodes.fleet
        guard let facts = fleet.facts(id) else {
            throw Fault(.nodeNotFound, "no node '\(shown(reference))'")
        }
        return node(facts, fleet, fleet.residentCounts[id] ?? 0)
    }

    private func node(_ facts: NodeFacts, _ fleet: Fleet, _ count: Int) -> Node {
        let free = fleet.free(facts.id) ?? (0, 0)
        let row = nodes.row(facts.id)
        return Node(
            facts: facts,
            promisedCores: facts.promisableCores - free.cores,
            promisedMemoryMiB: facts.promisableMemoryMiB - free.memoryMiB,
            vmCount: count,
            row: row?.row ?? NodeRow(node: facts.id),
            etag: row?.version ?? Revision(0),
            isDrained: facts.state == .draining && free.cores == facts.promisableCores
                && !draining.withLock { $0.values.contains(facts.id) }
        )
    }

    // MARK: Changing

    /// What is said anew of a node.
    package enum Change: Sendable, Hashable {
        /// At most 1,024 characters of reason.
        case cordon(reason: String)
        case uncordon
        case labels(set: [String: String], remove: [String])
        /// Each replaces what has its key.
        case taints(set: [Taint], remove: [String])
    }

    /// Says something new of a node, durably.
    ///
    /// - Throws: every violation at once; ``Reason/staleEtag``; as ``NodeDirectory/find(_:field:)``.
    package func change(
        _ reference: String,
        _ change: Change,
        etag: Revision? = nil,
        isOnlyAsked: Bool = false
    ) async throws(Fault) -> Outcome {
        let id = try nodes.find(reference)
        while true {
            let found = try await vms.parts.store.get(NodeRow.self, NodeRow.key(id))
            if let found { nodes.take(found) }
            let version = found?.version ?? Revision(0)
            if let etag, etag != version {
                let name = nodes.name(id)
                throw Fault(
                    .staleEtag,
                    "node \(name) has changed since it was read",
                    metadata: ["node": name]
                )
            }
            let old = found?.row ?? NodeRow(node: id)
            var row = try changed(old, change)
            guard !isOnlyAsked, !row.agrees(with: old) else {
                let node = try get(id.description)
                return Outcome(node: node, changed: false)
            }
            row.updatedAt = vms.now
            if try await write(row, over: found) {
                return Outcome(node: try get(id.description), changed: true)
            }
        }
    }

    /// `false`: somebody else was first, look again.
    private func write(_ row: NodeRow, over found: Versioned<NodeRow>?) async throws(Fault) -> Bool
    {
        var batch = Batch()
        if let found { batch.replace(found, with: row) } else { batch.insert(row) }
        do throws(Fault) {
            let revision = try await vms.commit(batch)
            nodes.take(Versioned(row: row, version: revision))
            return true
        } catch  where error.reason == .storeConflict {
            return false
        } catch {
            // It may have been written all the same; what is stored counts.
            if let row = try? await vms.parts.store.get(NodeRow.self, row.key) { nodes.take(row) }
            throw error
        }
    }

    private func changed(_ old: NodeRow, _ change: Change) throws(Fault) -> NodeRow {
        var row = old
        var violations: [FieldViolation] = []
        switch change {
        case .cordon(let reason):
            if reason.utf8.count > 1024 {
                let problem = "has \(reason.utf8.count) bytes; at most 1024"
                violations.append(.init("reason", problem))
            }
            row.isCordoned = true
            row.cordonReason = reason
        case .uncordon:
            row.isCordoned = false
            row.cordonReason = ""
        case .labels(let set, let remove):
            violations = labelViolations(set, field: "set") + self.violations(set.keys, remove)
            let own = nodes.own(row.node)?.labels ?? [:]
            for key in remove {
                if row.labels[key] == nil, own[key] != nil {
                    let problem = "the node itself says \(shown(key)); set it to another value"
                    violations.append(.init("remove", problem))
                }
                row.labels[key] = nil
            }
            row.labels.merge(set) { $1 }
            if row.labels.count > Limits.labels {
                let problem = "the node would have \(row.labels.count); at most \(Limits.labels)"
                violations.append(.init("set", problem))
            }
        case .taints(let set, let remove):
            violations = taintViolations(set) + self.violations(set.map(\.key), remove)
            let gone = Set(remove + set.map(\.key))
            row.taints = (row.taints.filter { !gone.contains($0.key) } + set).sorted()
            if row.taints.count > PlacementLimits.taints {
                let limit = PlacementLimits.taints
                let problem = "the node would have \(row.taints.count); at most \(limit)"
                violations.append(.init("set", problem))
            }
        }
        guard violations.isEmpty else { throw .invalid(violations) }
        return row
    }

    private func taintViolations(_ taints: [Taint]) -> [FieldViolation] {
        var found: [FieldViolation] = []
        for (index, taint) in taints.prefix(PlacementLimits.taints + 1).enumerated() {
            found += labelViolations([taint.key: taint.value], field: "set[\(index)]")
            if taints[..<index].contains(where: { $0.key == taint.key }) {
                found.append(.init("set[\(index)]", "'\(shown(taint.key))' is there twice"))
            }
        }
        return found
    }

    /// Keys that cannot be removed: nonsense, or set by the same request.
    private func violations(
        _ set: some Collection<String>,
        _ remove: [String]
    ) -> [FieldViolation] {
        if set.isEmpty, remove.isEmpty {
            return [.init("set", "names nothing to change; nor does remove")]
        }
        var found: [FieldViolation] = []
        if remove.count > Limits.labels {
            return [.init("remove", "\(remove.count) keys; at most \(Limits.labels)")]
        }
        for (index, key) in remove.enumerated() {
            if !labelViolations([key: ""], field: "").isEmpty {
                found.append(.init("remove[\(index)]", "'\(shown(key))' is not a label key"))
            } else if set.contains(key) {
                found.append(.init("remove[\(index)]", "'\(shown(key))' is set as well"))
            }
        }
        return found
    }
}
