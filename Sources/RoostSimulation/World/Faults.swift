/// A kind of thing that goes wrong.
package enum FaultKind: String, CaseIterable, Sendable {
    /// A process that comes up will crash by itself.
    case crash
    /// A failpoint kills the process, throws, or waits.
    case kill
    case error
    case delay
    /// A commit, a read of rows, a file call, a call of the driver fails.
    case commit
    case read
    /// A read of rows is answered late.
    case late
    case file
    case driver
    /// A node crashes just when somebody lost patience with it.
    case untimely
    /// A message is lost, takes much longer than others, comes twice, or comes once more much later.
    case lost
    case tardy
    case doubled
    case stale
    /// A started machine is slow, fails to start, dies, powers off, ignores the button.
    case slow
    case startless
    case death
    case off
    case deaf
    /// A guest's agent is lost before or after it did what it was asked, or never answers.
    case guest
    case mute
    /// Partitions, clock jumps, power cuts and the like: see ``Disaster``.
    case disaster
}

/// One thing that went wrong in a run: the n-th of its kind, from 1.
package struct FaultID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let kind: FaultKind
    package let ordinal: Int

    init(_ kind: FaultKind, _ ordinal: Int) {
        self.kind = kind
        self.ordinal = ordinal
    }

    /// Reads what ``description`` wrote, such as `lost3`.
    package init?(_ text: some StringProtocol) {
        let name = text.prefix { !$0.isNumber }
        guard let kind = FaultKind(rawValue: String(name)),
            let ordinal = Int(text.dropFirst(name.count)), ordinal > 0
        else { return nil }
        self.init(kind, ordinal)
    }

    package var description: String { "\(kind.rawValue)\(ordinal)" }

    package static func < (left: FaultID, right: FaultID) -> Bool {
        (left.kind.rawValue, left.ordinal) < (right.kind.rawValue, right.ordinal)
    }
}

/// Draws what goes wrong. Each kind has a generator of its own, and each fault one for its details,
/// so that a fault can be left out and the others stay about what they are.
struct Faults {
    private let seed: UInt64
    /// Only these happen; `nil`: all.
    private let only: Set<FaultID>?
    private var draws: [FaultKind: Chance] = [:]
    private var counts: [FaultKind: Int] = [:]
    /// What happened, in order.
    private(set) var struck: [FaultID] = []
    /// Whether anything may go wrong from now on.
    var areOn = true

    init(seed: UInt64, only: Set<FaultID>?) {
        self.seed = seed
        self.only = only
        for kind in FaultKind.allCases {
            draws[kind] = Chance(seed: seed, "fault \(kind.rawValue)")
        }
    }

    /// The details of a fault of `kind`, if one of this many in 10,000 happens now.
    mutating func strike(_ kind: FaultKind, _ perTenThousand: Int) -> Chance? {
        guard perTenThousand > 0, areOn else { return nil }
        guard draws[kind]?.hits(perTenThousand) == true else { return nil }
        counts[kind, default: 0] += 1
        let id = FaultID(kind, counts[kind, default: 0])
        if let only, !only.contains(id) { return nil }
        struck.append(id)
        return Chance(seed: seed, id.description)
    }
}
