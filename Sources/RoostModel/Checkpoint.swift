/// One moment of a VM that is kept, as the control side keeps it.
package struct Checkpoint: Hashable, Sendable, Codable {
    package var id: CheckpointID
    package var vm: VMID
    /// The checkpoint that the VM came from then; `nil`: the VM's beginning.
    package var parent: CheckpointID?
    /// What somebody wrote about it: one line, may be empty.
    package var message: String
    /// The request that made it.
    package var operation: OperationID
    package var createdAt: Timestamp
    /// What the VM was asked to be then: copies of this moment are like that.
    package var spec: VMSpec
    package var kept: KeptMoment

    package init(
        id: CheckpointID,
        vm: VMID,
        parent: CheckpointID?,
        message: String,
        operation: OperationID,
        createdAt: Timestamp,
        spec: VMSpec,
        kept: KeptMoment
    ) {
        self.id = id
        self.vm = vm
        self.parent = parent
        self.message = message
        self.operation = operation
        self.createdAt = createdAt
        self.spec = spec
        self.kept = kept
    }
}

/// What a node keeps of one moment of a VM.
package struct KeptMoment: Hashable, Sendable, Codable {
    /// One file of it.
    package struct File: Hashable, Sendable, Codable {
        /// `memory`, `devices`, `rootDisk`, or `diskLayer` for what lies below that.
        package var role: String
        /// Its length, with its holes.
        package var length: ByteCount
        /// `sha256:` and 64 hex digits.
        package var digest: String

        package init(role: String, length: ByteCount, digest: String) {
            self.role = role
            self.length = length
            self.digest = digest
        }
    }

    /// Whether the VM ran, and its memory was kept.
    package var hasMemory: Bool
    /// What memory and devices took on the disk when they were kept.
    package var memory: ByteCount
    /// What the disk took that no other checkpoint of the VM had then.
    package var disk: ByteCount
    /// In the order of their roles.
    package var files: [File]

    package init(hasMemory: Bool, memory: ByteCount, disk: ByteCount, files: [File]) {
        self.hasMemory = hasMemory
        self.memory = memory
        self.disk = disk
        self.files = files
    }
}

extension VMSpec {
    /// What a VM of this spec is asked to be once it has gone back to a moment when it was asked to be
    /// `then`.
    ///
    /// What the machine is made of comes from the moment: kept memory fits no other cores, memory or
    /// devices, and a kept disk is as large as it was. How the VM is reached, placed and looked after
    /// stays as it is: ports, restart policy, placement.
    package func goneBack(to then: VMSpec) -> VMSpec {
        var spec = self
        spec.cores = then.cores
        spec.memoryMiB = then.memoryMiB
        spec.rootDiskGiB = then.rootDiskGiB
        spec.image = then.image
        spec.kernel = then.kernel
        spec.network = then.network
        return spec
    }
}

/// How a VM goes back to one of its checkpoints.
package struct RevertOrder: Hashable, Sendable, Codable {
    package var checkpoint: CheckpointID
    /// Whether the checkpoint has memory: the VM runs afterwards; else it is stopped.
    package var hasMemory: Bool
    /// Also while commands run in the VM that somebody reads.
    package var force: Bool

    package init(checkpoint: CheckpointID, hasMemory: Bool, force: Bool) {
        self.checkpoint = checkpoint
        self.hasMemory = hasMemory
        self.force = force
    }
}

/// What is wrong with a checkpoint's message; `nil` when nothing is.
package func checkpointMessageProblem(_ message: String) -> String? {
    guard message.utf8.count <= Limits.messageBytes else {
        return "is longer than \(Limits.messageBytes) bytes"
    }
    let isOneLine = message.unicodeScalars.allSatisfy { scalar in
        scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value)
    }
    return isOneLine ? nil : "has control characters: write one line"
}
