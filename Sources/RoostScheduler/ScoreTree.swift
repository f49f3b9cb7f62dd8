/// The largest of many scores, and the next ones, without looking at all of them.
///
/// Leaves stand in the order of their slots, in segments of their own; each inner node holds the
/// larger of its two. Setting one leaf costs O(log *n*) at worst and stops where nothing changes.
struct ScoreTree: Sendable {
    /// The value of a leaf that will not do.
    static let none = Int32.min

    /// One tree over some of the slots.
    struct Segment: Sendable {
        /// Where its root's place minus one is.
        var offset: Int
        /// Leaves, a power of two.
        var width: Int
        /// Where its slots begin in ``ScoreTree/slots``.
        var first: Int
        var count: Int
    }

    private(set) var segments: [Segment] = []
    private var values: [Int32]
    /// The slot of each leaf, segment after segment, rising within one.
    private let slots: [Int32]
    /// By slot: one cache line tells where its leaf is and in which segment. Empty where one
    /// segment has every slot.
    private let places: [Place]
    /// The best of each segment, side by side, since they are asked one after the other.
    private(set) var bests: [Int32] = []
    /// The smallest slot of each segment.
    let firsts: [Int32]

    private struct Place {
        /// The leaf's place in `values`.
        var leaf: Int32 = 0
        var segment: Int32 = 0
    }

    /// A tree for each list of rising slots; `scores` is by slot.
    init(_ lists: [[Int32]], scores: [Int32]) {
        var places = [Place](repeating: Place(), count: scores.count)
        var slots: [Int32] = []
        slots.reserveCapacity(scores.count)
        var size = 0
        for list in lists {
            var width = 1
            while width < list.count { width *= 2 }
            let segment = Segment(
                offset: size,
                width: width,
                first: slots.count,
                count: list.count
            )
            for (index, slot) in list.enumerated() {
                places[Int(slot)] = Place(
                    leaf: Int32(size + width + index),
                    segment: Int32(segments.count)
                )
            }
            slots += list
            segments.append(segment)
            size += 2 * width
        }
        var values = [Int32](repeating: Self.none, count: size)
        let isWhole = lists.count == 1 && slots.count == scores.count
        if isWhole { places = [] }
        for slot in scores.indices {
            let leaf = isWhole ? segments[0].width + slot : Int(places[slot].leaf)
            values[leaf] = scores[slot]
        }
        for segment in segments {
            for index in stride(from: segment.width - 1, to: 0, by: -1) {
                let at = segment.offset + index
                let child = segment.offset + 2 * index
                values[at] = max(values[child], values[child + 1])
            }
        }
        bests = segments.map { values[$0.offset + 1] }
        firsts = segments.map { $0.count > 0 ? slots[$0.first] : .max }
        self.values = values
        self.places = places
        self.slots = slots
    }

    /// The score of `slot`.
    subscript(slot: Int) -> Int32 { values[place(slot).leaf] }

    private func place(_ slot: Int) -> (leaf: Int, segment: Int) {
        if places.isEmpty { return (segments[0].width + slot, 0) }
        return (Int(places[slot].leaf), Int(places[slot].segment))
    }

    /// Which segment `slot` is in.
    func segment(of slot: Int) -> Int { place(slot).segment }

    /// The smallest slot that has a segment's best score.
    func bestSlot(_ segment: Int) -> Int32 {
        let shape = segments[segment]
        var index = 1
        while index < shape.width {
            let left = shape.offset + 2 * index
            index = 2 * index + (values[left] == values[shape.offset + index] ? 0 : 1)
        }
        return slots[shape.first + index - shape.width]
    }

    /// Gives `slot` another score.
    mutating func set(_ slot: Int, _ score: Int32) {
        let (leaf, segment) = place(slot)
        var at = leaf
        guard values[at] != score else { return }
        let offset = segments[segment].offset
        values[at] = score
        var index = (at - offset) >> 1
        while index > 0 {
            let child = offset + 2 * index
            let larger = max(values[child], values[child + 1])
            at = offset + index
            if values[at] == larger { return }
            values[at] = larger
            index >>= 1
        }
        bests[segment] = values[offset + 1]
    }

    /// Adds a segment's best leaves, each with `shift` added, to `found`, which holds the best
    /// `limit` so far: larger scores first, then smaller slots.
    func collect(_ segment: Int, shift: Int32, limit: Int, into found: inout [Leader]) {
        collect(segments[segment], 1, shift, limit, &found)
    }

    private func collect(
        _ shape: Segment,
        _ index: Int,
        _ shift: Int32,
        _ limit: Int,
        _ found: inout [Leader]
    ) {
        let value = values[shape.offset + index]
        guard value != Self.none else { return }
        if found.count == limit, let last = found.last {
            if value + shift < last.score { return }
            if value + shift == last.score, firstSlot(shape, index) > last.slot { return }
        }
        if index >= shape.width {
            let slot = slots[shape.first + index - shape.width]
            Self.insert(Leader(slot: slot, score: value + shift), limit, &found)
            return
        }
        let left = values[shape.offset + 2 * index]
        let right = values[shape.offset + 2 * index + 1]
        let first = 2 * index + (left >= right ? 0 : 1)
        collect(shape, first, shift, limit, &found)
        collect(shape, first ^ 1, shift, limit, &found)
    }

    /// The smallest slot below a node of a segment's tree.
    private func firstSlot(_ shape: Segment, _ index: Int) -> Int32 {
        var leftmost = index
        while leftmost < shape.width { leftmost *= 2 }
        return slots[min(shape.first + leftmost - shape.width, shape.first + shape.count - 1)]
    }

    private static func insert(_ leader: Leader, _ limit: Int, _ found: inout [Leader]) {
        var at = found.count
        while at > 0, leader.isBetter(than: found[at - 1]) { at -= 1 }
        guard at < limit else { return }
        found.insert(leader, at: at)
        if found.count > limit { found.removeLast() }
    }
}

/// A slot and its whole score.
struct Leader: Sendable {
    var slot: Int32
    var score: Int32

    /// Larger scores first, then smaller slots, which are smaller node ids.
    func isBetter(than other: Leader) -> Bool {
        score > other.score || (score == other.score && slot < other.slot)
    }
}
