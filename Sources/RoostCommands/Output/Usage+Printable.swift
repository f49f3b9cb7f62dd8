internal import RoostAPI
internal import SwiftProtobuf

extension Roost_Ops_V1_UsageItem: Printable {
    static func columns(wide: Bool) -> [String] {
        wide
            ? [
                "NAME", "KIND", "STATE", "DISK", "OWN", "SHARED", "MEMORY", "OWN", "SHARED", "NODE",
                "ID", "WITH",
            ] : ["NAME", "KIND", "DISK", "OWN", "SHARED", "MEMORY", "WITH"]
    }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        let with = Table.Cell(text: sharedWith.joined(separator: " "))
        let disk = disk.texts.map { Table.Cell(text: $0) }
        let memory = memory.texts.map { Table.Cell(text: $0) }
        guard wide else {
            return [.init(text: name), .init(text: kind.word)] + disk + [memory[0], with]
        }
        return [.init(text: name), .init(text: kind.word), .init(text: state)] + disk + memory
            + [.init(text: node), .init(text: id), with]
    }

    var plainName: String { name }

    func details(now: Int64) -> [(String, String)] {
        [
            ("name", name), ("kind", kind.word), ("id", id), ("state", state),
            ("disk", disk.sentence), ("memory", memory.sentence),
            ("with", sharedWith.joined(separator: " ")), ("node", node),
        ]
    }
}

extension Roost_Ops_V1_UsageShare {
    /// All, own, shared.
    fileprivate var texts: [String] {
        [bytes, uniqueBytes, sharedBytes].map { sizeText(bytes: $0) }
    }

    fileprivate var sentence: String {
        "\(texts[0]), \(texts[1]) its own and \(texts[2]) shared"
    }
}

extension Roost_Ops_V1_UsageItem.Kind {
    /// As people say it.
    var word: String {
        switch self {
        case .vm: "vm"
        case .checkpoint: "checkpoint"
        case .template: "template"
        case .tree: "tree"
        case .prepared: "prepared"
        case .image: "image"
        case .kernel: "kernel"
        case .fork: "fork"
        case .other: "other"
        case .total: "total"
        case .unspecified, .UNRECOGNIZED: "unknown"
        }
    }
}
