import RoostModel

/// A file's block map as ext4 keeps it: a tree whose root has four places in the inode.
struct Ext4Extents {
    /// The 60 bytes of `i_block`.
    let root: [UInt8]
    /// How many blocks the tree itself takes.
    let treeBlocks: Int

    private static let magic: UInt16 = 0xF30A
    private static let perBlock = (Ext4Geometry.blockSize - 12) / 12
    /// The longest extent of written blocks (`EXT_INIT_MAX_LEN`).
    private static let longest = 32_768

    /// Lays out `runs`, allocating and writing the tree's blocks if there are more than four.
    init(_ runs: [BlockRun], in blocks: BlockWriter) throws(Fault) {
        var level = Self.entries(runs)
        var depth = 0
        var used = 0
        while level.count > 4 {
            var upper: [Entry] = []
            for start in stride(from: 0, to: level.count, by: Self.perBlock) {
                let part = level[start..<min(start + Self.perBlock, level.count)]
                let block = try blocks.allocate(upTo: 1).start
                let bytes = Self.node(part, depth: depth, places: Self.perBlock)
                try blocks.write(bytes, at: block)
                upper.append(Entry(fileBlock: level[start].fileBlock, index: block))
                used += 1
            }
            level = upper
            depth += 1
        }
        root = Self.node(level[...], depth: depth, places: 4)
        treeBlocks = used
    }

    /// Twelve bytes: an extent in a leaf, or an index above it.
    private struct Entry {
        let fileBlock: UInt32
        let bytes: [UInt8]

        init(fileBlock: UInt32, imageBlock: UInt32, count: Int) {
            self.fileBlock = fileBlock
            var bytes: [UInt8] = []
            bytes.append(little: fileBlock)
            bytes.append(little: UInt16(truncatingIfNeeded: count))
            bytes.append(little: UInt16(0))
            bytes.append(little: imageBlock)
            self.bytes = bytes
        }

        init(fileBlock: UInt32, index block: Int) {
            self.fileBlock = fileBlock
            var bytes: [UInt8] = []
            bytes.append(little: fileBlock)
            bytes.append(little: UInt32(block))
            bytes.append(little: UInt32(0))
            self.bytes = bytes
        }
    }

    private static func entries(_ runs: [BlockRun]) -> [Entry] {
        var entries: [Entry] = []
        for run in runs {
            for start in stride(from: 0, to: Int(run.count), by: longest) {
                entries.append(
                    Entry(
                        fileBlock: run.fileBlock + UInt32(start),
                        imageBlock: run.imageBlock + UInt32(start),
                        count: min(longest, Int(run.count) - start)
                    )
                )
            }
        }
        return entries
    }

    private static func node(_ entries: ArraySlice<Entry>, depth: Int, places: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(little: magic)
        bytes.append(little: UInt16(entries.count))
        bytes.append(little: UInt16(places))
        bytes.append(little: UInt16(depth))
        bytes.append(little: UInt32(0))
        for entry in entries { bytes += entry.bytes }
        return bytes + Array(repeating: 0, count: 12 + places * 12 - bytes.count)
    }
}
