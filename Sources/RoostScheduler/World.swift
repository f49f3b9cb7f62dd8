import RoostModel

/// What is known of nodes and VMs, and the indexes over it. It decides nothing.
///
/// Nodes stand in slots, in the order of their ids: a smaller slot is a smaller id, so that ties
/// are broken by comparing slots. The slots change only when a node comes or goes.
struct World: Sendable {
    let strategy: PlacementStrategy
    /// By slot.
    var facts: [NodeFacts] = []
    var slotOf: [NodeID: Int] = [:]
    /// By slot, side by side since they are read together.
    var rooms: [Rooms] = []
    /// The revision of each node's latest change, by slot.
    var versions: [UInt64] = []
    /// Rises with every change.
    var revision: UInt64 = 0

    /// Another epoch: slots or labels are others, so nothing that is kept by slot holds.
    var epoch = 0
    /// The slots that changed, in order; the first of them has the number `logStart`.
    var log: [Change] = []
    var logStart = 0

    var residents: [VMID: Record] = [:]
    var kinds: [Kind] = []
    var freeKinds: [Int] = []
    var kindOf: [PlacementRequest: Int] = [:]
    var kindsByLabel: [LabelPair: Set<Int>] = [:]
    var groups: [Group] = []
    var freeGroups: [Int] = []
    var groupOf: [VMGroup: Int] = [:]
    /// The groups whose selector wants this pair.
    var groupsByLabel: [LabelPair: [Int]] = [:]
    /// The groups whose selector wants no pair.
    var groupsWithoutLabel: [Int] = []
    var spreads: [SpreadCounts] = []
    var freeSpreads: [Int] = []
    /// Columns that were asked for in this epoch.
    var columns: [String: Column] = [:]

    init(strategy: PlacementStrategy) { self.strategy = strategy }

    /// The change with this number and all later ones.
    struct Change: Sendable {
        var slot: Int32
        /// Whether the node's facts changed too, not only what is on it.
        var isFacts: Bool
    }

    struct Rooms: Sendable {
        /// What the node may still promise; below zero where it promised more than it has.
        var free: Room
        /// What it may promise altogether.
        var total: Room
    }

    /// One VM that is somewhere.
    struct Record: Sendable {
        var kind: Int
        var slot: Int
        /// Whether it holds cores and memory. Its disk and its place in groups it holds anyway.
        var isRunning: Bool
    }
}

/// Cores, memory and disk together.
struct Room: Hashable, Sendable {
    var cores: Int
    var memoryMiB: Int
    var diskGiB: Int

    static func - (left: Room, right: Room) -> Room {
        Room(
            cores: left.cores - right.cores,
            memoryMiB: left.memoryMiB - right.memoryMiB,
            diskGiB: left.diskGiB - right.diskGiB
        )
    }

    static func + (left: Room, right: Room) -> Room {
        Room(
            cores: left.cores + right.cores,
            memoryMiB: left.memoryMiB + right.memoryMiB,
            diskGiB: left.diskGiB + right.diskGiB
        )
    }
}

/// One label with its value.
struct LabelPair: Hashable, Sendable {
    var key: String
    var value: String
}

extension NodeFacts {
    /// What it may promise altogether. Where nobody counts disk there is no end of it.
    var room: Room {
        Room(
            cores: promisableCores,
            memoryMiB: promisableMemoryMiB,
            diskGiB: diskGiB ?? Int(Int32.max) << 20
        )
    }
}

// MARK: Nodes

extension World {
    /// Begins a delta: what it changes is stamped with `given`, or with one more than before.
    /// Several deltas may share a revision; it never falls.
    mutating func advance(to given: UInt64?) {
        revision = given.map { max($0, revision) } ?? revision + 1
    }

    /// Puts every node of `nodes` in, replacing those with the same id.
    mutating func join(_ nodes: [NodeFacts]) {
        var isLayout = false
        var newcomers: [NodeID: NodeFacts] = [:]
        for node in nodes {
            if let slot = slotOf[node.id] {
                if change(slot, to: node) { isLayout = true }
            } else {
                newcomers[node.id] = node
            }
        }
        if !newcomers.isEmpty {
            layOut(facts + newcomers.values)
        } else if isLayout {
            relabel()
        }
    }

    /// Takes a node's new facts; `true` when its labels are others.
    private mutating func change(_ slot: Int, to node: NodeFacts) -> Bool {
        let isRelabelled = facts[slot].labels != node.labels
        let used = rooms[slot].total - rooms[slot].free
        facts[slot] = node
        rooms[slot] = Rooms(free: node.room - used, total: node.room)
        touch(slot, isFacts: true)
        return isRelabelled
    }

    /// Forgets a node. What was on it must have been removed before.
    mutating func removeNode(_ slot: Int) {
        var rest = facts
        rest.remove(at: slot)
        layOut(rest)
    }

    /// Gives every node of `nodes` its slot anew, and everything kept by slot its new place.
    private mutating func layOut(_ nodes: [NodeFacts]) {
        let sorted = nodes.sorted { $0.id < $1.id }
        var places: [NodeID: Int] = [:]
        places.reserveCapacity(sorted.count)
        for (slot, node) in sorted.enumerated() { places[node.id] = slot }
        let moved = facts.map { places[$0.id] }
        var used = [Room](repeating: Room(cores: 0, memoryMiB: 0, diskGiB: 0), count: sorted.count)
        var newVersions = [UInt64](repeating: revision, count: sorted.count)
        for (old, new) in moved.enumerated() {
            guard let new else { continue }
            used[new] = rooms[old].total - rooms[old].free
            newVersions[new] = versions[old]
        }
        facts = sorted
        slotOf = places
        rooms = zip(sorted, used).map { Rooms(free: $0.room - $1, total: $0.room) }
        versions = newVersions
        residents = residents.mapValues { record in
            guard let slot = moved[record.slot] else {
                preconditionFailure("a node went with VMs on it")
            }
            return Record(kind: record.kind, slot: slot, isRunning: record.isRunning)
        }
        for index in kinds.indices { kinds[index].nodes.move(moved) }
        for index in groups.indices {
            groups[index].members.move(moved)
            groups[index].repelled.move(moved)
        }
        relabel()
    }

    /// Works out anew whatever comes from labels.
    private mutating func relabel() {
        epoch += 1
        logStart += log.count
        log.removeAll(keepingCapacity: true)
        columns.removeAll(keepingCapacity: true)
        for index in spreads.indices {
            let group = spreads[index].group
            guard group >= 0 else { continue }
            let key = spreads[index].key
            let members = groups[group].members
            spreads[index] = SpreadCounts(group: group, key: key, column(key), members)
        }
    }

    /// Notes that something about `slot` changed.
    mutating func touch(_ slot: Int, isFacts: Bool = false) {
        versions[slot] = revision
        if log.count >= max(4 * facts.count, 1024) {
            // Who has not read the older half reads everything anew, which is as cheap by then.
            let half = log.count / 2
            log.removeFirst(half)
            logStart += half
        }
        log.append(Change(slot: Int32(slot), isFacts: isFacts))
    }

    /// The values of a label key, by slot.
    mutating func column(_ key: String) -> Column {
        if let known = columns[key] { return known }
        // Keys come from requests: the number that is kept is bounded.
        if columns.count >= 64 { columns.removeAll(keepingCapacity: true) }
        let made = Column(key, facts)
        columns[key] = made
        return made
    }
}

/// A label's values by slot, as small numbers.
struct Column: Sendable {
    /// The number of each slot's value; −1 where the node has no such label.
    private(set) var domains: [Int32]
    private(set) var numberOf: [String: Int32] = [:]
    /// The values in the order of their numbers.
    private(set) var names: [String] = []

    init(_ key: String, _ facts: [NodeFacts]) {
        domains = [Int32](repeating: -1, count: facts.count)
        for (slot, node) in facts.enumerated() {
            guard let value = node.labels[key] else { continue }
            if let known = numberOf[value] {
                domains[slot] = known
            } else {
                let number = Int32(names.count)
                numberOf[value] = number
                names.append(value)
                domains[slot] = number
            }
        }
    }
}
