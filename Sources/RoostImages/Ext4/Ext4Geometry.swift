import RoostModel

/// The fixed facts of an ext4 file system of one size: 4 KiB blocks, groups of 128 MiB.
///
/// Source: Documentation/filesystems/ext4 in Linux. Group descriptors follow the superblock
/// directly; copies of both stand at the start of groups 0, 1 and the powers of 3, 5 and 7
/// (`sparse_super`). Everything else may lie anywhere (`flex_bg`).
struct Ext4Geometry {
    static let blockSize = 4096
    static let blocksPerGroup = 32_768
    static let inodeSize = 256
    /// Groups whose bitmaps and inode tables lie together.
    static let groupsPerFlex = 16

    let blockCount: Int
    let groupCount: Int
    let descriptorBlocks: Int

    init(size: ByteCount) throws(Fault) {
        guard size >= .mebibytes(1), size <= .gibibytes(8192) else {
            throw Fault(
                .limitExceeded,
                "a file system of \(size.bytes) bytes; 1 MiB to 8 TiB can be made"
            )
        }
        var blocks = Int(size.bytes) / Self.blockSize
        let rest = blocks % Self.blocksPerGroup
        let descriptors = Self.descriptorBlocks(for: blocks)
        // A last group too short for its own copies of the descriptors is left out, as mke2fs does.
        if blocks > Self.blocksPerGroup, rest < descriptors + 64 { blocks -= rest }
        self.blockCount = blocks
        self.groupCount = (blocks + Self.blocksPerGroup - 1) / Self.blocksPerGroup
        self.descriptorBlocks = descriptors
    }

    private static func descriptorBlocks(for blocks: Int) -> Int {
        let groups = (blocks + blocksPerGroup - 1) / blocksPerGroup
        return (groups * 32 + blockSize - 1) / blockSize
    }

    /// Whether a copy of superblock and descriptors starts the group.
    func hasSuperblock(_ group: Int) -> Bool {
        if group <= 1 { return true }
        return [3, 5, 7].contains { base in
            var power = base
            while power < group { power *= base }
            return power == group
        }
    }

    /// How many blocks at the group's start are taken by those copies.
    func reservedBlocks(_ group: Int) -> Int { hasSuperblock(group) ? 1 + descriptorBlocks : 0 }

    /// The group's first block.
    func firstBlock(_ group: Int) -> Int { group * Self.blocksPerGroup }

    /// How many blocks the group has; only the last may have fewer than the others.
    func blocks(_ group: Int) -> Int {
        min(Self.blocksPerGroup, blockCount - firstBlock(group))
    }

    /// The journal's blocks, as mke2fs chooses for the smaller disks: 4 to 64 MiB.
    var journalBlocks: Int {
        switch blockCount {
        case ..<2048: 0
        case ..<262_144: 1024
        case ..<4_194_304: 4096
        default: 16_384
        }
    }

    /// How many inodes a group gets, if the tree needs `needed`: one per 16 KiB of disk, or a
    /// quarter more than the tree has.
    func inodesPerGroup(needed: Int) throws(Fault) -> Int {
        let wanted = max(blockCount / 4, needed + needed / 4 + 16)
        let perGroup = ((wanted + groupCount - 1) / groupCount + 15) / 16 * 16
        let limit = Self.blockSize * 8
        guard min(perGroup, limit) * groupCount >= needed else {
            throw Fault(
                .limitExceeded,
                "\(needed) files in a file system of \(blockCount) blocks; at most "
                    + "\(limit * groupCount) fit"
            )
        }
        return min(perGroup, limit)
    }
}
