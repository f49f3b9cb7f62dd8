/// What a template is, beside the VM that it is kept as: a disk that is never started or changed, and
/// one checkpoint of it that copies begin from.
package struct TemplateSeal: Hashable, Sendable, Codable {
    package var checkpoint: CheckpointID
    /// What it was made of, for people: `box`, or `box@1a2b3c4d`.
    package var origin: String

    package init(checkpoint: CheckpointID, origin: String) {
        self.checkpoint = checkpoint
        self.origin = origin
    }
}

/// The template that a VM's disk lies over.
package struct TemplateOrigin: Hashable, Sendable, Codable {
    package var template: VMID
    package var checkpoint: CheckpointID

    package init(template: VMID, checkpoint: CheckpointID) {
        self.template = template
        self.checkpoint = checkpoint
    }
}

/// How a VM begins as a copy of a disk.
package struct DeriveOrder: Hashable, Sendable, Codable {
    /// The fork whose disk is copied.
    package var fork: OperationID
    /// Whether the copy has every byte of its own; else it shares them until it writes.
    package var isWhole: Bool
    /// The checkpoint that it keeps of the fork, which makes it a template; `nil`: it is none.
    package var seal: CheckpointID?

    package init(fork: OperationID, isWhole: Bool, seal: CheckpointID?) {
        self.fork = fork
        self.isWhole = isWhole
        self.seal = seal
    }
}
