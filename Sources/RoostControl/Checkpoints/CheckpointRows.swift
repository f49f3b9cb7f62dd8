package import RoostModel
import RoostOperations
package import RoostStore

extension Checkpoint: Row {
    package static var table: String { "checkpoints" }
    package var key: String { id.description }
    package var indexes: [IndexEntry] { [IndexEntry("vm", vm.description)] }
}

extension VMService {
    /// Every checkpoint of a VM, the oldest first.
    func checkpointRows(of vm: VMID) async throws(Fault) -> [Versioned<Checkpoint>] {
        let query = Query(matching: [IndexEntry("vm", vm.description)])
        return try await parts.store.list(Checkpoint.self, query).rows.sorted { left, right in
            (left.row.createdAt, left.row.id) < (right.row.createdAt, right.row.id)
        }
    }

    /// The checkpoint of `vm` that `reference` means: an id, or a unique prefix of one.
    ///
    /// - Throws: ``Reason/invalidFields`` for what is none, ``Reason/checkpointNotFound``,
    ///   ``Reason/ambiguousCheckpoint``.
    func checkpoint(_ reference: String, of vm: VM) async throws(Fault) -> Checkpoint {
        let isPrefix =
            (4...32).contains(reference.utf8.count)
            && reference.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
        guard isPrefix else {
            throw .invalid(
                "checkpoint",
                "'\(shown(reference))' is not 4 to 32 hexadecimal digits, as roost log \(vm.name) "
                    + "shows them"
            )
        }
        let found = try await checkpointRows(of: vm.id).map(\.row).filter {
            $0.key.hasPrefix(reference)
        }
        guard let only = found.first else {
            throw Fault(
                .checkpointNotFound,
                "\(vm.name) has no checkpoint '\(shown(reference))'",
                metadata: ["vm": vm.name, "checkpoint": shown(reference)]
            )
        }
        guard found.count == 1 else {
            throw Fault(
                .ambiguousCheckpoint,
                "'\(shown(reference))' begins the ids of \(found.count) checkpoints of \(vm.name)",
                metadata: ["vm": vm.name, "checkpoint": shown(reference)]
            )
        }
        return only
    }

    /// Writes into `vm` and `batch` what an operation that went well did to the VM's checkpoints: they
    /// change only with the VM's row, which the operation holds.
    func noteCheckpoints(
        _ operation: OperationRow,
        kept: KeptMoment?,
        _ vm: inout VM,
        _ batch: inout Batch
    ) async throws(Fault) {
        switch operation.intent.action {
        case .checkpoint(let id):
            guard let kept else {
                throw Fault(.bug, "the node says nothing of the checkpoint \(id.short)")
            }
            batch.put(
                Checkpoint(
                    id: id,
                    vm: vm.id,
                    parent: vm.checkpoint,
                    message: operation.intent.message ?? "",
                    operation: operation.id,
                    createdAt: operation.startedAt,
                    spec: vm.spec,
                    kept: kept
                )
            )
            vm.checkpoint = id
        case .derive(let order):
            guard let id = order.seal else { break }
            guard let kept else {
                throw Fault(.bug, "the node says nothing of the template \(vm.name)")
            }
            batch.put(
                Checkpoint(
                    id: id,
                    vm: vm.id,
                    parent: nil,
                    message: vm.seal?.origin ?? "",
                    operation: operation.id,
                    createdAt: operation.startedAt,
                    spec: vm.spec,
                    kept: kept
                )
            )
            vm.checkpoint = id
        case .revert(let order): vm.checkpoint = order.checkpoint
        case .forget(let id): try await forget(id, &vm, &batch)
        case .purge where !parts.failpoints.skips(.purgedRows):
            for found in try await checkpointRows(of: vm.id) {
                batch.delete(Checkpoint.self, found.row.key)
            }
        default: break
        }
    }

    /// Takes one out of the tree: its children, and the VM, come from its parent then.
    private func forget(
        _ id: CheckpointID,
        _ vm: inout VM,
        _ batch: inout Batch
    ) async throws(Fault) {
        let all = try await checkpointRows(of: vm.id)
        guard let gone = all.first(where: { $0.row.id == id }) else { return }
        for child in all where child.row.parent == id && !parts.failpoints.skips(.grandparent) {
            var row = child.row
            row.parent = gone.row.parent
            batch.replace(child, with: row)
        }
        batch.delete(Checkpoint.self, gone.row.key)
        if vm.checkpoint == id { vm.checkpoint = gone.row.parent }
    }
}
