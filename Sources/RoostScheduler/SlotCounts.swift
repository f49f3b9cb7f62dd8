/// Small numbers by slot, kept for those slots only where they are not zero.
///
/// A hash table with open addressing (Knuth 6.4, algorithm L, and R for deletion), since these are
/// the look-ups of the innermost loop: a tenth of what a Dictionary costs there. The order inside
/// depends on the slots alone, and nothing depends on the order.
struct SlotCounts: Sendable {
    private struct Entry {
        /// −1 where nothing is.
        var slot: Int32 = -1
        var count: Int32 = 0
    }

    /// A power of two of them, at most three quarters full.
    private var entries: [Entry] = []
    private var used = 0

    /// The number of `slot`.
    subscript(slot: Int) -> Int {
        if used == 0 { return 0 }
        let mask = entries.count &- 1
        let wanted = Int32(truncatingIfNeeded: slot)
        var at = Self.home(wanted, mask)
        while true {
            let found = entries[at]
            if found.slot == wanted { return Int(found.count) }
            if found.slot < 0 { return 0 }
            at = (at &+ 1) & mask
        }
    }

    /// Every slot with a number, rising.
    var rising: [Int] {
        entries.map(\.slot).filter { $0 >= 0 }.sorted().map(Int.init)
    }

    /// Adds `delta` to the number of `slot`.
    mutating func add(_ delta: Int, at slot: Int) {
        if (used + 1) * 4 > entries.count * 3 { grow() }
        let mask = entries.count - 1
        let wanted = Int32(truncatingIfNeeded: slot)
        var at = Self.home(wanted, mask)
        while entries[at].slot >= 0, entries[at].slot != wanted { at = (at + 1) & mask }
        if entries[at].slot < 0 {
            if delta == 0 { return }
            entries[at] = Entry(slot: wanted)
            used += 1
        }
        entries[at].count += Int32(truncatingIfNeeded: delta)
        if entries[at].count == 0 { clear(at) }
    }

    /// Adds all of `other`.
    mutating func add(_ other: SlotCounts) {
        for at in other.entries.indices where other.entries[at].slot >= 0 {
            add(Int(other.entries[at].count), at: Int(other.entries[at].slot))
        }
    }

    /// Gives each slot its new number; what has none is forgotten.
    mutating func move(_ moved: [Int?]) {
        if used == 0 { return }
        let old = self
        self = SlotCounts()
        for at in old.entries.indices where old.entries[at].slot >= 0 {
            if let new = moved[Int(old.entries[at].slot)] {
                add(Int(old.entries[at].count), at: new)
            }
        }
    }

    private static func home(_ slot: Int32, _ mask: Int) -> Int {
        let mixed = UInt32(bitPattern: slot) &* 0x9E37_79B1
        return Int(mixed >> 7) & mask
    }

    private mutating func grow() {
        let old = self
        entries = [Entry](repeating: Entry(), count: max(4, old.entries.count * 2))
        used = 0
        add(old)
    }

    /// Empties a place, and moves up what its look-ups would stumble over.
    private mutating func clear(_ place: Int) {
        let mask = entries.count - 1
        var hole = place
        var at = place
        entries[hole] = Entry()
        used -= 1
        while true {
            at = (at + 1) & mask
            if entries[at].slot < 0 { return }
            let home = Self.home(entries[at].slot, mask)
            // It may stay where its home lies cyclically behind the hole.
            let stays = hole <= at ? hole < home && home <= at : hole < home || home <= at
            if stays { continue }
            entries[hole] = entries[at]
            entries[at] = Entry()
            hole = at
        }
    }
}
