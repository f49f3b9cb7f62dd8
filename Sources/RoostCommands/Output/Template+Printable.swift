internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

extension Roost_Compute_V1_Template: Printable {
    static func columns(wide: Bool) -> [String] {
        ["NAME", "KIND", "FROM", "CPUS", "MEMORY", "SIZE", "USERS", "AGE"]
            + (wide ? ["ID", "NODE"] : [])
    }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        var cells: [Table.Cell] = [
            .init(text: name), .init(text: kind), .init(text: origin),
            .init(text: "\(spec.cpu.cores)"), .init(text: "\(spec.memory.sizeMib)M"),
            .init(text: sizeText(bytes: memoryBytes + diskBytes)),
            .init(text: wide ? users.joined(separator: " ") : "\(users.count)"),
            .init(text: ageText(seconds: now - createTime.seconds)),
        ]
        if wide { cells += [.init(text: id), .init(text: nodeID)] }
        return cells
    }

    var plainName: String { name }

    func details(now: Int64) -> [(String, String)] {
        [
            ("id", id), ("name", name), ("kind", kind), ("from", origin),
            ("cpus", "\(spec.cpu.cores)"), ("memory", "\(spec.memory.sizeMib)M"),
            ("size", sizeText(bytes: memoryBytes + diskBytes)),
            ("users", users.joined(separator: " ")), ("created", timeText(createTime)),
            ("op", createOp),
        ]
    }

    /// `memory` or `disk`.
    var kind: String { hasMemory_p ? "memory" : "disk" }
}
