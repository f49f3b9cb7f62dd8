package import RoostModel

/// What one thing takes on one node, as people have it.
package struct UsageItem: Hashable, Sendable {
    /// What it is; a VM counts with its checkpoints, which are items too, as are the VMs of a tree.
    package enum Kind: String, CaseIterable, Sendable {
        case vm
        case checkpoint
        case template
        case tree
        case prepared
        case image
        case kernel
        case fork
        case other
        case total
    }

    package var kind: Kind
    /// What people call it.
    package var name: String
    /// Its id or digest; empty where there is none.
    package var id: String
    /// The VM's or template's; empty for the others.
    package var project: String
    /// The VM's; `nil` for what is none.
    package var state: VMState?
    package var disk: UsageShare
    package var memory: UsageShare
    /// What people call those who have some of it too; of a tree, its VMs.
    package var sharedWith: [String]
}

/// What a node says of its bytes, with the names that people know. Pure.
///
/// VMs come by name, each followed by its checkpoints, then the kinds in the order of their cases. The
/// total is last: its own bytes are the sum of those of all the others but checkpoints and trees.
package func usageItems(_ usage: NodeUsage, _ vms: [VMID: VM]) -> [UsageItem] {
    let naming = UsageNames(vms: vms)
    var items = usage.rows.map { row in
        UsageItem(
            kind: naming.kind(row.owner),
            name: naming.name(row.owner, row.label),
            id: naming.id(row.owner),
            project: naming.vm(row.owner)?.project ?? "",
            state: row.owner.kind == .vm ? naming.vm(row.owner)?.status.state : nil,
            disk: row.disk,
            memory: row.memory,
            sharedWith: row.with.map { naming.name($0, naming.label($0, usage)) }
                + (row.isElsewhere ? ["elsewhere"] : [])
        )
    }
    items += usage.trees.map { tree in
        let all = tree.vms.map {
            (at: vms[$0]?.createdAt, name: naming.name(UsageOwner(.vm, vm: $0), ""))
        }
        .sorted { ($0.at?.milliseconds ?? .max, $0.name) < ($1.at?.milliseconds ?? .max, $1.name) }
        .map(\.name)
        return UsageItem(
            kind: .tree,
            name: "\(all.first ?? "")+\(all.count - 1)",
            id: "",
            project: "",
            state: nil,
            disk: tree.disk,
            memory: tree.memory,
            sharedWith: all
        )
    }
    items.sort { naming.order($0).lexicographicallyPrecedes(naming.order($1)) }
    items.append(
        UsageItem(
            kind: .total,
            name: "total",
            id: "",
            project: "",
            state: nil,
            disk: usage.disk,
            memory: usage.memory,
            sharedWith: []
        )
    )
    return items
}

/// What people call the owners of bytes.
private struct UsageNames {
    let vms: [VMID: VM]

    func vm(_ owner: UsageOwner) -> VM? { owner.vm.flatMap { vms[$0] } }

    func kind(_ owner: UsageOwner) -> UsageItem.Kind {
        switch owner.kind {
        case .vm: vm(owner)?.seal == nil ? .vm : .template
        case .checkpoint: .checkpoint
        case .prepared: .prepared
        case .image: .image
        case .kernel: .kernel
        case .fork: .fork
        case .other: .other
        }
    }

    func id(_ owner: UsageOwner) -> String {
        switch owner.kind {
        case .vm: owner.vm?.description ?? ""
        case .image, .kernel: "sha256:\(owner.name)"
        case .checkpoint, .fork: owner.name
        case .prepared, .other: ""
        }
    }

    func name(_ owner: UsageOwner, _ label: String) -> String {
        // Nobody names an orphan but its id.
        let vmName = vm(owner)?.name ?? owner.vm?.short ?? ""
        return switch owner.kind {
        case .vm: vmName
        case .checkpoint: "\(vmName)@\(owner.name.prefix(8))"
        case .image, .kernel: label.isEmpty ? String(owner.name.prefix(12)) : label
        case .prepared, .fork: owner.name
        case .other: "other"
        }
    }

    func label(_ owner: UsageOwner, _ usage: NodeUsage) -> String {
        usage.rows.first { $0.owner == owner }?.label ?? ""
    }

    /// A checkpoint sorts with its VM, whose name its own begins with.
    func order(_ item: UsageItem) -> [String] {
        let isPart = item.kind == .checkpoint
        let kind = isPart ? UsageItem.Kind.vm : item.kind
        let rank = UsageItem.Kind.allCases.firstIndex(of: kind) ?? 0
        let stem = item.name.split(separator: "@").first.map(String.init) ?? ""
        return ["\(rank)", stem, isPart ? "1" : "0", item.id, item.name]
    }
}
