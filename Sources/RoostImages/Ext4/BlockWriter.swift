import RoostModel

/// Hands out an image's blocks in ascending order and writes them in large pieces.
///
/// Holes in the host's file stay holes: only blocks that are written take room.
final class BlockWriter {
    let file: DiskFile
    let geometry: Ext4Geometry
    private var next: Int
    /// Which blocks are in use, a bit each, a 4096-byte map per group; empty while untouched.
    private(set) var maps: [[UInt8]]
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    private var bufferStart = 0
    private var buffered = 0

    init(file: DiskFile, geometry: Ext4Geometry) {
        self.file = file
        self.geometry = geometry
        self.next = 0
        self.maps = Array(repeating: [], count: geometry.groupCount)
    }

    deinit { buffer.deallocate() }

    /// Allocates up to `count` blocks that lie together, at least 1.
    func allocate(upTo count: Int) throws(Fault) -> (start: Int, count: Int) {
        skipReserved()
        let group = next / Ext4Geometry.blocksPerGroup
        // Runs may cross into a group without reserved blocks; stopping at each group is simpler.
        let end = min(geometry.firstBlock(group + 1), geometry.blockCount)
        guard next < end else { throw full() }
        let run = (start: next, count: min(count, end - next))
        mark(run.start, run.count)
        next += run.count
        return run
    }

    /// Allocates exactly `count` blocks that lie together inside one group.
    func allocate(together count: Int) throws(Fault) -> Int {
        skipReserved()
        let group = next / Ext4Geometry.blocksPerGroup
        if next + count > geometry.firstBlock(group + 1) {
            next = geometry.firstBlock(group + 1)
            skipReserved()
        }
        guard next + count <= geometry.blockCount else { throw full() }
        mark(next, count)
        next += count
        return next - count
    }

    /// Allocates `count` blocks as runs of a file, from its first block on.
    func allocateRuns(_ count: Int) throws(Fault) -> [BlockRun] {
        var runs: [BlockRun] = []
        var done = 0
        while done < count {
            let run = try allocate(upTo: count - done)
            runs.extend(fileBlock: done, imageBlock: run.start, count: run.count)
            done += run.count
        }
        return runs
    }

    /// Goes on at `block`, unless the next free one is behind it already.
    func advance(to block: Int) { next = max(next, block) }

    /// Gives blocks back, overwritten: what a later layer deletes may have been a secret.
    func release(_ run: BlockRun) throws(Fault) {
        try flush()
        for block in Int(run.imageBlock)..<Int(run.imageBlock + run.count) {
            let (group, bit) = block.quotientAndRemainder(dividingBy: Ext4Geometry.blocksPerGroup)
            maps[group][bit >> 3] &= ~(1 << UInt8(bit & 7))
        }
        let zeros = [UInt8](repeating: 0, count: Ext4Geometry.blockSize)
        for block in run.imageBlock..<run.imageBlock + run.count {
            try file.write(zeros, at: UInt64(block) * UInt64(Ext4Geometry.blockSize))
        }
    }

    /// Writes `bytes` (a multiple of the block size) to blocks that were allocated.
    func write(_ bytes: UnsafeRawBufferPointer, at block: Int) throws(Fault) {
        let contiguous = bufferStart + buffered / Ext4Geometry.blockSize == block
        if !contiguous || buffered + bytes.count > buffer.count { try flush() }
        if buffered == 0 { bufferStart = block }
        guard bytes.count <= buffer.count else {
            try file.write(bytes, at: UInt64(block * Ext4Geometry.blockSize))
            return
        }
        UnsafeMutableRawBufferPointer(rebasing: buffer[buffered...]).copyMemory(from: bytes)
        buffered += bytes.count
    }

    /// Writes `bytes`, padded to whole blocks with zeros, to blocks that were allocated together.
    func write(_ bytes: [UInt8], at block: Int) throws(Fault) {
        try flush()
        let size = Ext4Geometry.blockSize
        var padded = bytes
        padded += Array(repeating: 0, count: (size - bytes.count % size) % size)
        try file.write(padded, at: UInt64(block * size))
    }

    /// Writes what is waiting in memory.
    func flush() throws(Fault) {
        guard buffered > 0 else { return }
        let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<buffered])
        try file.write(bytes, at: UInt64(bufferStart * Ext4Geometry.blockSize))
        buffered = 0
    }

    /// Marks blocks as used that are not handed out, such as superblock copies.
    func mark(_ start: Int, _ count: Int) {
        var block = start
        while block < start + count {
            let (group, bit) = block.quotientAndRemainder(dividingBy: Ext4Geometry.blocksPerGroup)
            touch(group)
            if bit & 7 == 0, start + count - block >= 8 {
                maps[group][bit >> 3] = 0xFF
                block += 8
            } else {
                maps[group][bit >> 3] |= 1 << UInt8(bit & 7)
                block += 1
            }
        }
    }

    /// Makes sure that the group has a map, even an empty one.
    func touch(_ group: Int) {
        guard maps[group].isEmpty else { return }
        maps[group] = Array(repeating: 0, count: Ext4Geometry.blockSize)
    }

    private func skipReserved() {
        let (group, bit) = next.quotientAndRemainder(dividingBy: Ext4Geometry.blocksPerGroup)
        guard group < geometry.groupCount else { return }
        let reserved = geometry.reservedBlocks(group)
        if bit < reserved { next += reserved - bit }
    }

    private func full() -> Fault {
        let size = geometry.blockCount * Ext4Geometry.blockSize
        return Fault(.limitExceeded, "the files do not fit into a disk of \(size) bytes")
    }
}

extension [BlockRun] {
    /// Appends a run, joining it with the last where both continue.
    mutating func extend(fileBlock: Int, imageBlock: Int, count: Int) {
        if let last, Int(last.fileBlock + last.count) == fileBlock,
            Int(last.imageBlock + last.count) == imageBlock
        {
            self[self.count - 1].count += UInt32(count)
        } else {
            append(
                BlockRun(
                    fileBlock: UInt32(fileBlock),
                    imageBlock: UInt32(imageBlock),
                    count: UInt32(count)
                )
            )
        }
    }
}
