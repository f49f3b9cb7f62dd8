/// Small numbers by slot, kept for those slots only where they are not zero.
///
/// A hash table with open addressing (Knuth 6.4, algorithm L, and R for deletion), since these are
/// the look-ups of the innermost loop: a tenth of what a Dictionary costs there. The order inside
/// depends on the slots alone, and nothing depends on the order.
struct SlotCounts: Sendable {
    /// −1 where nothing is; a power of two of them, at most three quarters full.
    private var slots: [Int32] = []
    private var counts: [Int32] = []
    private var used = 0

    /// The number of `slot`.
    subscript(slot: Int) -> Int {
        if used == 0 { return 0 }
        let mask = slots.count &- 1
        let wanted = Int32(truncatingIfNeeded: slot)
        var at = Self.home(wanted, mask)
        while true {
            let found = slots[at]
            if found == wanted { return Int(counts[at]) }
            if found < 0 { return 0 }
            at = (at &+ 1) & mask
        }
    }

    /// Every slot with a number, rising.
    var rising: [Int] {
        slots.filter { $0 >= 0 }.sorted().map(Int.init)
    }

    /// Adds `delta` to the number of `slot`.
    mutating func add(_ delta: Int, at slot: Int) {
        if (used + 1) * 4 > slots.count * 3 { grow() }
        let mask = slots.count - 1
        let wanted = Int32(truncatingIfNeeded: slot)
        var at = Self.home(wanted, mask)
        while slots[at] >= 0, slots[at] != wanted { at = (at + 1) & mask }
        if slots[at] < 0 {
            if delta == 0 { return }
            slots[at] = wanted
            counts[at] = 0
            used += 1
        }
        counts[at] += Int32(truncatingIfNeeded: delta)
        if counts[at] == 0 { clear(at) }
    }

    /// Adds all of `other`.
    mutating func add(_ other: SlotCounts) {
        for at in other.slots.indices where other.slots[at] >= 0 {
            add(Int(other.counts[at]), at: Int(other.slots[at]))
        }
    }

    /// Gives each slot its new number; what has none is forgotten.
    mutating func move(_ moved: [Int?]) {
        if used == 0 { return }
        let old = self
        self = SlotCounts()
        for at in old.slots.indices where old.slots[at] >= 0 {
            if let new = moved[Int(old.slots[at])] { add(Int(old.counts[at]), at: new) }
        }
    }

    private static func home(_ slot: Int32, _ mask: Int) -> Int {
        let mixed = UInt32(bitPattern: slot) &* 0x9E37_79B1
        return Int(mixed >> 7) & mask
    }

    private mutating func grow() {
        let old = self
        slots = [Int32](repeating: -1, count: max(4, old.slots.count * 2))
        counts = [Int32](repeating: 0, count: slots.count)
        used = 0
        add(old)
    }

    /// Empties a place, and moves up what its look-ups would stumble over.
    private mutating func clear(_ place: Int) {
        let mask = slots.count - 1
        var hole = place
        var at = place
        slots[hole] = -1
        used -= 1
        while true {
            at = (at + 1) & mask
            if slots[at] < 0 { return }
            let home = Self.home(slots[at], mask)
            // It may stay where its home lies cyclically behind the hole.
            let stays = hole <= at ? hole < home && home <= at : hole < home || home <= at
            if stays { continue }
            slots[hole] = slots[at]
            counts[hole] = counts[at]
            slots[at] = -1
            hole = at
        }
    }
}
