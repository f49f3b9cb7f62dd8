/// The superblock: 1024 bytes that say what everything else means.
struct Ext4Superblock {
    let geometry: Ext4Geometry
    /// The file system's UUID, from the tree's digest: the same tree has the same.
    let identity: [UInt8]
    let journal: Ext4Inode?

    init(geometry: Ext4Geometry, identity: [UInt8], journal: Ext4Inode?) {
        self.geometry = geometry
        // Version 8 (RFC 9562): made from something of one's own.
        var identity = identity
        identity[6] = identity[6] & 0x0F | 0x80
        identity[8] = identity[8] & 0x3F | 0x80
        self.identity = identity
        self.journal = journal
    }

    /// has_journal 4, ext_attr 8, dir_index 0x20.
    private var compatible: UInt32 { journal == nil ? 0x28 : 0x2C }
    /// filetype 2, extents 0x40, flex_bg 0x200.
    private static let incompatible: UInt32 = 0x242
    /// sparse_super 1, large_file 2, huge_file 8, uninit_bg 0x10, dir_nlink 0x20, extra_isize 0x40.
    private static let readOnlyCompatible: UInt32 = 0x7B

    func encoded(inodesPerGroup: Int, freeBlocks: Int, freeInodes: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 1024)
        func put32(_ value: Int, _ offset: Int) { bytes.put(UInt32(value), at: offset) }
        func put16(_ value: Int, _ offset: Int) { bytes.put(UInt16(value), at: offset) }
        put32(inodesPerGroup * geometry.groupCount, 0)
        put32(geometry.blockCount, 4)
        put32(freeBlocks, 12)
        put32(freeInodes, 16)
        put32(2, 24)  // log2(block size) - 10
        put32(2, 28)
        put32(Ext4Geometry.blocksPerGroup, 32)
        put32(Ext4Geometry.blocksPerGroup, 36)
        put32(inodesPerGroup, 40)
        put16(0xFFFF, 54)  // never checked because of its mount count
        put16(0xEF53, 56)
        put16(1, 58)  // clean
        put16(1, 60)  // on errors: continue
        put32(1, 76)  // revision: dynamic inode sizes
        put32(Int(Ext4Builder.firstInode), 84)
        put16(Ext4Geometry.inodeSize, 88)
        put32(Int(compatible), 92)
        put32(Int(Self.incompatible), 96)
        put32(Int(Self.readOnlyCompatible), 100)
        bytes.put(identity, at: 104)
        bytes.put(identity, at: 236)  // the seed of directory hashes
        bytes[252] = 1  // half MD4
        put32(0xC, 256)  // default mount options: user_xattr, acl
        put16(32, 348)
        put16(32, 350)
        put32(1, 352)  // directory hashes take bytes as signed
        bytes[372] = UInt8(Ext4Geometry.groupsPerFlex.trailingZeroBitCount)
        if let journal {
            put32(8, 224)
            bytes[253] = 1
            bytes.put(journal.map, at: 268)
            put32(Int(journal.size >> 32), 268 + 60)
            put32(Int(journal.size & 0xFFFF_FFFF), 268 + 64)
        }
        return bytes
    }
}
