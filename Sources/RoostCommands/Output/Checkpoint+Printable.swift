internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

extension Roost_Compute_V1_Checkpoint: Printable {
    static func columns(wide: Bool) -> [String] {
        ["", "CHECKPOINT", "KIND", "SIZE", "AGE"]
            + (wide ? ["MEMORY", "DISK", "PARENT", "OP"] : []) + ["MESSAGE"]
    }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        var cells: [Table.Cell] = [
            .init(text: current ? "*" : " "),
            .init(text: wide ? id : shortID),
            .init(text: kind),
            .init(text: sizeText(bytes: memoryBytes + diskBytes)),
            .init(text: ageText(seconds: now - createTime.seconds)),
        ]
        if wide {
            cells += [
                .init(text: hasMemory_p ? sizeText(bytes: memoryBytes) : ""),
                .init(text: sizeText(bytes: diskBytes)),
                .init(text: String(parent.prefix(8))), .init(text: op),
            ]
        }
        return cells + [.init(text: message)]
    }

    var plainName: String { id }

    func details(now: Int64) -> [(String, String)] {
        [
            ("id", id), ("vm", vmID), ("parent", parent), ("message", message), ("kind", kind),
            ("memory", hasMemory_p ? sizeText(bytes: memoryBytes) : ""),
            ("disk", sizeText(bytes: diskBytes)), ("created", timeText(createTime)),
            ("current", current ? "yes" : "no"), ("op", op),
        ] + parts.map { ("digest of \($0.role)", $0.digest) }
    }

    /// Enough of the id for people.
    var shortID: String { String(id.prefix(8)) }
    /// `memory` or `disk`.
    var kind: String { hasMemory_p ? "memory" : "disk" }
}

/// The checkpoints of a VM as a tree.
///
/// ```text
///   1a2b3c4d  disk    12M  3h  first
///   ├─ 7f3a91c2  memory  84M  2h  before upgrade
///   │  └─ 99aa00bb  memory  4M  1h
/// * └─ 5c11d2e0  disk    1M  5m  another way
/// ```
struct CheckpointGraph {
    private let children: [String: [Roost_Compute_V1_Checkpoint]]

    /// `all`: the oldest first.
    init(_ all: [Roost_Compute_V1_Checkpoint]) {
        let known = Set(all.map(\.id))
        children = Dictionary(grouping: all) { known.contains($0.parent) ? $0.parent : "" }
    }

    /// One line each.
    func text(now: Int64) -> String {
        var lines: [String] = []
        // Not recursive: a VM may have a long line of them.
        var waiting = (children[""] ?? []).reversed().map { (node: $0, line: "", below: "") }
        while let (node, line, below) = waiting.popLast() {
            lines.append((node.current ? "* " : "  ") + line + words(of: node, now))
            let next = children[node.id] ?? []
            for (index, child) in next.enumerated().reversed() {
                let isLast = index == next.count - 1
                waiting.append(
                    (child, below + (isLast ? "└─ " : "├─ "), below + (isLast ? "   " : "│  "))
                )
            }
        }
        return lines.map { $0 + "\n" }.joined()
    }

    private func words(of node: Roost_Compute_V1_Checkpoint, _ now: Int64) -> String {
        let size = sizeText(bytes: node.memoryBytes + node.diskBytes)
        let age = ageText(seconds: now - node.createTime.seconds)
        let message = node.message.isEmpty ? "" : "  \(shown(node.message))"
        return "\(node.shortID)  \(node.kind)  \(size)  \(age)\(message)"
    }
}
