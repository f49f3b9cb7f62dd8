package import RoostModel

/// What an image came out as.
package struct Ext4Summary: Hashable, Sendable {
    /// SHA-256 over the tree: the same for the same files, however they were packed.
    package let treeDigest: [UInt8]
    /// The size of the disk.
    package let size: ByteCount
    /// How many inodes are in use.
    package let files: Int
    /// How many bytes of the disk are in use.
    package let used: ByteCount
}

extension Ext4Builder {
    /// The inode of the root directory.
    private static let rootInode: UInt32 = 2
    private static let journalInode: UInt32 = 8
    /// The first inode that is not reserved, which is where `lost+found` belongs.
    static let firstInode: UInt32 = 11

    /// Writes directories, inodes, journal and superblocks. Call it once, last. Does not sync.
    ///
    /// - Throws: `limitExceeded` if it does not fit, `unsupported` for extended attributes that
    ///   ext4 cannot hold, `diskFull`, `ioFailed`.
    package func finish() throws(Fault) -> Ext4Summary {
        let digest = tree.digest(tree.visits())
        let lostAndFound = ArchivePath("lost+found")
        if tree.find(lostAndFound).map({ tree.nodes[$0].isDirectory }) != true {
            // Not part of the digest: it is the file system's own.
            tree.remove(lostAndFound)
            try tree.insert(.directory, FileMetadata(mode: 0o700), at: lostAndFound)
            try giveBackReleased()
        }
        var table = try inodeTable()
        let identity = Array(digest.prefix(16))
        let journal = try wantsJournal ? writeJournal(&table) : nil
        try blocks.flush()
        let layout = try Ext4Groups(table: table, blocks: blocks)
        try layout.write(
            Ext4Superblock(geometry: blocks.geometry, identity: identity, journal: journal)
        )
        return Ext4Summary(
            treeDigest: digest,
            size: ByteCount(bytes: UInt64(blocks.geometry.blockCount * Ext4Geometry.blockSize)),
            files: table.count,
            used: ByteCount(bytes: UInt64(layout.usedBlocks * Ext4Geometry.blockSize))
        )
    }

    /// Numbers every node and lays out everything that hangs on an inode.
    private func inodeTable() throws(Fault) -> Ext4InodeTable {
        let visits = tree.visits()
        var numbers = Array(repeating: UInt32(0), count: tree.nodes.count)
        numbers[FileTree.root] = Self.rootInode
        if let id = tree.find(ArchivePath("lost+found")) { numbers[id] = Self.firstInode }
        var next = Self.firstInode + 1
        var parents = Array(repeating: FileTree.root, count: tree.nodes.count)
        for visit in visits where visit.isFirst {
            parents[visit.node] = visit.parent
            guard numbers[visit.node] == 0 else { continue }
            numbers[visit.node] = next
            next += 1
        }
        var table = Ext4InodeTable(count: Int(next) - 1)
        let all = [FileTree.root] + visits.filter(\.isFirst).map(\.node)
        for id in all {
            let inode = try inode(of: id, parent: parents[id], numbers) {
                let name = visits.first { $0.node == id }?.name.bytes ?? []
                return "file \"\(printable(name))\""
            }
            table.set(inode, numbers[id], isDirectory: tree.nodes[id].isDirectory)
        }
        return table
    }

    private func inode(
        of id: FileTree.NodeID,
        parent: FileTree.NodeID,
        _ numbers: [UInt32],
        path: () -> String
    ) throws(Fault) -> Ext4Inode {
        let node = tree.nodes[id]
        var inode = Ext4Inode(
            mode: node.kind.modeBits | node.metadata.mode,
            metadata: node.metadata,
            links: UInt16(clamping: node.names)
        )
        guard node.isDirectory || node.names <= 65_000 else {
            throw Fault(.limitExceeded, "\(path()) has \(node.names) hard links; 65000 can be")
        }
        switch node.kind {
        case .directory:
            let subdirectories = node.children.values.count { tree.nodes[$0].isDirectory }
            inode.links = subdirectories < 64_998 ? UInt16(2 + subdirectories) : 1
            try place(directory(id, parent: parent, numbers), &inode)
        case .file(let content):
            try place(content.runs, size: content.size, &inode)
        case .symbolicLink(let target):
            if target.count < 60 {
                inode.map = target
                inode.size = UInt64(target.count)
            } else {
                try place(target, &inode)
            }
        case .characterDevice(let major, let minor), .blockDevice(let major, let minor):
            inode.map = Self.deviceMap(major, minor)
        case .fifo, .socket: break
        }
        let attributes = try Ext4Attributes(node.metadata.attributes, path: path())
        inode.attributes = attributes.inodeBytes
        if !attributes.blockBytes.isEmpty {
            let block = try blocks.allocate(upTo: 1).start
            try blocks.write(attributes.blockBytes, at: block)
            inode.attributeBlock = UInt32(block)
            inode.blocks += 1
        }
        return inode
    }

    /// Writes `bytes` as the inode's content.
    private func place(_ bytes: [UInt8], _ inode: inout Ext4Inode) throws(Fault) {
        let size = Ext4Geometry.blockSize
        let runs = try blocks.allocateRuns((bytes.count + size - 1) / size)
        for run in runs {
            let start = Int(run.fileBlock) * size
            let end = min(bytes.count, start + Int(run.count) * size)
            try blocks.write(Array(bytes[start..<end]), at: Int(run.imageBlock))
        }
        try place(runs, size: UInt64(bytes.count), &inode)
    }

    private func place(
        _ runs: [BlockRun],
        size: UInt64,
        _ inode: inout Ext4Inode
    ) throws(Fault) {
        let extents = try Ext4Extents(runs, in: blocks)
        inode.map = extents.root
        inode.flags = Ext4Inode.extentsFlag
        inode.size = size
        inode.blocks += extents.treeBlocks + runs.reduce(0) { $0 + Int($1.count) }
    }

    private func directory(
        _ id: FileTree.NodeID,
        parent: FileTree.NodeID,
        _ numbers: [UInt32]
    ) -> [UInt8] {
        var directory = Ext4Directory()
        directory.append([0x2E], inode: numbers[id], type: 2)
        directory.append([0x2E, 0x2E], inode: numbers[parent], type: 2)
        for (name, child) in tree.nodes[id].children.sorted(by: { $0.key < $1.key }) {
            let type = tree.nodes[child].kind.directoryType
            directory.append(name.bytes, inode: numbers[child], type: type)
        }
        return directory.encoded()
    }

    /// The old 16-bit form where it fits, else the new one in the second word.
    private static func deviceMap(_ major: UInt32, _ minor: UInt32) -> [UInt8] {
        var map: [UInt8] = []
        if major < 256, minor < 256 {
            map.append(little: major << 8 | minor)
        } else {
            map.append(little: UInt32(0))
            map.append(little: minor & 0xFF | major << 8 | (minor & ~0xFF) << 12)
        }
        return map
    }

    /// Makes an empty journal (JBD2, big-endian) and its inode.
    private func writeJournal(_ table: inout Ext4InodeTable) throws(Fault) -> Ext4Inode? {
        let count = blocks.geometry.journalBlocks
        guard count > 0 else { return nil }
        let runs = try blocks.allocateRuns(count)
        var inode = Ext4Inode(mode: 0o100600, metadata: FileMetadata(mode: 0o600), links: 1)
        try place(runs, size: UInt64(count * Ext4Geometry.blockSize), &inode)
        table.set(inode, Self.journalInode, isDirectory: false)
        var superblock = [UInt8](repeating: 0, count: 1024)
        superblock.putBig(UInt32(0xC03B_3998), at: 0)
        superblock.putBig(UInt32(4), at: 4)
        superblock.putBig(UInt32(Ext4Geometry.blockSize), at: 12)
        superblock.putBig(UInt32(count), at: 16)
        superblock.putBig(UInt32(1), at: 20)
        superblock.putBig(UInt32(1), at: 24)
        superblock.putBig(UInt32(1), at: 64)
        try blocks.write(superblock, at: runs.first.map { Int($0.imageBlock) } ?? 0)
        return inode
    }
}
