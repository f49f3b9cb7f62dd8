internal import RoostAPI
internal import SwiftProtobuf

extension Roost_Fleet_V1_Node: Printable {
    static func columns(wide: Bool) -> [String] {
        let short = ["NAME", "STATE", "VMS", "CPU", "MEMORY", "LABELS", "TAINTS"]
        return wide ? short + ["ID", "REASON"] : short
    }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        let memory = sizeText(bytes: promised.memoryMib << 20)
        let cells: [Table.Cell] = [
            .init(text: plainName), .init(text: state.word, color: state.color),
            .init(text: String(vmCount)), .init(text: "\(promised.cores)/\(promisable.cores)"),
            .init(text: "\(memory)/\(sizeText(bytes: promisable.memoryMib << 20))"),
            .init(text: labelText), .init(text: taintText),
        ]
        return wide ? cells + [.init(text: id), .init(text: cordonReason)] : cells
    }

    var plainName: String { name.isEmpty ? String(id.prefix(12)) : name }

    func details(now: Int64) -> [(String, String)] {
        let memory = [promised, promisable, hardware].map { sizeText(bytes: $0.memoryMib << 20) }
        return [
            ("name", plainName), ("id", id), ("state", state.word), ("reason", cordonReason),
            ("vms", String(vmCount)),
            (
                "cpu",
                "\(promised.cores) of \(promisable.cores) promised; \(hardware.cores) in hardware"
            ),
            ("memory", "\(memory[0]) of \(memory[1]) promised; \(memory[2]) in hardware"),
            ("labels", labelText), ("taints", taintText),
            ("changed", hasUpdateTime ? timeText(updateTime) : ""), ("drain", drainText),
        ]
            + drain.vms.map {
                (
                    "  \($0.vmName)",
                    $0.message.isEmpty ? $0.outcome.word : "\($0.outcome.word): \($0.message)"
                )
            }
    }

    /// How far its drain is, or the end of one.
    private var drainText: String {
        guard hasDrain else { return "" }
        let what = drain.restores ? "VMs are started again" : drain.suspends ? "suspends" : "stops"
        let until = drain.hasEndTime ? "ended \(timeText(drain.endTime))" : "goes on"
        return "\(drain.operation), \(what), since \(timeText(drain.startTime)), \(until)"
    }

    private var labelText: String {
        labels.sorted { $0.key < $1.key }.map { "\($0)=\($1)" }.joined(separator: ",")
    }

    private var taintText: String {
        taints.map { taint in
            let pair = taint.value.isEmpty ? taint.key : "\(taint.key)=\(taint.value)"
            return taint.effect == .preferNoSchedule ? "\(pair):preferNoSchedule" : pair
        }.joined(separator: ",")
    }
}

extension Roost_Fleet_V1_Node.State {
    /// As the API spells it.
    var word: String {
        switch self {
        case .ready: "READY"
        case .cordoned: "CORDONED"
        case .draining: "DRAINING"
        case .drained: "DRAINED"
        case .notReady: "NOT_READY"
        case .lost: "LOST"
        case .unspecified, .UNRECOGNIZED: "UNKNOWN"
        }
    }

    var color: Table.Color? {
        switch self {
        case .ready: .green
        case .cordoned, .draining, .drained: .yellow
        case .notReady, .lost: .red
        case .unspecified, .UNRECOGNIZED: nil
        }
    }
}
