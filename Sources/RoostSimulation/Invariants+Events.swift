import RoostControl
import RoostModel
import RoostOperations
import RoostStore

/// What a commit says of itself: one event for everything that it changes, no other, and none apart
/// from it. By the rows as they were before, not by the product's word for what it replaced.
extension Invariants {
    /// Call before the rows of `batch` are taken in.
    func checkEvents(of batch: Batch, _ revision: Revision) {
        var changes: [String] = []
        var rows: [EventRow] = []
        for write in batch.writes {
            switch write {
            case .put(let vm as VM):
                let old = vms[vm.id]?.status.state
                if vm.seal == nil, old != vm.status.state {
                    changes.append(
                        line(vm.key, old?.rawValue, vm.status.state.rawValue, "VM_STATE")
                    )
                }
            case .put(let row as OperationRow):
                let old = operations[row.id]?.state
                if old != row.state {
                    let to = row.state == .done ? "SUCCEEDED" : row.state.rawValue
                    changes.append(line(row.vm.description, old?.rawValue, to, row.key))
                }
            case .put(let row as EventRow): rows.append(row)
            case .delete(VM.table, let key):
                if let vm = VMID(key).flatMap({ vms[$0] }), vm.seal == nil {
                    changes.append(line(key, vm.status.state.rawValue, "GONE", "VM_GONE"))
                }
            default: break
            }
        }
        require(rows.count <= 1, "revision \(revision.number) has \(rows.count) rows of events")
        let placed = rows.flatMap { Versioned(row: $0, version: revision).placed }
        for row in rows {
            require(!row.events.isEmpty, "revision \(revision.number) has a row of no events")
            require(eventKeys.insert(row.key).inserted, "the key \(row.key) of events came again")
        }
        let said = placed.map(\.event).filter { $0.subject.kind == .vm }.map { event in
            let what = event.kind == .operationState ? event.operation?.description : nil
            return line(event.subject.id, event.from, event.to, what ?? event.kind.rawValue)
        }
        require(
            said.sorted() == changes.sorted(),
            "revision \(revision.number) tells of \(said), and what happens is \(changes)"
        )
        told += placed
    }

    private func line(_ subject: String, _ from: String?, _ to: String, _ what: String) -> String {
        "\(subject.prefix(8)) \(from ?? "nothing") \(to) \(what)"
    }
}
