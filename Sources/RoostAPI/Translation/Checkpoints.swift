package import RoostModel
internal import SwiftProtobuf

extension Roost_Compute_V1_Checkpoint {
    /// The checkpoint as the API shows it; `isCurrent`: its VM comes from it.
    package init(_ checkpoint: Checkpoint, isCurrent: Bool) {
        self.init()
        id = checkpoint.id.description
        vmID = checkpoint.vm.description
        parent = checkpoint.parent?.description ?? ""
        message = checkpoint.message
        op = checkpoint.operation.description
        createTime = .init(checkpoint.createdAt)
        hasMemory_p = checkpoint.kept.hasMemory
        memoryBytes = Int64(clamping: checkpoint.kept.memory.bytes)
        diskBytes = Int64(clamping: checkpoint.kept.disk.bytes)
        current = isCurrent
        parts = checkpoint.kept.files.map { file in
            var part = Roost_Compute_V1_Checkpoint.Part()
            part.role = file.role
            part.lengthBytes = Int64(clamping: file.length.bytes)
            part.digest = file.digest
            return part
        }
    }
}
