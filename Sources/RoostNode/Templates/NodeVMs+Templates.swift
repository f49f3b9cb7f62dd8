import RoostDriver
import RoostHost
import RoostLink
import RoostModel
import RoostOperations
import RoostReconciler

/// Clones, and templates that somebody made: their copies begin from a checkpoint of the VM that the
/// template is kept as. README.md has the picture.
extension NodeVMs {
    /// Keeps the disk of a VM that does not run as the fork `name`.
    func freezeDisk(_ vm: VMAssignment, _ name: OperationID) async throws(Fault) {
        let order = SaveOrder(
            folder: parts.files.forkFolder(name),
            memory: .absent,
            afterwards: .goesOn
        )
        _ = try await forking().save(try await launch(vm), order)
    }

    /// Makes the VM's directory with a disk that has every byte of the fork's. Ends early when it is
    /// pre-empted: this takes as long as the disk is large.
    func copyWhole(
        _ vm: VMAssignment,
        _ name: OperationID,
        preemption: Signal
    ) async throws(Fault) {
        let fork = try await fork(name, for: vm)
        try await parts.files.purge(vm.id)
        let files = parts.files
        try await untilSet(preemption) { () async throws(Fault) in
            try await files.prepareWhole(vm.id, from: fork.order.folder, spec: vm.spec)
        }
    }

    /// Makes the VM a template: it keeps the fork as a checkpoint of its own.
    func sealCopy(
        _ vm: VMAssignment,
        _ name: OperationID,
        _ id: CheckpointID
    ) async throws(Fault) {
        let fork = try await fork(name, for: vm)
        try await forking().share(fork, in: checkpointFolder(id, of: vm.id, .live))
    }

    /// Makes the disks of a VM: over its image, or over its template's.
    func makeDisks(_ vm: VMAssignment) async throws(Fault) {
        guard let origin = vm.spec.template else {
            return try await parts.files.prepare(vm.id, spec: vm.spec)
        }
        try await copySealed(vm, origin)
    }

    func copySealed(_ vm: VMAssignment, _ origin: TemplateOrigin) async throws(Fault) {
        let template = try await sealed(origin, for: vm)
        try await forking().verify(template)
        try await parts.files.prepareFork(vm.id, from: template.order.folder, spec: vm.spec)
    }

    /// What a VM without disks has to do with its template: to go on from its memory, or to boot.
    func phase(
        of origin: TemplateOrigin,
        for vm: VMAssignment
    ) async throws(Fault) -> CopyPhase {
        let template = try await sealed(origin, for: vm)
        return template.hasMemory && !vm.spec.coldBoot ? .possible : .derived
    }

    /// The moment that the copies of a template begin from.
    func sealed(
        _ origin: TemplateOrigin,
        for vm: VMAssignment
    ) async throws(Fault) -> SavedMachine {
        let folder = checkpointFolder(origin.checkpoint, of: origin.template, .live)
        if let found = try await forking().savedMachine(in: folder) { return found }
        throw Fault(
            .savedStateDamaged,
            "the template of \(vm.name) is gone",
            metadata: ["path": folder, "vm": vm.name, "part": "manifest"]
        )
    }
}

extension NodeAction {
    /// The checkpoint that there is after it, for whoever keeps the list.
    var keptCheckpoint: CheckpointID? {
        switch self {
        case .checkpoint(let id): id
        case .derive(let order): order.seal
        default: nil
        }
    }
}
