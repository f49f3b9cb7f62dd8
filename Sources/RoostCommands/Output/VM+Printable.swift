internal import RoostAPI
internal import RoostLinux
internal import RoostModel
internal import SwiftProtobuf

extension Roost_Compute_V1_VM: Printable {
    static func columns(wide: Bool) -> [String] {
        let short = ["NAME", "STATE", "CPU", "MEMORY", "IMAGE", "PORTS", "AGE"]
        return wide ? short + ["ID", "NODE", "ADDRESSES", "KERNEL", "LABELS", "REASON"] : short
    }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        var cells: [Table.Cell] = [
            .init(text: name),
            .init(text: status.state.word, color: status.state.color),
            .init(text: String(spec.cpu.cores)),
            .init(text: sizeText(bytes: spec.memory.sizeMib << 20)),
            .init(text: shortDigest(spec.image)),
            .init(text: spec.ports.map(portText).joined(separator: ",")),
            .init(text: ageText(seconds: now - createTime.seconds)),
        ]
        guard wide else { return cells }
        cells += [
            .init(text: id), .init(text: String(status.nodeID.prefix(12))),
            .init(text: status.addresses.joined(separator: ",")),
            .init(text: shortDigest(spec.kernel)), .init(text: labelText),
            .init(text: status.reason),
        ]
        return cells
    }

    var plainName: String { name }

    func details(now: Int64) -> [(String, String)] {
        let disk = spec.hasDisk ? "\(spec.disk.sizeGib) GiB" : ""
        let since = ageText(seconds: now - status.since.seconds)
        return [
            ("name", name), ("id", id), ("project", project),
            ("state", "\(status.state.word) for \(since)"), ("reason", status.reason),
            ("wanted", desiredPower == .unspecified ? "" : "\(desiredPower)".uppercased()),
            ("cpu", String(spec.cpu.cores)),
            ("memory", sizeText(bytes: spec.memory.sizeMib << 20)), ("disk", disk),
            ("image", spec.image), ("kernel", spec.kernel),
            ("ports", spec.ports.map(portText).joined(separator: ", ")),
            ("network", spec.network.mode == .none ? "none" : "user"),
            ("addresses", status.addresses.joined(separator: ", ")), ("labels", labelText),
            ("node", status.nodeID), ("restarts", status.restarts == 0 ? "" : "\(status.restarts)"),
            ("disposable", spec.disposable ? "yes" : ""), ("created", timeText(createTime)),
            ("deleted", hasDeleteTime ? timeText(deleteTime) : ""),
            ("purged", hasPurgeTime ? timeText(purgeTime) : ""),
            ("last op", lastOp), ("running op", runningOp),
        ]
    }

    private var labelText: String {
        labels.sorted { $0.key < $1.key }.map { "\($0)=\($1)" }.joined(separator: ",")
    }
}

extension Roost_Compute_V1_VMStatus.State {
    /// As the API spells it.
    var word: String { Self.words.first { $0.1 == self }?.0 ?? "UNKNOWN" }

    /// Reads a state in either case; `nil` for what is none.
    init?(word: String) {
        guard let found = Self.words.first(where: { $0.0 == word.uppercased() }) else { return nil }
        self = found.1
    }

    /// Every state with its name.
    static let words: [(String, Self)] = [
        ("PENDING", .pending), ("PROVISIONING", .provisioning), ("STOPPED", .stopped),
        ("STARTING", .starting), ("RUNNING", .running), ("STOPPING", .stopping),
        ("PAUSED", .paused), ("SUSPENDED", .suspended), ("MIGRATING", .migrating),
        ("FAILED", .failed), ("LOST", .lost), ("DELETING", .deleting), ("DELETED", .deleted),
    ]

    var color: Table.Color? {
        switch self {
        case .running: .green
        case .failed, .lost: .red
        case .stopped, .deleted, .suspended: .dim
        case .unspecified, .UNRECOGNIZED: nil
        default: .yellow
        }
    }
}

/// Seconds since 1970.
func secondsNow() -> Int64 { SystemWallClock().now().milliseconds / 1000 }
