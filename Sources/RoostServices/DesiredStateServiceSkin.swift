import Crypto
package import GRPCCore
package import RoostAPI
package import RoostControl
import RoostModel
import RoostReconciler
import SwiftProtobuf

/// `roost.fleet.v1.DesiredStateService` over ``DesiredStateService``: decode, call, encode.
package struct DesiredStateServiceSkin: Roost_Fleet_V1_DesiredStateService.SimpleServiceProtocol {
    private let service: DesiredStateService

    package init(_ service: DesiredStateService) { self.service = service }

    package func planState(
        request: Roost_Fleet_V1_PlanStateRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_PlanStateResponse {
        let sent = try await sent(request.hasState, request.state)
        let proposal = try await service.plan(sent.state, hash: sent.hash)
        return .with {
            $0.changes = proposal.plan.steps.map { step in
                var change = Roost_Fleet_V1_PlannedChange(step)
                switch proposal.places[step.name] {
                case .node(let node): change.node = node
                case .refused(let why): change.trouble = why
                case nil: break
                }
                return change
            }
            $0.wanted = Int32(proposal.plan.wanted)
            $0.settled = Int32(proposal.plan.settled)
            $0.generation = proposal.generation
            $0.token = proposal.token
        }
    }

    package func publishState(
        request: Roost_Fleet_V1_PublishStateRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_PublishStateResponse {
        let sent = try await sent(request.hasState, request.state)
        let published = try await service.publish(
            .init(
                sent.state,
                document: sent.document,
                hash: sent.hash,
                generation: request.generation,
                token: request.token,
                try requestContext("PublishState", request, validateOnly: request.validateOnly)
            )
        )
        return .with {
            $0.generation = published.row.generation
            $0.hash = published.row.hash
            $0.changed = published.changed
        }
    }

    package func getState(
        request: Roost_Fleet_V1_GetStateRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_PublishedState {
        guard !request.name.isEmpty else { throw Fault.invalid("name", "is required") }
        let report = try await service.report(
            request.name,
            project: project(request.project).name
        )
        return try Roost_Fleet_V1_PublishedState(report)
    }

    package func listStates(
        request: Roost_Fleet_V1_ListStatesRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_ListStatesResponse {
        let reports = try await service.reports(project: projects(request.project))
        return try .with { $0.states = try reports.map(Roost_Fleet_V1_PublishedState.init) }
    }

    /// The state that came, whose every part is there for the caller: it is kept by the daemon itself.
    private func sent(
        _ isThere: Bool,
        _ message: Roost_Fleet_V1_FleetState
    ) async throws -> Sent {
        var message = message
        let project = try project(message.project)
        message.project = project.name
        let sent = try Sent(isThere, message)
        for group in sent.state.groups {
            try await service.requireReach(of: group.draft, in: project)
        }
        return sent
    }
}

/// A state as it came, and what it comes to.
private struct Sent {
    let state: FleetState
    /// In JSON.
    let document: String
    /// SHA-256 of its binary form, map entries in order.
    let hash: String

    init(_ isThere: Bool, _ message: Roost_Fleet_V1_FleetState) throws {
        guard isThere else { throw Fault.invalid("state", "is required") }
        state = try FleetState(message)
        var message = message
        message.project = state.project
        document = try message.jsonString()
        var options = BinaryEncodingOptions()
        options.useDeterministicOrdering = true
        let bytes: [UInt8] = try message.serializedBytes(options: options)
        hash = SHA256.hash(data: bytes)
            .map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }
}

extension Roost_Fleet_V1_PublishedState {
    fileprivate init(_ report: DesiredStateService.Report) throws {
        self.init()
        let row = report.row
        state = try Roost_Fleet_V1_FleetState(jsonString: row.document)
        generation = row.generation
        hash = row.hash
        publishTime = .init(row.publishedAt)
        publishedBy = row.principal
        publishOp = row.operation.description
        changes = report.plan.steps.map { step in
            var change = Roost_Fleet_V1_PlannedChange(step)
            if let fault = report.troubles[step.name] {
                change.trouble = "\(fault.reason.rawValue): \(fault.message)"
            }
            return change
        }
        wanted = Int32(report.plan.wanted)
        settled = Int32(report.plan.settled)
        convergencePercent = Int32(report.plan.percent)
    }
}

extension Roost_Fleet_V1_PlannedChange {
    fileprivate init(_ step: FleetPlan.Step) {
        self.init()
        name = step.name
        group = step.group
        vmID = step.vm?.description ?? ""
        kind =
            switch step.change {
            case .create: .create
            case .update: .update
            case .restart: .restart
            case .replace: .replace
            case .start: .start
            case .stop: .stop
            case .remove: .remove
            case .blocked: .blocked
            }
        details = step.change.details
        runningOp = step.runningOp?.description ?? ""
    }
}
