package import RoostLink
package import RoostModel
package import RoostScheduler
package import RoostStore
import Synchronization

/// The nodes that can be reached, what operators say of them, and what of them is promised.
///
/// A decision and the room that it takes are one step under one lock: of two requests that are
/// decided at once, the second sees the first. What is promised is the sum over VMs; it lives in
/// memory and is counted anew from the rows when a control plane starts.
package final class NodeDirectory: Sendable {
    private struct State {
        var links: [NodeID: any NodeLink] = [:]
        /// What each node says of itself.
        var said: [NodeID: NodeFacts] = [:]
        /// What operators say of it.
        var rows: [NodeID: Versioned<NodeRow>] = [:]
        /// Those that are drained, as of a revision; `nil` once that is over.
        var drains: [NodeID: (mark: Versioned<DrainMark>?, revision: Revision)] = [:]
        /// What each node said that VMs may begin from, and the same for the scheduler. In memory only.
        var holdings: [NodeID: (said: NodeHoldings, artifacts: Set<Artifact>)] = [:]
        var index = HoldingsIndex()
        /// Those that are not heard of as they should be: ``NodeState/notReady`` or
        /// ``NodeState/lost``. In memory only.
        var silent: [NodeID: NodeState] = [:]
        var fleet: Fleet
        /// The newest generation of each VM that was counted by its row.
        var generations: [VMID: Int] = [:]
        /// The latest version of its row by which a VM was confirmed.
        var versions: [VMID: Revision] = [:]
        /// The revision of the latest commit that this control plane knows of.
        var revision = Revision(0)
    }

    private let state: Mutex<State>
    private let fullName: @Sendable (String) -> String?

    /// `fullName` says what a reference of an image is called in full, as nodes have it; `nil` for what
    /// is none.
    package init(
        strategy: PlacementStrategy = .spread,
        fullName: @escaping @Sendable (String) -> String? = { _ in nil }
    ) {
        self.fullName = fullName
        state = Mutex(State(fleet: Fleet(strategy: strategy)))
    }

    // MARK: Nodes

    /// Makes a node known, or known anew. What operators said of it stays.
    package func join(
        _ link: any NodeLink,
        name: String = "",
        capacity: NodeCapacity,
        policy: OvercommitPolicy = OvercommitPolicy(),
        labels: [String: String] = [:]
    ) {
        let said = NodeFacts(
            id: link.node,
            name: name,
            cores: capacity.cores,
            memoryMiB: capacity.memoryMiB,
            policy: policy,
            labels: labels
        )
        state.withLock { state in
            state.links[link.node] = link
            state.said[link.node] = said
            Self.join(link.node, &state)
        }
    }

    /// Takes in what operators say of a node; an older word than is known changes nothing.
    package func take(_ row: Versioned<NodeRow>) {
        state.withLock { state in
            let known = state.rows[row.row.node]?.version
            guard known.map({ $0 < row.version }) ?? true else { return }
            state.rows[row.row.node] = row
            Self.join(row.row.node, &state)
        }
    }

    /// Puts a node into the fleet as both the node and its operators have it.
    private static func join(_ node: NodeID, _ state: inout State) {
        guard var facts = state.said[node] else { return }
        if let row = state.rows[node]?.row {
            facts.labels.merge(row.labels) { $1 }
            facts.taints = row.taints
            if row.isCordoned { facts.state = .cordoned }
        }
        facts.artifacts = state.holdings[node]?.artifacts ?? []
        if state.drains[node]?.mark != nil { facts.state = .draining }
        // Whatever operators say: what cannot be reached takes nothing.
        if let silence = state.silent[node] { facts.state = silence }
        guard state.fleet.facts(node) != facts else { return }
        state.fleet.join([facts])
    }

    /// Takes in whether `node` is drained, as it was at `revision`; an older word changes nothing.
    package func take(_ mark: Versioned<DrainMark>?, of node: NodeID, at revision: Revision) {
        state.withLock { state in
            let known = state.drains[node]?.revision
            guard known.map({ $0 < revision }) ?? true else { return }
            state.drains[node] = (mark, revision)
            Self.join(node, &state)
        }
    }

    /// The drain of `node`, as it is known here; `nil` when there is none.
    package func drain(of node: NodeID) -> Versioned<DrainMark>? {
        state.withLock { $0.drains[node]?.mark }
    }

    /// What people call each of the nodes that are drained.
    package var drained: [NodeID: String] {
        state.withLock { state in
            var names: [NodeID: String] = [:]
            for (node, drain) in state.drains where drain.mark != nil {
                names[node] = state.fleet.name(node)
            }
            return names
        }
    }

    /// Takes in what `node` has that VMs begin from. May come before the node is known.
    package func note(_ node: NodeID, holds holdings: NodeHoldings) {
        state.withLock { state in
            let known = state.holdings[node]?.said
            guard known != holdings else { return }
            if let known { state.index.remove(known) }
            state.index.add(holdings)
            state.holdings[node] = (holdings, holdings.artifacts)
            Self.join(node, &state)
        }
    }

    /// What a VM like `draft` had better find on its node, as nodes have said it.
    package func wishes(for draft: VMDraft) -> [LocalityRule] {
        state.withLock { $0.index.wishes(for: draft, fullName: fullName) }
    }

    /// Says whether `node` is heard of: `nil` when it is, else ``NodeState/notReady`` or
    /// ``NodeState/lost``. May come before the node is known.
    package func note(_ node: NodeID, silence: NodeState?) {
        state.withLock { state in
            state.silent[node] = silence
            Self.join(node, &state)
        }
    }

    /// What was said last of whether `node` is heard of: `nil` when it is.
    package func silence(of node: NodeID) -> NodeState? { state.withLock { $0.silent[node] } }

    /// Forgets a node and everything that is promised of it.
    package func leave(_ node: NodeID) {
        state.withLock { state in
            state.links[node] = nil
            state.said[node] = nil
            state.rows[node] = nil
            state.silent[node] = nil
            state.drains[node] = nil
            if let held = state.holdings.removeValue(forKey: node) {
                state.index.remove(held.said)
            }
            state.fleet.removeNode(node)
        }
    }

    /// Whether there is a way to `node`.
    package func holds(_ node: NodeID) -> Bool { state.withLock { $0.links[node] != nil } }

    /// The way to `node`.
    package func link(_ node: NodeID?) throws(Fault) -> any NodeLink {
        guard let node, let link = state.withLock({ $0.links[node] }) else {
            throw Fault(
                .nodeUnreachable,
                "node \(node?.short ?? "(none)") is not joined",
                metadata: ["op": ""]
            )
        }
        return link
    }

    /// Every way there is, by node id.
    package var links: [any NodeLink] {
        state.withLock { state in state.links.sorted { $0.key < $1.key }.map(\.value) }
    }

    /// The fleet as it is now: a copy, to ask and to try things on.
    package var fleet: Fleet { state.withLock { $0.fleet } }

    /// What operators say of `node`, as it is known here; `nil` when nobody ever said anything.
    package func row(_ node: NodeID) -> Versioned<NodeRow>? { state.withLock { $0.rows[node] } }

    /// The node that `reference` means: a name, an id, or a unique prefix of one (4 digits or more).
    ///
    /// - Throws: ``Reason/invalidFields`` for `field` without one, ``Reason/nodeNotFound``,
    ///   ``Reason/ambiguousName``.
    package func find(_ reference: String, field: String = "node") throws(Fault) -> NodeID {
        guard !reference.isEmpty else {
            throw .invalid(field, "is required: a node's name, its id, or a unique prefix of that")
        }
        let nodes = fleet.nodes
        let named = nodes.filter { $0.name == reference }
        if named.count == 1, let node = named.first { return node.id }
        let byID = nodes.filter {
            reference.utf8.count >= 4 && $0.id.description.hasPrefix(reference)
        }
        if named.isEmpty, byID.count == 1, let node = byID.first { return node.id }
        guard named.isEmpty && byID.isEmpty else {
            throw Fault(
                .ambiguousName,
                "'\(shown(reference))' in \(field) means several nodes; use an id"
            )
        }
        throw Fault(
            .nodeNotFound,
            "no node '\(shown(reference))' (\(field))",
            metadata: ["node": shown(reference)]
        )
    }

    /// What `node` says of itself, without its operators.
    package func own(_ node: NodeID) -> NodeFacts? { state.withLock { $0.said[node] } }

    /// What people call `node`.
    package func name(_ node: NodeID) -> String { fleet.name(node) }

    // MARK: Promises

    /// A decision as it is stored.
    package struct Decided: Sendable {
        package var node: NodeID
        package var explanation: Explanation
        /// What operators said of the node when it was decided; a commit compares it.
        package var row: Revision?
    }

    /// Notes that everything up to `revision` may count in what is decided from now on.
    package func note(_ revision: Revision) {
        state.withLock { state in state.revision = max(state.revision, revision) }
    }

    /// The latest revision that decisions count from.
    package var revision: Revision { state.withLock { $0.revision } }

    /// Decides where `vm` goes and, unless it is only asked, promises it the room at once, which
    /// ``count(_:)`` or ``forget(_:)`` sees to later.
    ///
    /// - Throws: the refusal with the smallest change that would help, as a fault;
    ///   as ``Fleet/place(_:for:)``.
    package func place(
        _ request: PlacementRequest,
        for vm: VMID,
        isRunning: Bool,
        isOnlyAsked: Bool = false
    ) throws(Fault) -> Decided {
        let outcome: Result<Choice, Fault> = state.withLock { state in
            do throws(Fault) {
                switch try state.fleet.place(request, for: vm) {
                case .refused(let refusal): return .success(.refused(refusal, state.fleet))
                case .placed(let decision):
                    if !isOnlyAsked {
                        try state.fleet.add(vm, request, on: decision.node, isRunning: isRunning)
                    }
                    var explanation = decision.explanation
                    explanation.revision = UInt64(max(state.revision.number, 0))
                    return .success(
                        .placed(
                            Decided(
                                node: decision.node,
                                explanation: explanation,
                                row: state.rows[decision.node]?.version
                            )
                        )
                    )
                }
            } catch { return .failure(error) }
        }
        switch try outcome.get() {
        case .placed(let decided): return decided
        // On a copy and outside the lock: it looks at every node.
        case .refused(let refusal, let fleet): throw try fleet.fault(refusal)
        }
    }

    private enum Choice {
        case placed(Decided)
        case refused(Refusal, Fleet)
    }

    /// Promises room on its node to a VM that is there already, so that it can start; checks and
    /// takes in one step.
    package func promise(_ vm: VM, on node: NodeID) throws(Fault) {
        let outcome: Result<Void, Fault> = state.withLock { state in
            do throws(Fault) {
                try state.fleet.reserve(vm.id, PlacementRequest(vm), on: node)
                return .success(())
            } catch { return .failure(error) }
        }
        try outcome.get()
    }

    /// Takes in a VM that comes back from the trash, where its disks are, as one that does not run:
    /// checks the required rules about other VMs and takes its place among them in one step.
    ///
    /// - Throws: ``Reason/noNodeFits`` naming the rule.
    package func admit(_ vm: VM) throws(Fault) {
        guard let node = vm.status.node else { return }
        let request = PlacementRequest(vm)
        let outcome: Result<Constraint?, Fault> = state.withLock { state in
            // Two ask at once: only one of them is accepted.
            if state.fleet.resident(vm.id) != nil { return .success(nil) }
            do throws(Fault) {
                let conflict = try state.fleet.conflict(request, on: node, for: vm.id)
                if conflict == nil {
                    try state.fleet.add(vm.id, request, on: node, isRunning: false)
                }
                return .success(conflict)
            } catch { return .failure(error) }
        }
        guard let conflict = try outcome.get() else { return }
        let text = conflict.text(request.rules)
        throw Fault(
            .noNodeFits,
            "\(vm.name) cannot come back to \(name(node)), where its disks are: \(text)",
            metadata: ["change": "remove the VMs that it must be apart from"]
        )
    }

    /// Counts `vm` as its row says, whether it fits or not: on its node, with cores and memory if it
    /// runs or is about to. One in the trash holds nothing, unless it is about to come back.
    package func count(_ vm: VM) {
        guard let node = vm.status.node, vm.deletedAt == nil || vm.runningOp != nil else {
            return forget(vm.id)
        }
        state.withLock { state in
            state.generations[vm.id] = vm.generation
            state.fleet.count(
                vm.id,
                PlacementRequest(vm),
                on: node,
                isRunning: vm.holdsRoom
            )
        }
    }

    /// Sees to the cores and memory of `vm` as a row says that was read, and may be old by now: one
    /// that is not here any more and does not run does not come back by it, and one that was counted
    /// by a later generation of its row, or confirmed by a later `version`, holds what that says.
    package func confirm(_ vm: VM, at version: Revision? = nil) {
        let isKnown = state.withLock { state in
            guard let held = state.fleet.resident(vm.id) else { return false }
            guard vm.generation >= state.generations[vm.id] ?? 0 else { return true }
            if let version {
                // Two reads of one generation: running, and its end. The older may be answered last.
                if let latest = state.versions[vm.id], version < latest { return true }
                state.versions[vm.id] = version
            }
            state.generations[vm.id] = vm.generation
            state.fleet.count(vm.id, held.request, on: held.node, isRunning: vm.holdsRoom)
            return true
        }
        if !isKnown, vm.holdsRoom { count(vm) }
    }

    /// Takes back the cores and memory of `vm`, which keeps its place among the others. Fine when it
    /// holds nothing.
    package func release(_ vm: VMID) {
        state.withLock { state in
            guard let held = state.fleet.resident(vm) else { return }
            state.fleet.count(vm, held.request, on: held.node, isRunning: false)
        }
    }

    /// Takes back all that `vm` holds. Fine when it holds nothing.
    package func forget(_ vm: VMID) {
        state.withLock { state in
            state.fleet.remove(vm)
            state.generations[vm] = nil
            state.versions[vm] = nil
        }
    }
}
