/// One inode's fields, encoded into 256 bytes.
struct Ext4Inode {
    /// The flag of a file whose blocks are mapped by extents.
    static let extentsFlag: UInt32 = 0x80000

    /// Type and permissions, as in `st_mode`.
    var mode: UInt16
    var metadata: FileMetadata
    /// How many names; 1 means "too many to count" for a directory.
    var links: UInt16
    var size: UInt64 = 0
    /// Blocks of data, extent tree and attributes.
    var blocks = 0
    var flags: UInt32 = 0
    /// `i_block`, at most 60 bytes.
    var map: [UInt8] = []
    var attributeBlock: UInt32 = 0
    /// What stands behind the fields, at most 96 bytes.
    var attributes: [UInt8] = []

    var encoded: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Ext4Geometry.inodeSize)
        bytes.put(mode, at: 0)
        bytes.put(UInt16(truncatingIfNeeded: metadata.user), at: 2)
        bytes.put(UInt16(truncatingIfNeeded: metadata.user >> 16), at: 120)
        bytes.put(UInt16(truncatingIfNeeded: metadata.group), at: 24)
        bytes.put(UInt16(truncatingIfNeeded: metadata.group >> 16), at: 122)
        bytes.put(UInt32(truncatingIfNeeded: size), at: 4)
        bytes.put(UInt32(truncatingIfNeeded: size >> 32), at: 108)
        bytes.put(links, at: 26)
        let sectors = UInt64(blocks * Ext4Geometry.blockSize / 512)
        bytes.put(UInt32(truncatingIfNeeded: sectors), at: 28)
        bytes.put(UInt16(truncatingIfNeeded: sectors >> 32), at: 116)
        bytes.put(flags, at: 32)
        bytes.put(map, at: 40)
        bytes.put(attributeBlock, at: 104)
        bytes.put(UInt16(32), at: 128)
        let (time, extra) = Self.time(metadata.modified)
        // Access, change, content, birth: an archive knows only one of them.
        for (offset, extraOffset) in [(8, 140), (12, 132), (16, 136), (144, 148)] {
            bytes.put(time, at: offset)
            bytes.put(extra, at: extraOffset)
        }
        bytes.put(attributes, at: 160)
        return bytes
    }

    /// 34 bits of seconds and 30 of nanoseconds, up to the year 2446; beyond, the nearest.
    private static func time(_ time: FileTime) -> (UInt32, UInt32) {
        let seconds = min(max(time.seconds, -(1 << 31)), (1 << 34) - (1 << 31) - 1)
        let low = UInt32(truncatingIfNeeded: seconds)
        let epoch = (seconds - Int64(Int32(bitPattern: low))) >> 32
        return (low, UInt32(truncatingIfNeeded: epoch) & 3 | time.nanoseconds << 2)
    }
}

extension FileKind {
    /// The type bits of `st_mode`.
    var modeBits: UInt16 {
        switch self {
        case .fifo: 0o010000
        case .characterDevice: 0o020000
        case .directory: 0o040000
        case .blockDevice: 0o060000
        case .file: 0o100000
        case .symbolicLink: 0o120000
        case .socket: 0o140000
        }
    }

    /// The type in an ext4 directory entry.
    var directoryType: UInt8 {
        switch self {
        case .file: 1
        case .directory: 2
        case .characterDevice: 3
        case .blockDevice: 4
        case .fifo: 5
        case .socket: 6
        case .symbolicLink: 7
        }
    }
}

/// A directory's blocks: entries one after the other, none across a block's end.
struct Ext4Directory {
    private var finished: [UInt8] = []
    private var block: [UInt8] = []
    private var last = 0

    /// Adds an entry.
    mutating func append(_ name: [UInt8], inode: UInt32, type: UInt8) {
        let length = 8 + (name.count + 3) / 4 * 4
        if block.count + length > Ext4Geometry.blockSize { closeBlock() }
        last = block.count
        block.append(little: inode)
        block.append(little: UInt16(length))
        block.append(UInt8(name.count))
        block.append(type)
        block += name
        block += Array(repeating: 0, count: length - 8 - name.count)
    }

    /// All blocks; the last entry of each reaches to its end.
    mutating func encoded() -> [UInt8] {
        closeBlock()
        return finished
    }

    private mutating func closeBlock() {
        guard !block.isEmpty else { return }
        block.put(UInt16(Ext4Geometry.blockSize - last), at: last + 4)
        block += Array(repeating: 0, count: Ext4Geometry.blockSize - block.count)
        finished += block
        block = []
    }
}
