/// Values in the order of their keys, in chunks, so that one insert among 200,000 moves a few
/// kilobytes and not megabytes.
struct SortedRows<Value: Sendable>: Sendable {
    private struct Entry: Sendable {
        let key: ByteOrderedKey
        var value: Value
    }

    /// None of the chunks is empty. A chunk that reaches `most` is split in two.
    private var chunks: [[Entry]] = []
    private let most = 512

    var isEmpty: Bool { chunks.isEmpty }

    subscript(key: ByteOrderedKey) -> Value? {
        get {
            guard let place = place(of: key), place.found else { return nil }
            return chunks[place.chunk][place.offset].value
        }
        set {
            if let newValue { put(newValue, at: key) } else { remove(key) }
        }
    }

    /// Calls `body` for each pair from `start` on, or after it, until it answers `false`.
    func scan(
        from start: ByteOrderedKey?,
        inclusive: Bool,
        _ body: (ByteOrderedKey, Value) -> Bool
    ) {
        guard !chunks.isEmpty else { return }
        var chunk = 0
        var offset = 0
        if let start, let place = place(of: start) {
            chunk = place.chunk
            offset = place.found && !inclusive ? place.offset + 1 : place.offset
        }
        while chunk < chunks.count {
            for entry in chunks[chunk][offset...] where !body(entry.key, entry.value) {
                return
            }
            chunk += 1
            offset = 0
        }
    }

    private mutating func put(_ value: Value, at key: ByteOrderedKey) {
        guard let place = place(of: key) else {
            chunks = [[Entry(key: key, value: value)]]
            return
        }
        if place.found {
            chunks[place.chunk][place.offset].value = value
            return
        }
        chunks[place.chunk].insert(Entry(key: key, value: value), at: place.offset)
        if chunks[place.chunk].count >= most {
            let upper = Array(chunks[place.chunk][(most / 2)...])
            chunks[place.chunk].removeSubrange((most / 2)...)
            chunks.insert(upper, at: place.chunk + 1)
        }
    }

    private mutating func remove(_ key: ByteOrderedKey) {
        guard let place = place(of: key), place.found else { return }
        chunks[place.chunk].remove(at: place.offset)
        if chunks[place.chunk].isEmpty { chunks.remove(at: place.chunk) }
    }

    /// Where `key` is or would be inserted; `nil` if there is nothing at all.
    private func place(of key: ByteOrderedKey) -> (chunk: Int, offset: Int, found: Bool)? {
        guard !chunks.isEmpty else { return nil }
        // The last chunk that does not begin after the key.
        let after = firstIndex(in: 0..<chunks.count) { chunks[$0][0].key > key }
        let chunk = max(0, after - 1)
        let offset = firstIndex(in: 0..<chunks[chunk].count) { chunks[chunk][$0].key >= key }
        let found = offset < chunks[chunk].count && chunks[chunk][offset].key == key
        return (chunk, offset, found)
    }

    /// The first index for which `holds`; everything before it does not hold, all after it does.
    private func firstIndex(in range: Range<Int>, where holds: (Int) -> Bool) -> Int {
        var low = range.lowerBound
        var high = range.upperBound
        while low < high {
            let middle = low + (high - low) / 2
            if holds(middle) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
