import RoostModel

/// All inodes in use, encoded, in the order of their numbers.
struct Ext4InodeTable {
    /// How many inodes, counted from number 1.
    let count: Int
    private(set) var bytes: [UInt8]
    private(set) var directories: [Bool]

    init(count: Int) {
        self.count = count
        bytes = Array(repeating: 0, count: count * Ext4Geometry.inodeSize)
        directories = Array(repeating: false, count: count)
    }

    /// Sets inode `number` (from 1).
    mutating func set(_ inode: Ext4Inode, _ number: UInt32, isDirectory: Bool) {
        bytes.put(inode.encoded, at: Int(number - 1) * Ext4Geometry.inodeSize)
        directories[Int(number - 1)] = isDirectory
    }
}

/// The block groups: bitmaps, inode tables and descriptors.
///
/// Groups that nothing touched keep their bitmaps unwritten and marked so (`uninit_bg`), which
/// makes an empty disk of any size cheap. Their inode tables are holes and thus zero already,
/// and are marked so too, or every guest would write zeros over them in the background.
struct Ext4Groups {
    let usedBlocks: Int
    private let table: Ext4InodeTable
    private let blocks: BlockWriter
    private let geometry: Ext4Geometry
    private let inodesPerGroup: Int
    private var places: [Places] = []

    private struct Places {
        let blockBitmap: Int
        let inodeBitmap: Int
        let inodeTable: Int
    }

    private static let inodeUninit: UInt16 = 1
    private static let blockUninit: UInt16 = 2
    private static let inodesZeroed: UInt16 = 4

    /// Allocates the groups' metadata, behind everything else or at the start of each flex group.
    init(table: Ext4InodeTable, blocks: BlockWriter) throws(Fault) {
        self.table = table
        self.blocks = blocks
        geometry = blocks.geometry
        inodesPerGroup = try geometry.inodesPerGroup(needed: table.count)
        let tableBlocks = inodesPerGroup * Ext4Geometry.inodeSize / Ext4Geometry.blockSize
        for first in stride(from: 0, to: geometry.groupCount, by: Ext4Geometry.groupsPerFlex) {
            blocks.advance(to: geometry.firstBlock(first))
            let count = min(Ext4Geometry.groupsPerFlex, geometry.groupCount - first)
            let blockBitmaps = try blocks.allocate(together: count)
            let inodeBitmaps = try blocks.allocate(together: count)
            for index in 0..<count {
                places.append(
                    Places(
                        blockBitmap: blockBitmaps + index,
                        inodeBitmap: inodeBitmaps + index,
                        inodeTable: try blocks.allocate(together: tableBlocks)
                    )
                )
            }
        }
        // The last group's map has bits beyond the disk's end, so it is always written.
        let last = geometry.groupCount - 1
        blocks.touch(last)
        for group in 0...last where !blocks.maps[group].isEmpty {
            blocks.mark(geometry.firstBlock(group), geometry.reservedBlocks(group))
        }
        var used = 0
        for group in 0...last {
            used += geometry.blocks(group) - Self.freeBlocks(group, blocks)
        }
        usedBlocks = used
    }

    private static func freeBlocks(_ group: Int, _ blocks: BlockWriter) -> Int {
        let geometry = blocks.geometry
        let map = blocks.maps[group]
        if map.isEmpty { return geometry.blocks(group) - geometry.reservedBlocks(group) }
        return geometry.blocks(group) - map.reduce(0) { $0 + $1.nonzeroBitCount }
    }

    /// Writes bitmaps, tables, and every copy of descriptors and superblock.
    func write(_ superblock: Ext4Superblock) throws(Fault) {
        var descriptors = [UInt8](
            repeating: 0,
            count: geometry.descriptorBlocks * Ext4Geometry.blockSize
        )
        var freeBlocks = 0
        var freeInodes = 0
        for group in 0..<geometry.groupCount {
            let free = Self.freeBlocks(group, blocks)
            let used = usedInodes(group)
            try writeMaps(group, usedInodes: used)
            let descriptor = descriptor(group, free: free, usedInodes: used, superblock.identity)
            descriptors.put(descriptor, at: group * 32)
            freeBlocks += free
            freeInodes += inodesPerGroup - used
        }
        let bytes = superblock.encoded(
            inodesPerGroup: inodesPerGroup,
            freeBlocks: freeBlocks,
            freeInodes: freeInodes
        )
        for group in 0..<geometry.groupCount where geometry.hasSuperblock(group) {
            var copy = bytes
            copy.put(UInt16(group), at: 90)
            let start = geometry.firstBlock(group)
            // The first 1024 bytes of a disk belong to boot loaders.
            let offset = start * Ext4Geometry.blockSize + (group == 0 ? 1024 : 0)
            try blocks.file.write(copy, at: UInt64(offset))
            try blocks.write(descriptors, at: start + 1)
        }
    }

    /// How many inodes of the group, counted from its first, are in use or reserved.
    private func usedInodes(_ group: Int) -> Int {
        min(max(0, table.count - group * inodesPerGroup), inodesPerGroup)
    }

    private func isUntouched(_ group: Int) -> Bool { blocks.maps[group].isEmpty }

    private func writeMaps(_ group: Int, usedInodes used: Int) throws(Fault) {
        let size = Ext4Geometry.blockSize
        if !isUntouched(group) {
            var map = blocks.maps[group]
            for bit in geometry.blocks(group)..<Ext4Geometry.blocksPerGroup {
                map[bit >> 3] |= 1 << UInt8(bit & 7)
            }
            try blocks.write(map, at: places[group].blockBitmap)
        }
        guard used > 0 else { return }
        var map = [UInt8](repeating: 0, count: size)
        for bit in 0..<size * 8 where bit < used || bit >= inodesPerGroup {
            map[bit >> 3] |= 1 << UInt8(bit & 7)
        }
        try blocks.write(map, at: places[group].inodeBitmap)
        let first = group * inodesPerGroup * Ext4Geometry.inodeSize
        let slice = table.bytes[first..<first + used * Ext4Geometry.inodeSize]
        try blocks.write(Array(slice), at: places[group].inodeTable)
    }

    private func descriptor(
        _ group: Int,
        free: Int,
        usedInodes used: Int,
        _ identity: [UInt8]
    ) -> [UInt8] {
        let first = group * inodesPerGroup
        let directories = table.directories[
            min(first, table.count)..<min(first + used, table.count)
        ]
        .count { $0 }
        var flags = Self.inodesZeroed
        if used == 0 { flags |= Self.inodeUninit }
        if isUntouched(group) { flags |= Self.blockUninit }
        var bytes = [UInt8](repeating: 0, count: 32)
        bytes.put(UInt32(places[group].blockBitmap), at: 0)
        bytes.put(UInt32(places[group].inodeBitmap), at: 4)
        bytes.put(UInt32(places[group].inodeTable), at: 8)
        bytes.put(UInt16(free), at: 12)
        bytes.put(UInt16(inodesPerGroup - used), at: 14)
        bytes.put(UInt16(directories), at: 16)
        bytes.put(flags, at: 18)
        bytes.put(UInt16(inodesPerGroup - used), at: 28)
        var sum = Self.crc16(identity, 0xFFFF)
        var number: [UInt8] = []
        number.append(little: UInt32(group))
        sum = Self.crc16(number, sum)
        bytes.put(Self.crc16(Array(bytes[..<30]), sum), at: 30)
        return bytes
    }

    /// The CRC of `lib/crc16.c`: polynomial 0x8005, reflected.
    private static func crc16(_ bytes: [UInt8], _ start: UInt16) -> UInt16 {
        bytes.reduce(start) { sum, byte in
            var value = sum ^ UInt16(byte)
            for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0xA001 : value >> 1 }
            return value
        }
    }
}
