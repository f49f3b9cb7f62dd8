internal import RoostAPI
internal import SwiftProtobuf

extension Roost_Fleet_V1_PlannedChange: Printable {
    static func columns(wide: Bool) -> [String] {
        let short = ["CHANGE", "VM", "NODE", "WHY"]
        return wide ? short + ["GROUP", "ID", "OPERATION"] : short
    }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        let cells: [Table.Cell] = [
            .init(text: kind.word, color: kind.color), .init(text: name), .init(text: node),
            .init(text: why),
        ]
        let more = [group, String(vmID.prefix(12)), runningOp].map { Table.Cell(text: $0) }
        return wide ? cells + more : cells
    }

    var plainName: String { name }

    func details(now: Int64) -> [(String, String)] {
        [("vm", name), ("change", kind.word), ("node", node), ("why", why)]
    }

    /// What is different, and what went wrong.
    var why: String {
        (details + (trouble.isEmpty ? [] : [trouble])).joined(separator: "; ")
    }
}

extension Roost_Fleet_V1_PlannedChange.Kind {
    var word: String {
        switch self {
        case .create: "create"
        case .update: "update"
        case .restart: "restart"
        case .replace: "replace"
        case .start: "start"
        case .stop: "stop"
        case .remove: "remove"
        case .blocked: "blocked"
        case .unspecified, .UNRECOGNIZED: "unknown"
        }
    }

    fileprivate var color: Table.Color? {
        switch self {
        case .create, .start: .green
        case .update: nil
        case .restart, .replace, .stop: .yellow
        case .remove, .blocked, .unspecified, .UNRECOGNIZED: .red
        }
    }
}

extension Roost_Fleet_V1_PublishedState: Printable {
    static func columns(wide: Bool) -> [String] {
        let short = ["FLEET", "GENERATION", "VMS", "CONVERGED", "PUBLISHED"]
        return wide ? short + ["PROJECT", "BY", "HASH"] : short
    }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        let cells: [Table.Cell] = [
            .init(text: state.name), .init(text: String(generation)),
            .init(text: "\(settled)/\(wanted)"),
            .init(
                text: "\(convergencePercent) %",
                color: convergencePercent == 100 ? .green : .yellow
            ),
            .init(text: timeText(publishTime)),
        ]
        let more = [state.project, publishedBy, String(hash.prefix(12))]
        return wide ? cells + more.map { Table.Cell(text: $0) } : cells
    }

    var plainName: String { state.name }

    func details(now: Int64) -> [(String, String)] {
        let left = changes.map { change in
            let why = change.why.isEmpty ? "" : " (\(change.why))"
            return ("left to do", "\(change.kind.word) \(change.name)\(why)")
        }
        return [
            ("fleet", state.name), ("project", state.project), ("generation", String(generation)),
            ("converged", "\(convergencePercent) %: \(settled) of \(wanted) VMs"),
            ("published", "\(timeText(publishTime)) by \(publishedBy), \(publishOp)"),
        ] + left
    }
}
