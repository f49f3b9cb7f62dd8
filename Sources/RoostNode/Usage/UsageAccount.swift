package import RoostHost
package import RoostModel

/// Whose everything is that was found, and who shares what with whom. Pure: the same files, the same
/// account.
package func account(_ found: StoredFiles) -> NodeUsage {
    let pointers = memoryOwners(found.files)
    var holdings: [StoredFile.Identity: Holding] = [:]
    for file in found.files {
        let owner = owner(of: file, memory: pointers)
        var holding =
            holdings[file.identity]
            ?? Holding(place: file.place, bytes: file.bytes, names: file.names)
        holding.owners.insert(owner)
        holding.seen += 1
        holdings[file.identity] = holding
    }
    // The order of a sum does not matter; that of everything that is said is by sorting.
    let all = Array(holdings.values)
    return NodeUsage(
        rows: rows(all),
        trees: trees(all),
        disk: share(of: all, .state) { $0.hasOneGroup },
        memory: share(of: all, .memory) { $0.hasOneGroup },
        diskFree: found.diskFree,
        memoryFree: found.memoryFree
    )
}

/// One file with all who have a name for it.
private struct Holding {
    var place: StoredFile.Place
    var bytes: UInt64
    var names: Int
    var owners: Set<UsageOwner> = []
    var seen = 0

    var groups: Set<UsageOwner> { Set(owners.map(\.group)) }
    /// Whether it has names that were not found here.
    var isElsewhere: Bool { names > seen }
    var hasOneGroup: Bool { !isElsewhere && groups.count == 1 }
}

private func share(
    of holdings: [Holding],
    _ place: StoredFile.Place,
    isUnique: (Holding) -> Bool
) -> UsageShare {
    holdings.reduce(into: UsageShare()) { share, holding in
        guard holding.place == place else { return }
        share.bytes += holding.bytes
        if isUnique(holding) { share.unique += holding.bytes }
    }
}

private func rows(_ all: [Holding]) -> [UsageRow] {
    var byOwner: [UsageOwner: [Holding]] = [:]
    for holding in all {
        let checkpoints = holding.owners.filter { $0.kind == .checkpoint }
        for owner in holding.groups.union(checkpoints) {
            byOwner[owner, default: []].append(holding)
        }
    }
    return byOwner.map { owner, holdings in
        let isPart = owner.kind == .checkpoint
        let isUnique = { (holding: Holding) in
            isPart ? !holding.isElsewhere && holding.owners == [owner] : holding.hasOneGroup
        }
        let others = holdings.reduce(into: Set<UsageOwner>()) { others, holding in
            others.formUnion(isPart ? holding.owners : holding.groups)
        }
        return UsageRow(
            owner: owner,
            disk: share(of: holdings, .state, isUnique: isUnique),
            memory: share(of: holdings, .memory, isUnique: isUnique),
            with: others.subtracting([owner]).sorted(),
            isElsewhere: holdings.contains { $0.isElsewhere }
        )
    }
    .sorted { $0.owner < $1.owner }
}

/// VMs that have a file in common are of one tree; but not by what is an image's prepared template's,
/// which says nothing of where they come from.
private func trees(_ all: [Holding]) -> [UsageTree] {
    var trees: [Set<VMID>] = []
    for holding in all where !holding.groups.contains(where: { $0.kind == .prepared }) {
        let vms = Set(holding.groups.compactMap(\.vm))
        guard vms.count > 1 else { continue }
        let joined = trees.filter { !$0.isDisjoint(with: vms) }
        trees.removeAll { !$0.isDisjoint(with: vms) }
        trees.append(joined.reduce(vms) { $0.union($1) })
    }
    return trees.map { vms in
        let own = all.filter { holding in
            holding.groups.contains { $0.vm.map(vms.contains) ?? false }
        }
        let isUnique = { (holding: Holding) in
            !holding.isElsewhere
                && holding.groups.allSatisfy { $0.vm.map(vms.contains) ?? false }
        }
        return UsageTree(
            vms: vms.sorted(),
            disk: share(of: own, .state, isUnique: isUnique),
            memory: share(of: own, .memory, isUnique: isUnique)
        )
    }
    .sorted { $0.vms.lexicographicallyPrecedes($1.vms) }
}

/// Who the memory files are that somebody points to, by name.
private func memoryOwners(_ files: [StoredFile]) -> [String: UsageOwner] {
    var owners: [String: UsageOwner] = [:]
    for file in files {
        if let name = file.memoryName { owners[name] = owner(of: file, memory: [:]) }
    }
    return owners
}

private func owner(of file: StoredFile, memory: [String: UsageOwner]) -> UsageOwner {
    let parts = file.path.split(separator: "/")
    let other = UsageOwner(.other)
    guard let first = parts.first else { return other }
    if file.place == .memory {
        if let pointed = memory[String(first)] { return pointed }
        // As the driver names them: roost-<id>.mem and .base.
        let stem = first.split(separator: ".").first ?? ""
        guard stem.hasPrefix("roost-"), let id = VMID(stem.dropFirst(6)) else { return other }
        return UsageOwner(.vm, vm: id)
    }
    guard parts.count > 1 else { return other }
    let name = String(parts[1])
    switch first {
    case "vms", "trash":
        // What is being made or removed has its VM's id behind a word of ours.
        let bare = [".new-", ".gone-"].first { name.hasPrefix($0) }.map { name.dropFirst($0.count) }
        guard let id = VMID(bare ?? name[...]) else { return other }
        guard parts.count > 3, parts[2] == "checkpoints", CheckpointID(parts[3]) != nil else {
            return UsageOwner(.vm, vm: id)
        }
        return UsageOwner(.checkpoint, vm: id, name: String(parts[3]))
    case "templates": return UsageOwner(.prepared, name: name)
    case "images": return UsageOwner(.image, name: name)
    case "kernels": return UsageOwner(.kernel, name: name)
    case "forks": return UsageOwner(.fork, name: name)
    default: return other
    }
}
