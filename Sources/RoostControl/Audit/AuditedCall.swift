import RoostModel
import RoostOperations
import RoostStore
import Synchronization

/// A call whose row belongs in the trail: made where it is let in, and asked for the row by the first
/// commit of its task that does something, or else by its end. See README.md of this folder.
package final class AuditedCall: Sendable {
    /// The call that this task serves; `nil`: one that only reads, or work that nobody waits for.
    @TaskLocal package static var current: AuditedCall?

    private struct State {
        var row: AuditRow
        var isTaken = false
    }

    private let state: Mutex<State>

    init(_ row: AuditRow) { state = Mutex(State(row: row)) }

    /// Says what it is about, as far as no commit does.
    package func about(_ subject: Event.Subject?, detail: String = "") {
        state.withLock { state in
            state.row.subject = subject
            state.row.detail = String(
                decoding: detail.utf8.prefix(AuditRow.detailBytes),
                as: UTF8.self
            )
        }
    }

    /// It only tries: there is nothing to tell.
    package func leaveNothing() { state.withLock { $0.isTaken = true } }

    /// Its row, for whoever is the first to ask.
    func take(about subject: Event.Subject? = nil, refusal: String? = nil) -> AuditRow? {
        state.withLock { state in
            guard !state.isTaken else { return nil }
            state.isTaken = true
            var row = state.row
            row.subject = subject ?? row.subject
            row.refusal = refusal
            return row
        }
    }

    /// What was taken was not written.
    func giveBack() { state.withLock { $0.isTaken = false } }
}

extension Batch {
    /// What is done by it, if that is what a call asked for: the first thing that it writes of those that
    /// people ask for.
    func audited(names: (NodeID) -> String) -> Event.Subject? {
        for case .put(let row as OperationRow) in writes { return subject(of: row) }
        for write in writes {
            switch write {
            case .put(let row as VM): return subject(of: row)
            case .put(let row as DrainRow):
                return .init(kind: .node, id: row.node.description, name: row.nodeName)
            case .put(let row as NodeRow):
                return .init(kind: .node, id: row.node.description, name: names(row.node))
            case .put(let row as FleetStateRow):
                let state = row.state
                return .init(kind: .fleet, id: state.name, name: state.name, project: state.project)
            case .put(let row as AccessTokenRow):
                return .init(kind: .token, id: row.id, name: row.name)
            case .put(let row as JoinTokenRow): return .init(kind: .token, id: row.id, name: "")
            case .delete(AccessTokenRow.table, let key), .delete(JoinTokenRow.table, let key):
                return .init(kind: .token, id: key, name: "")
            case .delete(MemberRow.table, let key):
                return .init(kind: .node, id: key, name: NodeID(key).map(names) ?? "")
            case .delete(VM.table, let key): return .init(kind: .vm, id: key, name: "")
            case .put, .delete: break
            }
        }
        return nil
    }

    private func subject(of row: OperationRow) -> Event.Subject {
        let rows = writes.compactMap { write -> VM? in
            guard case .put(let row) = write else { return nil }
            return row as? VM
        }
        let vm = (rows + former.compactMap { $0 as? VM }).first { $0.id == row.vm } ?? row.result
        return .init(
            kind: .vm,
            id: row.vm.description,
            name: vm?.name ?? row.vmName,
            project: vm?.project
        )
    }

    private func subject(of vm: VM) -> Event.Subject {
        .init(kind: .vm, id: vm.id.description, name: vm.name, project: vm.project)
    }
}
