import RoostLink
package import RoostModel
import RoostOperations
package import RoostScheduler
import RoostStore

/// From what a request says about its place to a node, promised and explained.
extension VMService {
    /// The request to a scheduler that `draft` comes to: every node and VM by its id, every selector
    /// read, every default filled in; with the wish to be where nodes say that its image is.
    ///
    /// - Throws: every violation at once; ``Reason/nodeNotFound``, ``Reason/vmNotFound`` or
    ///   ``Reason/ambiguousName`` for the first name that means nothing, or too much.
    package func placementRequest(_ draft: VMDraft) async throws(Fault) -> PlacementRequest {
        var request = PlacementRequest(
            cores: draft.cores ?? 0,
            memoryMiB: draft.memoryMiB ?? 0,
            labels: draft.labels
        )
        request.rules = try await rules(draft.placement, draft)
        request.rules.localities += parts.nodes.wishes(for: draft)
        if !draft.node.isEmpty { request.node = try parts.nodes.find(draft.node) }
        let violations = request.violations
        guard violations.isEmpty else { throw .invalid(violations) }
        return request
    }

    private func rules(
        _ placement: PlacementDraft,
        _ draft: VMDraft
    ) async throws(Fault) -> PlacementRules {
        let field = "spec.placement"
        var rules = PlacementRules()
        if placement.isEmpty { return rules }
        for (index, node) in placement.requiredNodes.enumerated() {
            let path = "\(field).required_nodes[\(index)]"
            rules.requiredNodes.append(try parts.nodes.find(node, field: path))
        }
        for (index, node) in placement.excludedNodes.enumerated() {
            let path = "\(field).excluded_nodes[\(index)]"
            rules.excludedNodes.append(try parts.nodes.find(node, field: path))
        }
        for (index, wish) in placement.preferredNodes.enumerated() {
            let path = "\(field).preferred_nodes[\(index)].node"
            let weight = wish.weight == 0 ? PlacementDraft.usualWeight : wish.weight
            let node = try parts.nodes.find(wish.node, field: path)
            rules.preferredNodes.append(NodePreference(node, weight: weight))
        }
        rules.requiredLabels = try Selector(placement.requiredLabels)
        rules.tolerations = placement.tolerations
        for wish in placement.affinities {
            let group: VMGroup =
                wish.vm.isEmpty
                ? .labels(try Selector(wish.selector))
                : .vm(try await find(wish.vm, project: ProjectView(draft.project)).row.id)
            let strength = Strength(weight: wish.weight)
            rules.affinities.append(AffinityRule(wish.kind, group, strength))
        }
        for wish in placement.spreads {
            rules.spreads.append(
                SpreadRule(
                    over: wish.over,
                    among: wish.selector.isEmpty
                        ? Selector(labels: draft.labels) : try Selector(wish.selector),
                    maxSkew: wish.maxSkew == 0 ? 1 : wish.maxSkew,
                    Strength(weight: wish.weight)
                )
            )
        }
        return rules
    }

    /// Makes sure that what `draft` names by id is there for `project`'s asker.
    ///
    /// - Throws: ``Reason/templateNotFound``, ``Reason/vmNotFound``.
    package func requireReach(
        of draft: VMDraft,
        in project: ProjectView
    ) async throws(Fault) {
        guard project.isConfined else { return }
        if !draft.template.isEmpty { _ = try await findTemplate(draft.template, project: project) }
        for wish in draft.placement.affinities where !wish.vm.isEmpty {
            _ = try await find(wish.vm, project: project)
        }
    }

    /// A node with its images, and the room on it promised.
    struct Place: Sendable {
        var decided: NodeDirectory.Decided
        var images: ResolvedImages
    }

    /// Decides where `vm` goes and resolves its images there. A node that does not answer, or has no
    /// such image, is left out and the next best is asked, unless the request names it.
    ///
    /// - Throws: the refusal with the smallest change; what the first node said when no other would
    ///   do. Nothing is promised then.
    func findPlace(
        _ vm: VMID,
        _ request: PlacementRequest,
        _ draft: VMDraft,
        isOnlyAsked: Bool
    ) async throws(Fault) -> Place {
        var request = request
        var first: Fault?
        while true {
            let decided: NodeDirectory.Decided
            do throws(Fault) {
                decided = try place(vm, request, draft.startOnCreate, isOnlyAsked)
            } catch {
                throw first ?? error
            }
            do throws(Fault) {
                let link = try parts.nodes.link(decided.node)
                let images = try await link.resolve(image: draft.image, kernel: draft.kernel)
                return Place(decided: decided, images: images)
            } catch {
                if !isOnlyAsked { parts.nodes.forget(vm) }
                let isNodesOwn =
                    switch error.reason {
                    case .nodeUnreachable, .imageNotFound, .kernelNotFound: true
                    default: false
                    }
                guard isNodesOwn, request.node == nil,
                    !request.rules.requiredNodes.contains(decided.node)
                        || request.rules.requiredNodes.count > 1,
                    request.rules.excludedNodes.count < PlacementLimits.nodes
                else { throw first ?? error }
                first = first ?? error
                parts.failpoints.mark(.anotherNode)
                request.rules.requiredNodes.removeAll { $0 == decided.node }
                request.rules.excludedNodes.append(decided.node)
            }
        }
    }

    private func place(
        _ vm: VMID,
        _ request: PlacementRequest,
        _ starts: Bool,
        _ isOnlyAsked: Bool
    ) throws(Fault) -> NodeDirectory.Decided {
        var asked = request
        if parts.failpoints.skips(.capacity) { (asked.cores, asked.memoryMiB) = (1, 1) }
        if parts.failpoints.skips(.rules) { asked.rules = PlacementRules() }
        return try parts.nodes.place(asked, for: vm, isRunning: starts, isOnlyAsked: isOnlyAsked)
    }

    /// The record of why `vm` is where it is.
    func placementRow(_ vm: VM, _ decided: NodeDirectory.Decided, isExplicit: Bool) -> PlacementRow
    {
        PlacementRow(
            vm: vm.id,
            node: decided.node,
            isExplicit: isExplicit,
            explanation: decided.explanation,
            rules: vm.spec.placement ?? PlacementRules(),
            decidedAt: now
        )
    }

    /// Makes `batch` happen only if operators say of the node what they said when it was decided.
    func require(_ decided: NodeDirectory.Decided, _ batch: inout Batch) {
        if parts.failpoints.skips(.nodeRow) { return }
        batch.require(NodeRow.self, NodeRow.key(decided.node), at: decided.row)
    }

    /// Whether `fault` says that operators said something new of a node; it is taken in then, and the
    /// decision is to be made again.
    func isOvertaken(
        _ fault: Fault,
        _ node: NodeID
    ) async throws(Fault) -> Bool {
        guard fault.metadata["table"] == NodeRow.table else { return false }
        if let row = try await parts.store.get(NodeRow.self, NodeRow.key(node)) {
            parts.nodes.take(row)
        }
        parts.failpoints.mark(.placementOvertaken)
        return true
    }
}

extension Selector {
    /// Matches whatever has all of `labels`; everything when there are none.
    package init(labels: [String: String]) {
        self.init(terms: labels.sorted { $0.key < $1.key }.map { .equals($0.key, $0.value) })
    }
}
