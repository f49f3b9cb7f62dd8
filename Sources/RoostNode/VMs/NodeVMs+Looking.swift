import RoostDriver
import RoostHost
package import RoostLink
package import RoostModel
import RoostOperations
import RoostReconciler
import RoostStore
import Synchronization

/// What is there, and how it is said.
extension NodeVMs {
    /// What is true of one VM now.
    func look(_ id: VMID) async throws(Fault) -> VMObservation {
        let disks = try await parts.files.place(id)
        let status = try await parts.driver.inspect(id)
        let vmm: VMMPhase =
            switch status?.phase {
            case .running: .running
            case .paused: .paused
            case .shutDown, nil: try await isSaved(id, disks) ? .saved : .absent
            }
        let isUnrenewed = try await parts.files.isUnrenewed(id)
        return VMObservation(disks: disks, vmm: vmm, copy: isUnrenewed ? .unrenewed : .none)
    }

    private func isSaved(_ id: VMID, _ disks: DisksPlace) async throws(Fault) -> Bool {
        guard disks != .missing, let driver = parts.driver as? any Forking else { return false }
        // Looking must always have an answer, or no operation on the VM would ever end.
        return try await driver.holdsMachine(parts.files.savedFolder(id, disks))
    }

    /// What everything on this node is now: what is being done first, then what is seen.
    package func observe() async throws(Fault) -> NodeReport {
        let cursor = reports.cursor
        var found: [VMReport] = []
        let rows = try await parts.store.list(AssignmentRow.self, Query()).rows
        for row in rows {
            let id = row.row.assignment.id
            if let state = busy.withLock({ $0[id]?.state }) {
                found.append(VMReport(id: id, state: state, reason: "being worked on"))
                continue
            }
            found.append(report(row.row.assignment, try await look(id)))
        }
        let known = Set(rows.map(\.row.assignment.id)).union(try await templates.builders())
        for id in try await parts.files.inventory().live where !known.contains(id) {
            found.append(VMReport(id: id, state: .stopped, reason: "orphan: nobody names it"))
        }
        return NodeReport(vms: found, capacity: parts.capacity, cursor: cursor)
    }

    /// What this node was last told about one VM.
    package func assignment(_ id: VMID) async throws(Fault) -> VMAssignment? {
        try await parts.store.get(AssignmentRow.self, id.description)?.row.assignment
    }

    /// What every VM of this node shall be, also ones in the trash.
    package func specs() async throws(Fault) -> [VMSpec] {
        try await parts.store.list(AssignmentRow.self, Query()).rows.map(\.row.assignment.spec)
    }

    /// What one VM is now; `nil` when this node holds nothing of it.
    package func inspect(_ id: VMID) async throws(Fault) -> VMReport? {
        let seen = try await look(id)
        guard let row = try await parts.store.get(AssignmentRow.self, id.description)?.row else {
            guard seen != VMObservation(disks: .missing, vmm: .absent) else { return nil }
            return VMReport(id: id, state: settledState(seen), reason: "orphan: nobody names it")
        }
        return report(row.assignment, seen)
    }

    func report(_ assignment: VMAssignment?, _ seen: VMObservation) -> VMReport {
        guard let assignment else {
            return VMReport(id: VMID(bits: 0), state: settledState(seen), reason: "not assigned")
        }
        let id = assignment.id
        if seen.vmm == .absent, seen.disks == .live, assignment.desired != .stopped {
            let why = ends.withLock { $0[id] } ?? "it ended while nobody was looking"
            return VMReport(id: id, state: .failed, reason: why, ended: .failed)
        }
        let state = settledState(seen)
        let isUp = state == .running || state == .paused
        return VMReport(
            id: id,
            state: state,
            reason: state == .deleted || assignment.desired.rawValue == state.rawValue
                ? "as asked" : "\(assignment.desired.rawValue) was asked for",
            observedGeneration: isUp ? assignment.generation : 0,
            addresses: isUp && assignment.spec.network == .user ? ["10.0.2.15"] : []
        )
    }
}
