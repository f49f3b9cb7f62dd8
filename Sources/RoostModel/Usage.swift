/// Whose the bytes on a node are.
package struct UsageOwner: Hashable, Sendable, Codable {
    /// What kind of thing it is.
    package enum Kind: String, CaseIterable, Sendable, Codable {
        /// A VM, or a template that somebody made: its directory, in the trash or not, and its memory
        /// files. With its checkpoints, unless these are told apart.
        case vm
        case checkpoint
        /// A template that an image got by itself.
        case prepared
        case image
        case kernel
        /// What a fork keeps until its copies have begun.
        case fork
        /// Databases, pieces of pulls, and what is nobody's.
        case other
    }

    package var kind: Kind
    /// The VM that it is, or is of.
    package var vm: VMID?
    /// The checkpoint's or fork's id, the template's name, the image's or kernel's digest (64 digits);
    /// empty for the others.
    package var name: String

    package init(_ kind: Kind, vm: VMID? = nil, name: String = "") {
        self.kind = kind
        self.vm = vm
        self.name = name
    }

    /// What goes together: a checkpoint with its VM.
    package var group: UsageOwner { kind == .checkpoint ? UsageOwner(.vm, vm: vm) : self }
}

extension UsageOwner: Comparable {
    /// VMs by id, each followed by its checkpoints; then the other kinds in the order of their cases.
    package static func < (left: UsageOwner, right: UsageOwner) -> Bool {
        left.order.lexicographicallyPrecedes(right.order)
    }

    private var order: [String] {
        let isOfVM = kind == .vm || kind == .checkpoint
        let rank = isOfVM ? 0 : Kind.allCases.firstIndex(of: kind) ?? 0
        return ["\(rank)", vm?.description ?? "", kind == .checkpoint ? "1" : "0", name]
    }
}

/// Bytes in allocated blocks, not lengths of files.
package struct UsageShare: Hashable, Sendable, Codable {
    /// All that it has, each file once however many names it has.
    package var bytes: UInt64
    /// What goes when it goes: nobody else has it.
    package var unique: UInt64
    /// What somebody else has too.
    package var shared: UInt64 { bytes - unique }

    package init(bytes: UInt64 = 0, unique: UInt64 = 0) {
        self.bytes = bytes
        self.unique = unique
    }
}

/// What one owner has.
package struct UsageRow: Hashable, Sendable, Codable {
    package var owner: UsageOwner
    package var disk: UsageShare
    /// Memory files, on the host's tmpfs: what is written to them, not what is configured.
    package var memory: UsageShare
    /// Who else has some of it, sorted. Of a checkpoint also its own VM and its other checkpoints.
    package var with: [UsageOwner]
    /// Whether some of it has names that are not the node's: they would stay.
    package var isElsewhere: Bool
    /// What people call it; empty where the node does not know.
    package var label: String

    package init(
        owner: UsageOwner,
        disk: UsageShare = UsageShare(),
        memory: UsageShare = UsageShare(),
        with: [UsageOwner] = [],
        isElsewhere: Bool = false,
        label: String = ""
    ) {
        self.owner = owner
        self.disk = disk
        self.memory = memory
        self.with = with
        self.isElsewhere = isElsewhere
        self.label = label
    }
}

/// VMs that have files in common since one began as a copy of another, with their checkpoints.
package struct UsageTree: Hashable, Sendable, Codable {
    /// Sorted; two or more.
    package var vms: [VMID]
    package var disk: UsageShare
    package var memory: UsageShare

    package init(vms: [VMID], disk: UsageShare, memory: UsageShare) {
        self.vms = vms
        self.disk = disk
        self.memory = memory
    }
}

/// What a node's state directory and memory directory hold, each byte counted once in the whole.
package struct NodeUsage: Hashable, Sendable, Codable {
    /// Sorted by owner.
    package var rows: [UsageRow]
    package var trees: [UsageTree]
    /// The whole; `unique` is what has one owner, counting a VM and its checkpoints as one. So the rows
    /// but for checkpoints have `unique` in all, and `shared` once more is what several have.
    package var disk: UsageShare
    package var memory: UsageShare
    /// What may still be written there.
    package var diskFree: ByteCount
    package var memoryFree: ByteCount

    package init(
        rows: [UsageRow],
        trees: [UsageTree],
        disk: UsageShare,
        memory: UsageShare,
        diskFree: ByteCount,
        memoryFree: ByteCount
    ) {
        self.rows = rows
        self.trees = trees
        self.disk = disk
        self.memory = memory
        self.diskFree = diskFree
        self.memoryFree = memoryFree
    }
}
