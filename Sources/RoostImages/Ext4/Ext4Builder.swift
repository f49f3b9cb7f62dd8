package import RoostModel

/// Where a regular file's bytes come from.
struct ContentReader {
    /// The first offset at or after the given one that may hold something; nil if none does.
    let nextData: (UInt64) throws(Fault) -> UInt64?
    /// Fills the buffer with the bytes at the offset, or throws.
    let fill: (UnsafeMutableRawBufferPointer, UInt64) throws(Fault) -> Void
}

/// Writes an ext4 image: add files, which streams their contents to their final place, then
/// call ``finish()``, which writes everything else.
///
/// The same additions in the same order give the same bytes. Needs no privilege: owners and
/// devices are only written, never made. Blocking. Not `Sendable`. Use it once; after a throw
/// the file is worthless and its owner removes it.
package final class Ext4Builder {
    /// What has been added so far.
    package var tree = FileTree()
    let blocks: BlockWriter
    let wantsJournal: Bool
    private let piece = UnsafeMutableRawBufferPointer.allocate(
        byteCount: ContentDigest.pieceSize,
        alignment: 4096
    )

    /// The largest file ext4 can map with 4 KiB blocks: 16 TiB less one block.
    static let fileSizeLimit = UInt64(UInt32.max) * UInt64(Ext4Geometry.blockSize)

    /// Starts an image of `size` bytes in `file`, which must be empty.
    ///
    /// - Parameters:
    ///   - file: Where the image goes.
    ///   - size: The disk's size; the file becomes as large, with holes.
    ///   - journal: Whether the file system survives a power cut; leave it out only of images
    ///     that are mounted read-only.
    /// - Throws: `limitExceeded` for a size outside 1 MiB to 8 TiB, `diskFull`, `ioFailed`.
    package init(file: DiskFile, size: ByteCount, journal: Bool = true) throws(Fault) {
        let geometry = try Ext4Geometry(size: size)
        blocks = BlockWriter(file: file, geometry: geometry)
        wantsJournal = journal
        try file.truncate(to: size)
    }

    deinit { piece.deallocate() }

    /// Adds anything but a regular file.
    ///
    /// - Throws: `archiveInvalid` as `FileTree.insert` does.
    package func add(
        _ kind: FileKind,
        _ metadata: FileMetadata,
        at path: ArchivePath
    ) throws(Fault) {
        if case .file = kind {
            preconditionFailure("a regular file is added with its content")
        }
        try tree.insert(kind, metadata, at: path)
        try giveBackReleased()
    }

    /// Adds a regular file whose content is in memory.
    package func add(
        content: [UInt8],
        _ metadata: FileMetadata,
        at path: ArchivePath
    ) throws(Fault) {
        let reader = ContentReader(
            nextData: { $0 },
            fill: { buffer, offset in
                let start = Int(offset)
                buffer.copyBytes(from: content[start..<start + buffer.count])
            }
        )
        try add(size: UInt64(content.count), reader, metadata, at: path)
    }

    /// Adds a regular file of `size` bytes, read from `content`.
    func add(
        size: UInt64,
        _ content: ContentReader,
        _ metadata: FileMetadata,
        at path: ArchivePath
    ) throws(Fault) {
        guard size <= Self.fileSizeLimit else {
            throw Fault(
                .limitExceeded,
                "entry \"\(path)\": \(size) bytes; a file may have \(Self.fileSizeLimit)"
            )
        }
        // The name is checked before the bytes are read.
        let id = try tree.insert(
            .file(FileContent(size: 0, runs: [], digest: [])),
            metadata,
            at: path
        )
        try giveBackReleased()
        tree.setContent(try write(size: size, content), of: id)
    }

    private func write(size: UInt64, _ content: ContentReader) throws(Fault) -> FileContent {
        var runs: [BlockRun] = []
        var digest = ContentDigest()
        var offset: UInt64 = 0
        let pieceSize = UInt64(ContentDigest.pieceSize)
        while offset < size, let data = try content.nextData(offset), data < size {
            offset = max(offset, data / pieceSize * pieceSize)
            let length = Int(min(pieceSize, size - offset))
            let bytes = UnsafeMutableRawBufferPointer(rebasing: piece[..<length])
            try content.fill(bytes, offset)
            if !Self.isZero(UnsafeRawBufferPointer(bytes)) {
                digest.update(UnsafeRawBufferPointer(bytes), at: offset)
                try store(length, at: offset, &runs)
            }
            offset += UInt64(length)
        }
        return FileContent(size: size, runs: runs, digest: digest.finalize(size: size))
    }

    /// Writes the piece in memory to freshly allocated blocks.
    private func store(
        _ length: Int,
        at offset: UInt64,
        _ runs: inout [BlockRun]
    ) throws(Fault) {
        let size = Ext4Geometry.blockSize
        let count = (length + size - 1) / size
        UnsafeMutableRawBufferPointer(rebasing: piece[length..<count * size])
            .initializeMemory(as: UInt8.self, repeating: 0)
        var done = 0
        while done < count {
            let run = try blocks.allocate(upTo: count - done)
            let part = piece[done * size..<(done + run.count) * size]
            try blocks.write(UnsafeRawBufferPointer(rebasing: part), at: run.start)
            runs.extend(
                fileBlock: Int(offset / UInt64(size)) + done,
                imageBlock: run.start,
                count: run.count
            )
            done += run.count
        }
    }

    func giveBackReleased() throws(Fault) {
        for run in tree.released { try blocks.release(run) }
        tree.released = []
    }

    private static func isZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.first == 0, bytes.last == 0 else { return bytes.isEmpty }
        var offset = 0
        while offset + 8 <= bytes.count {
            if bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self) != 0 { return false }
            offset += 8
        }
        return bytes[offset...].allSatisfy { $0 == 0 }
    }
}
