package import GRPCCore
package import RoostAPI
package import RoostControl
import RoostModel
import RoostStore
import SwiftProtobuf

/// `roost.ops.v1.EventService` over the events that ``VMService`` writes.
package struct EventServiceSkin: Roost_Ops_V1_EventService.SimpleServiceProtocol {
    private let vms: VMService

    package init(_ vms: VMService) { self.vms = vms }

    package func listEvents(
        request: Roost_Ops_V1_ListEventsRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_ListEventsResponse {
        let limit = request.pageSize == 0 ? 100 : Int(request.pageSize)
        let filter = try filter(request.filter)
        let found: EventPage
        if request.hasSinceRevision {
            let since = try revision(request.sinceRevision)
            found = try await vms.events(filter, after: since, limit: limit)
        } else {
            found = try await vms.events(filter, limit: limit)
        }
        return .with {
            $0.events = found.events.map { .init($0) }
            $0.revision = found.revision.number
        }
    }

    package func watchEvents(
        request: Roost_Ops_V1_WatchEventsRequest,
        response: RPCWriter<Roost_Ops_V1_WatchEventsResponse>,
        context: ServerContext
    ) async throws {
        let filter = try filter(request.filter)
        let since = request.hasSinceRevision ? try revision(request.sinceRevision) : nil
        try await vms.followEvents(filter, since: since) { page in
            try await response.write(
                .with {
                    $0.events = page.events.map { .init($0) }
                    $0.revision = page.revision.number
                }
            )
        }
    }

    private func revision(_ number: Int64) throws(Fault) -> Revision {
        guard number >= 0 else { throw .invalid("since_revision", "\(number) is under 0") }
        return Revision(number)
    }

    private func filter(
        _ message: Roost_Ops_V1_EventFilter
    ) throws(Fault) -> EventFilter {
        var filter = EventFilter(
            vm: message.vm,
            node: message.node,
            operation: message.operation.lowercased(),
            project: ["", "-"].contains(message.project)
                ? "" : try project(message.project).name,
            confinedTo: Caller.current.project
        )
        guard message.kinds.count <= Event.Kind.allCases.count else {
            let problem = "has \(message.kinds.count) kinds; there are \(Event.Kind.allCases.count)"
            throw .invalid("filter.kinds", problem)
        }
        for (index, kind) in message.kinds.enumerated() {
            switch kind {
            case .vmState: filter.kinds.insert(.vmState)
            case .vmGone: filter.kinds.insert(.vmGone)
            case .nodeState: filter.kinds.insert(.nodeState)
            case .operationState: filter.kinds.insert(.operationState)
            case .fleetPublished: filter.kinds.insert(.fleetPublished)
            case .unspecified, .UNRECOGNIZED:
                throw .invalid("filter.kinds[\(index)]", "\(kind.rawValue) is no kind")
            }
        }
        for (field, text) in [("vm", filter.vm), ("node", filter.node)]
        where text.utf8.count > 255 {
            throw .invalid("filter.\(field)", "has \(text.utf8.count) bytes; at most 255")
        }
        let length = filter.operation.utf8.count
        guard length == 0 || (6...29).contains(length) else {
            throw .invalid("filter.operation", "is no op id, nor the last 6 characters of one")
        }
        if filter.operation.hasPrefix("op-"), length < 29 { filter.operation.removeFirst(3) }
        let isOfNodes = !filter.node.isEmpty || filter.kinds == [.nodeState]
        if let confined = filter.confinedTo, isOfNodes {
            throw Fault(
                .permissionDenied,
                "events of nodes are about the whole fleet, and this caller is confined to the project "
                    + confined,
                metadata: ["project": confined]
            )
        }
        return filter
    }
}

extension Roost_Ops_V1_Event {
    fileprivate init(_ placed: PlacedEvent) {
        self.init()
        let event = placed.event
        id = placed.id
        revision = placed.revision.number
        time = .init(placed.at)
        kind =
            switch event.kind {
            case .vmState: .vmState
            case .vmGone: .vmGone
            case .nodeState: .nodeState
            case .operationState: .operationState
            case .fleetPublished: .fleetPublished
            }
        subject = .with {
            $0.kind = event.subject.kind.rawValue
            $0.id = event.subject.id
            $0.name = event.subject.name
        }
        project = event.subject.project ?? ""
        from = event.from ?? ""
        to = event.to
        reason = event.reason
        operation = event.operation?.description ?? ""
        principal = event.principal ?? ""
        method = event.method ?? ""
    }
}
