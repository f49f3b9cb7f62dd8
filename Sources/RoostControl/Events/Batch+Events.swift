package import RoostModel
import RoostOperations
package import RoostStore

/// What a batch comes to, in words: the events that belong in its commit.
///
/// It is all in the batch: what becomes, and what was, as whoever replaces it had read it. The commit
/// happens only if that was so, and hence nothing that is said here can be outdated.
extension Batch {
    /// What happens if the batch does, in order: operations begin before what they lead to, and end after
    /// it.
    ///
    /// A node of which `silence` knows that it is not heard of stays so, whatever its operators say.
    package func events(
        names: @escaping (NodeID) -> String,
        silence: @escaping (NodeID) -> NodeState?
    ) -> [Event] {
        let vms = Vms(self)
        let nodes = Nodes(names: names, silence: silence)
        var begins: [Event] = []
        var events: [Event] = []
        var ends: [Event] = []
        for write in writes {
            switch write {
            case .put(let row as VM): events += vms.event(of: row)
            case .put(let row as OperationRow):
                let old = former(row)
                // What is noted of it in between is no news.
                guard old?.state != row.state else { break }
                let event = vms.event(of: row, from: old)
                if row.state.isTerminal { ends.append(event) } else { begins.append(event) }
            case .put(let row as DrainRow):
                events += nodes.events(of: row)
                if row.phase != .begun {
                    let event = nodes.operation(row)
                    if row.phase == .ended { ends.append(event) } else { begins.append(event) }
                }
            case .put(let row as NodeRow): events += nodes.events(of: row, in: self)
            case .put(let row as MemberRow):
                if former(row) == nil { events.append(nodes.joined(row)) }
            case .put(let row as FleetStateRow): events.append(published(row))
            case .put: break
            case .delete(VM.table, let key): events += vms.gone(key)
            case .delete(MemberRow.table, let key):
                if let id = NodeID(key) {
                    events.append(nodes.event(id, to: "REMOVED", "it left the fleet"))
                }
            case .delete: break
            }
        }
        return begins + events + ends
    }

    /// What was read before `row` is put in its place; `nil`: nothing was there.
    fileprivate func former<R: Row>(_ row: R) -> R? {
        for old in former {
            if let old = old as? R, old.key == row.key { return old }
        }
        return nil
    }

    private func published(_ row: FleetStateRow) -> Event {
        var event = Event(
            kind: .fleetPublished,
            subject: .init(
                kind: .fleet,
                id: row.state.name,
                name: row.state.name,
                project: row.state.project
            ),
            from: former(row).map { "GENERATION \($0.generation)" },
            to: "GENERATION \(row.generation)",
            reason: "\(row.state.members.count) VMs shall be there",
            operation: row.operation
        )
        event.principal = row.principal
        return event
    }
}

/// What happens to VMs, and what was asked of them.
private struct Vms {
    /// As they were.
    private var former: [VMID: VM] = [:]
    /// As they will be, where that is written.
    private var next: [VMID: VM] = [:]
    /// What was asked, by VM.
    private var asked: [VMID: OperationID] = [:]

    init(_ batch: Batch) {
        for case let vm as VM in batch.former { former[vm.id] = vm }
        for write in batch.writes {
            switch write {
            case .put(let vm as VM): next[vm.id] = vm
            case .put(let row as OperationRow): asked[row.vm] = row.id
            default: break
            }
        }
    }

    /// A template is no VM that anybody has: nothing happens to it.
    func event(of vm: VM) -> [Event] {
        let old = former[vm.id]
        guard vm.seal == nil, old?.status.state != vm.status.state else { return [] }
        return [
            Event(
                kind: .vmState,
                subject: Self.subject(vm),
                from: old?.status.state.rawValue,
                to: vm.status.state.rawValue,
                reason: vm.status.reason,
                operation: vm.runningOp ?? asked[vm.id]
            )
        ]
    }

    func gone(_ key: String) -> [Event] {
        guard let id = VMID(key), let vm = former[id], vm.seal == nil else { return [] }
        return [
            Event(
                kind: .vmGone,
                subject: Self.subject(vm),
                from: vm.status.state.rawValue,
                to: "GONE",
                reason: "nothing of it is left",
                operation: asked[id]
            )
        ]
    }

    func event(of row: OperationRow, from old: OperationRow?) -> Event {
        let vm = next[row.vm] ?? former[row.vm] ?? row.result
        let (to, reason) =
            switch row.state {
            case .running: ("RUNNING", "\(row.method) was accepted")
            case .done:
                ("SUCCEEDED", row.changed ? "\(row.method) is done" : "it was so already")
            case .failed, .cancelled:
                (row.state.rawValue, row.fault?.fault.message ?? "\(row.method) did not end well")
            }
        return Event(
            kind: .operationState,
            subject: .init(
                kind: .vm,
                id: row.vm.description,
                name: vm?.name ?? row.vmName,
                project: vm?.project
            ),
            from: old.map { _ in "RUNNING" },
            to: to,
            reason: reason,
            operation: row.id,
            principal: row.principal,
            method: row.method
        )
    }

    private static func subject(_ vm: VM) -> Event.Subject {
        .init(kind: .vm, id: vm.id.description, name: vm.name, project: vm.project)
    }
}

/// What happens to nodes.
private struct Nodes {
    let names: (NodeID) -> String
    let silence: (NodeID) -> NodeState?

    func event(
        _ node: NodeID,
        _ name: String? = nil,
        to: String,
        _ reason: String,
        _ operation: OperationID? = nil
    ) -> Event {
        Event(
            kind: .nodeState,
            subject: .init(kind: .node, id: node.description, name: name ?? names(node)),
            to: to,
            reason: reason,
            operation: operation
        )
    }

    func joined(_ row: MemberRow) -> Event {
        event(row.node, row.name, to: "JOINED", "with the token \(row.token)")
    }

    /// A cordon, or the end of one. A drain says so itself.
    func events(of row: NodeRow, in batch: Batch) -> [Event] {
        guard row.isCordoned != batch.former(row)?.isCordoned ?? false, !batch.drains else {
            return []
        }
        let to = silence(row.node) ?? (row.isCordoned ? .cordoned : .ready)
        let reason =
            switch (row.isCordoned, row.cordonReason) {
            case (false, _): "the cordon is over"
            case (true, ""): "it was cordoned"
            case (true, let why): "it was cordoned: \(why)"
            }
        return [event(row.node, to: to.rawValue, reason)]
    }

    func events(of row: DrainRow) -> [Event] {
        guard row.changed else { return [] }
        let (to, reason): (String, String)
        switch (row.kind, row.phase) {
        case (.drain, .accepted):
            (to, reason) = (NodeState.draining.rawValue, "a drain was asked for")
        case (.drain, .ended):
            // Until all is off it, it is being drained.
            if row.hasFailures { return [] }
            (to, reason) = ("DRAINED", "\(row.targets.count) VMs were seen to")
        case (.restore, .accepted):
            (to, reason) = (NodeState.ready.rawValue, "its drain is over")
        case (.drain, .begun), (.restore, .begun), (.restore, .ended): return []
        }
        return [
            event(row.node, row.nodeName, to: silence(row.node)?.rawValue ?? to, reason, row.id)
        ]
    }

    func operation(_ row: DrainRow) -> Event {
        let isOver = row.phase == .ended
        let failed = row.targets.count { $0.outcome == .failed }
        let end = "\(row.targets.count) VMs were seen to, and \(failed) of them failed"
        return Event(
            kind: .operationState,
            subject: .init(kind: .node, id: row.node.description, name: row.nodeName),
            from: isOver && row.changed ? "RUNNING" : nil,
            to: !isOver ? "RUNNING" : row.hasFailures ? "FAILED" : "SUCCEEDED",
            reason: !isOver
                ? "\(row.method) was accepted" : row.changed ? end : "it was so already",
            operation: row.id,
            principal: row.principal,
            method: row.method
        )
    }
}

extension Batch {
    /// Whether a drain begins or ends here.
    fileprivate var drains: Bool {
        writes.contains { write in
            switch write {
            case .put(let row): row is DrainMark
            case .delete(let table, _): table == DrainMark.table
            }
        }
    }
}
