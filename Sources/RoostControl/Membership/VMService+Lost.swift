import RoostLink
import RoostModel
import RoostOperations
import RoostStore

/// VMs whose nodes come, go and are silent.
extension VMService {
    /// Looks at everything that `link`'s node sees, and answers with its digest.
    func takeInEverything(from link: any NodeLink) async throws(Fault) -> UInt64 {
        let whole = try await link.observe()
        for report in whole.vms { try await note(report, link) }
        return whole.stateHash
    }

    /// Marks every VM on `node` that has a process, as far as is known, and no running operation.
    func lose(on node: NodeID, reason: String) async throws(Fault) {
        let entry = IndexEntry("node", node.description)
        for found in try await parts.store.list(VM.self, Query(matching: [entry])).rows {
            var found = found
            while found.row.status.state.hasProcess, found.row.runningOp == nil {
                var vm = found.row
                guard vm.become(.lost, reason: reason, at: now) else { break }
                var batch = Batch()
                batch.replace(found, with: vm)
                do throws(Fault) {
                    try await commit(batch)
                    break
                } catch  where error.reason == .storeConflict {
                    guard let again = try await parts.store.get(VM.self, vm.key) else { break }
                    found = again
                }
            }
        }
    }

    /// The VMs that `node` has, also those in the trash.
    func all(on node: NodeID) async throws(Fault) -> [Versioned<VM>] {
        let entry = IndexEntry("node", node.description)
        return try await parts.store.list(VM.self, Query(matching: [entry])).rows
    }

    /// Removes the rows of a VM whose node leaves for good. An operation that waits for the node ends
    /// as failed.
    func abandon(_ found: Versioned<VM>) async throws(Fault) {
        var found = found
        while true {
            let vm = found.row
            var batch = Batch()
            batch.remove(found)
            batch.delete(PlacementRow.self, vm.key)
            if vm.deletedAt == nil {
                batch.delete(NameRow.self, NameRow.key(vm.project, vm.name))
                if let node = vm.status.node {
                    for port in vm.spec.ports {
                        batch.delete(PortRow.self, PortRow(node: node, port: port, vm: vm.id).key)
                    }
                }
            }
            do throws(Fault) {
                try await commit(batch)
                giveUpPlaces(batch)
                return
            } catch  where error.reason == .storeConflict {
                guard let again = try await parts.store.get(VM.self, vm.key) else { return }
                found = again
            }
        }
    }
}
