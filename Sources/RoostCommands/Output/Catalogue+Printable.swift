internal import RoostAPI
internal import SwiftProtobuf

extension Roost_Image_V1_Image: Printable {
    static func columns(wide: Bool) -> [String] {
        ["NAME", "DIGEST", "SIZE", "AGE", "DEFAULT"]
    }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        [
            .init(text: names.joined(separator: ",")),
            .init(text: wide ? digest : shortDigest(digest)),
            .init(text: sizeText(bytes: sizeBytes)),
            .init(text: ageText(seconds: now - createTime.seconds)),
            .init(text: isDefault ? "yes" : ""),
        ]
    }

    var plainName: String { names.first ?? digest }

    func details(now: Int64) -> [(String, String)] {
        [
            ("names", names.joined(separator: ", ")), ("digest", digest),
            ("size", sizeText(bytes: sizeBytes)), ("created", timeText(createTime)),
            ("default", isDefault ? "yes" : "no"), ("pulled from", origins.joined(separator: ", ")),
        ]
    }
}

extension Roost_Image_V1_Kernel: Printable {
    static func columns(wide: Bool) -> [String] {
        ["NAME", "RELEASE", "DIGEST", "MEMORY FLOOR", "DEFAULT"]
    }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        [
            .init(text: names.joined(separator: ",")), .init(text: release),
            .init(text: wide ? digest : shortDigest(digest)),
            .init(text: sizeText(bytes: memoryFloorMib << 20)),
            .init(text: isDefault ? "yes" : ""),
        ]
    }

    var plainName: String { names.first ?? digest }

    func details(now: Int64) -> [(String, String)] {
        [
            ("names", names.joined(separator: ", ")), ("release", release), ("digest", digest),
            ("memory floor", sizeText(bytes: memoryFloorMib << 20)),
            ("default", isDefault ? "yes" : "no"),
        ]
    }
}

extension Roost_Ops_V1_Operation: Printable {
    static func columns(wide: Bool) -> [String] {
        ["OP", "METHOD", "SUBJECT", "STATE", "AGE"] + (wide ? ["TOOK", "BY", "ERROR"] : [])
    }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        let short: [Table.Cell] = [
            .init(text: wide ? id : "op-" + id.suffix(6)),
            .init(text: method.split(separator: "/").last.map(String.init) ?? method),
            .init(text: subjects.map(\.shownName).joined(separator: ",")),
            .init(text: stateWord, color: color),
            .init(text: ageText(seconds: now - createTime.seconds)),
        ]
        guard wide else { return short }
        return short + [
            .init(text: took), .init(text: principal), .init(text: error.message),
        ]
    }

    var plainName: String { id }

    func details(now: Int64) -> [(String, String)] {
        [
            ("id", id), ("method", method), ("by", principal),
            ("about", subjects.map { "\($0.kind) \($0.shownName)" }.joined(separator: ", ")),
            ("state", stateWord), ("created", timeText(createTime)), ("took", took),
            ("error", error.message), ("parent", parent),
        ]
            + steps.map { step in
                let detail = step.detail.isEmpty ? "" : ": \(step.detail)"
                return ("step \(step.name)", "\(step.state)".uppercased() + detail)
            }
    }

    /// As the API spells it.
    var stateWord: String {
        switch state {
        case .pending: "PENDING"
        case .running: "RUNNING"
        case .succeeded: "SUCCEEDED"
        case .failed: "FAILED"
        case .cancelled: "CANCELLED"
        case .undoing: "UNDOING"
        case .unspecified, .UNRECOGNIZED: "UNKNOWN"
        }
    }

    private var color: Table.Color? {
        switch state {
        case .succeeded: .green
        case .failed: .red
        case .cancelled: .dim
        case .pending, .running, .undoing: .yellow
        case .unspecified, .UNRECOGNIZED: nil
        }
    }

    private var took: String {
        guard hasEndTime else { return "" }
        let start = Duration(secondsComponent: createTime.seconds, nanos: createTime.nanos)
        return secondsText(
            Duration(secondsComponent: endTime.seconds, nanos: endTime.nanos) - start
        )
    }
}

extension Duration {
    fileprivate init(secondsComponent: Int64, nanos: Int32) {
        self = .seconds(secondsComponent) + .nanoseconds(Int64(nanos))
    }
}

extension Roost_Ops_V1_Subject {
    fileprivate var shownName: String { name.isEmpty ? String(id.prefix(12)) : name }
}

extension Roost_Ops_V1_Finding: Printable {
    static func columns(wide: Bool) -> [String] { ["", "CHECK", "FOUND"] + (wide ? ["ID"] : []) }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        [.init(text: verdictWord, color: color), .init(text: title), .init(text: detail)]
            + (wide ? [.init(text: id)] : [])
    }

    var plainName: String { id }

    func details(now: Int64) -> [(String, String)] {
        [("check", title), ("verdict", verdictWord), ("found", detail), ("fix", fix)]
    }

    /// `pass`, `warn` or `fail`.
    var verdictWord: String {
        switch verdict {
        case .pass: "pass"
        case .warn: "warn"
        case .fail: "fail"
        case .unspecified, .UNRECOGNIZED: "unknown"
        }
    }

    private var color: Table.Color? {
        switch verdict {
        case .pass: .green
        case .warn: .yellow
        case .fail: .red
        case .unspecified, .UNRECOGNIZED: nil
        }
    }
}

extension Roost_Ops_V1_Leak: Printable {
    static func columns(wide: Bool) -> [String] { ["KIND", "NAME", "VM", "WHY", "FIX"] }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        [kind, name, wide ? vmID : String(vmID.prefix(12)), detail, fix].map { .init(text: $0) }
    }

    var plainName: String { name }

    func details(now: Int64) -> [(String, String)] {
        [("kind", kind), ("name", name), ("vm", vmID), ("why", detail), ("fix", fix)]
    }
}

extension Roost_Ops_V1_DaemonInfo: Printable {
    static func columns(wide: Bool) -> [String] { ["VERSION", "PID", "DRIVER", "ACCELERATION"] }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        [version, String(pid), driver, acceleration].map { .init(text: $0) }
    }

    var plainName: String { String(pid) }

    func details(now: Int64) -> [(String, String)] {
        [
            ("version", version), ("pid", String(pid)), ("role", role), ("driver", driver),
            ("acceleration", acceleration), ("sockets", sockets.joined(separator: ", ")),
            ("state directory", stateDirectory), ("store", store), ("node", nodeID),
            ("uptime", ageText(seconds: uptime.seconds)),
            ("busy", busy ? busyWith.joined(separator: ", ") : "no"),
        ]
    }
}
