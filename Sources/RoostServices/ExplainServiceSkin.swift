package import GRPCCore
package import RoostAPI
package import RoostControl
import RoostModel
import RoostScheduler
import RoostStore
import SwiftProtobuf

/// `roost.ops.v1.ExplainService` over ``FleetService``: decode, call, encode.
package struct ExplainServiceSkin: Roost_Ops_V1_ExplainService.SimpleServiceProtocol {
    private let fleet: FleetService

    package init(_ fleet: FleetService) { self.fleet = fleet }

    package func explainVM(
        request: Roost_Ops_V1_ExplainVMRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_ExplainVMResponse {
        let account = try await fleet.explain(
            request.vm,
            project: project(request.project),
            notOn: request.notOn
        )
        let vm = account.vm
        return .with {
            $0.vmID = vm.id.description
            $0.vmName = vm.name
            $0.state = vm.status.state.rawValue
            $0.reason = vm.status.reason
            $0.remedy = account.remedy ?? ""
            if let node = vm.status.node {
                $0.nodeID = node.description
                $0.nodeName = account.fleet.name(node)
            }
            if let row = account.decision { $0.decision = .init(row, account.fleet) }
            if let notOn = account.notOn { $0.notOn = .init(notOn, account.fleet) }
        }
    }

    package func whatIf(
        request: Roost_Ops_V1_WhatIfRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_WhatIfResponse {
        let prospect = try await fleet.whatIf(try question(request))
        var response = Roost_Ops_V1_WhatIfResponse(prospect)
        let shown = prospect.forecast.steps.prefix(FleetService.shownSteps)
        var change = prospect.change
        response.steps = shown.map { step in
            var message = Roost_Ops_V1_WhatIfResponse.Step(step, prospect)
            if message.outcome == .refused, let said = change {
                message.change = said
                change = nil
            }
            return message
        }
        response.omittedSteps = Int64(prospect.forecast.steps.count - shown.count)
        return response
    }

    package func recommendMoves(
        request: Roost_Ops_V1_RecommendMovesRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_RecommendMovesResponse {
        let advice = try await fleet.advise(
            minimumGain: Int(clamping: request.minimumGain),
            limit: Int(request.limit)
        )
        return .with {
            $0.revision = advice.revision.number
            $0.moves = advice.moves.map { .init($0, advice) }
        }
    }

    private func question(
        _ request: Roost_Ops_V1_WhatIfRequest
    ) throws(Fault) -> FleetService.Question {
        switch request.change {
        case nil: throw .invalid("change", "is required: one of add, drain, lose, resize")
        case .drain(let node): return .drain(node)
        case .lose(let node): return .lose(node)
        case .resize(let resize):
            return try .resize(
                resize.vm,
                project: project(resize.project),
                cores: Int(resize.cores),
                memoryMiB: Int(resize.memoryMib)
            )
        case .add(let add):
            var draft = VMDraft(
                name: "what-if",
                cores: Int(add.cores),
                memoryMiB: Int(add.memoryMib)
            )
            draft.labels = add.labels
            draft.node = add.node
            draft.image = add.image
            draft.placement = try PlacementDraft(add.placement)
            return .add(count: Int(add.count), draft)
        }
    }
}

extension Roost_Ops_V1_Decision {
    fileprivate init(_ row: PlacementRow, _ fleet: Fleet) {
        self.init()
        nodeID = row.node.description
        isExplicit = row.isExplicit
        decideTime = .init(row.decidedAt)
        revision = Int64(clamping: row.explanation.revision)
        nodes = Int64(row.explanation.nodes)
        fitting = Int64(row.explanation.fitting)
        removed = row.explanation.removed.map { removal in
            .with {
                $0.constraint = removal.constraint.name
                $0.text = removal.constraint.text(row.rules)
                $0.nodes = Int64(removal.nodes)
            }
        }
        best = row.explanation.best.map { .init($0, fleet) }
    }
}

extension Roost_Ops_V1_ScoredNode {
    fileprivate init(_ scored: Scored, _ fleet: Fleet) {
        self.init()
        nodeID = scored.node.description
        nodeName = fleet.name(scored.node)
        score = Int64(scored.score)
        parts = scored.parts.named.filter { $0.points != 0 }.map { part in
            .with {
                $0.name = part.name
                $0.points = Int64(part.points)
            }
        }
    }
}

extension Roost_Ops_V1_NodeVerdict {
    fileprivate init(_ account: FleetService.NodeAccount, _ fleet: Fleet) {
        self.init()
        nodeID = account.node.description
        nodeName = fleet.name(account.node)
        isThere = account.isThere
        text = account.text
        change = account.change ?? ""
        switch account.verdict {
        case .fits(let scored):
            fits = true
            score = .init(scored, fleet)
        case .removed(let constraint): self.constraint = constraint.name
        }
        if let best = account.best { self.best = .init(best, fleet) }
    }
}

extension Roost_Ops_V1_WhatIfResponse {
    /// All but the steps.
    fileprivate init(_ prospect: FleetService.Prospect) {
        self.init()
        let forecast = prospect.forecast
        revision = prospect.revision.number
        placed = Int64(forecast.placed)
        refused = Int64(forecast.refusals.count)
        var counts: [NodeID: Int] = [:]
        for step in forecast.steps {
            if case .goes(let decision) = step.outcome { counts[decision.node, default: 0] += 1 }
        }
        arrivals = counts.map { node, count in
            .with {
                $0.nodeID = node.description
                $0.nodeName = prospect.fleet.name(node)
                $0.vms = Int64(count)
            }
        }.sorted { ($0.nodeName, $0.nodeID) < ($1.nodeName, $1.nodeID) }
    }
}

extension Roost_Ops_V1_WhatIfResponse.Step {
    fileprivate init(_ step: Forecast.Step, _ prospect: FleetService.Prospect) {
        self.init()
        if let from = step.from {
            // A new VM's id is a stand-in, which means nothing to anybody.
            vmID = step.vm.description
            vmName = prospect.names[step.vm] ?? ""
            fromNodeID = from.description
        }
        switch step.outcome {
        case .stays:
            outcome = .stays
            toNodeID = fromNodeID
        case .goes(let decision):
            outcome = .goes
            toNodeID = decision.node.description
        case .refused(let refusal):
            outcome = .refused
            reason = refusal.fault().message
        }
    }
}

extension Roost_Ops_V1_RecommendMovesResponse.Move {
    fileprivate init(_ move: Move, _ advice: FleetService.Advice) {
        self.init()
        vmID = move.vm.description
        vmName = advice.names[move.vm] ?? ""
        fromNodeID = move.from.description
        fromNodeName = advice.fleet.name(move.from)
        toNodeID = move.to.description
        toNodeName = advice.fleet.name(move.to)
        text = advice.texts[move.vm] ?? ""
        switch move.reason {
        case .broken(let constraint):
            reason = .broken
            self.constraint = constraint.name
        case .gain(let points):
            reason = .gain
            gain = Int64(points)
        }
    }
}
