package import RoostHost
package import RoostModel

/// A qcow2 disk over a read-only raw image: copy-on-write without touching the image.
package enum Qcow2Overlay {
    static let clusterSize = 65_536
    static let magic: UInt32 = 0x5146_49FB

    /// The virtual size of an overlay of ours. Reads its header only.
    ///
    /// - Throws: `stateUnreadable` for a file that is no qcow2, `ioFailed`.
    package static func virtualSize(of file: DiskFile) throws(Fault) -> ByteCount {
        let bytes = try file.read(32, at: 0)
        let number = { (range: Range<Int>) in
            bytes[range].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        }
        guard bytes.count == 32, number(0..<4) == UInt64(magic) else {
            throw Fault(.stateUnreadable, "a VM's disk is no qcow2 file", metadata: ["path": ""])
        }
        return ByteCount(bytes: number(24..<32))
    }

    /// Writes an empty overlay into `file`, which must be empty: four clusters, whatever the
    /// image's size. Does not sync. Source: docs/interop/qcow2.txt in QEMU, version 3.
    ///
    /// - Parameters:
    ///   - file: Where the overlay goes.
    ///   - backing: The absolute path of a disk, or the name of one beside the overlay; at most 1023
    ///     bytes.
    ///   - format: How that disk is to be read.
    ///   - size: The disk's size; what the backing image does not have reads as zero.
    /// - Throws: `invalidFields` for a path or size that cannot be, `diskFull`, `ioFailed`.
    package static func create(
        in file: DiskFile,
        backing: String,
        format: DiskFormat,
        size: ByteCount
    ) throws(Fault) {
        let path = Array(backing.utf8)
        // A colon in a name without a directory would be read as a protocol.
        let isName = !path.isEmpty && !path.contains(0x2F) && !path.contains(0x3A)
        guard path.first == 0x2F || isName, path.count <= 1023, !path.contains(0) else {
            throw Fault.invalid("backing", "must be absolute or a name, and at most 1023 bytes")
        }
        guard size.bytes > 0, size.bytes % 512 == 0, size <= .gibibytes(16_384) else {
            throw Fault.invalid("size", "must be a multiple of 512 bytes, at most 16 TiB")
        }
        // One second-level table maps 8192 clusters, that is 512 MiB.
        let reach = UInt64(clusterSize) * UInt64(clusterSize / 8)
        let tables = (size.bytes + reach - 1) / reach
        let tableClusters = Int(tables * 8 + UInt64(clusterSize) - 1) / clusterSize
        var header: [UInt8] = []
        func put32(_ value: Int) { header.append(little: UInt32(value).byteSwapped) }
        func put64(_ value: UInt64) { header.append(little: value.byteSwapped) }
        header.append(little: magic.byteSwapped)
        put32(3)
        put64(UInt64(112 + 16 + 8))  // where the backing path stands
        put32(path.count)
        put32(16)  // cluster bits
        put64(size.bytes)
        put32(0)  // not encrypted
        put32(Int(tables))
        put64(UInt64(3 * clusterSize))
        put64(UInt64(clusterSize))  // reference count table
        put32(1)
        put32(0)  // no snapshots
        put64(0)
        put64(0)  // features: incompatible, compatible, automatically cleared
        put64(0)
        put64(0)
        put32(4)  // 16-bit reference counts
        put32(112)
        put64(0)  // compression type: deflate, unused
        // Header extension: the backing format is never guessed.
        put32(Int(0xE279_2ACA as UInt32))
        let name = Array(format.rawValue.utf8)
        put32(name.count)
        header += name + [UInt8](repeating: 0, count: 8 - name.count)
        put64(0)  // end of the extensions
        header += path
        var counts: [UInt8] = []
        for _ in 0..<3 + tableClusters { counts.append(little: UInt16(1).byteSwapped) }
        var countTable: [UInt8] = []
        countTable.append(little: UInt64(2 * clusterSize).byteSwapped)
        try file.truncate(to: ByteCount(bytes: UInt64((3 + tableClusters) * clusterSize)))
        try file.write(countTable, at: UInt64(clusterSize))
        try file.write(counts, at: UInt64(2 * clusterSize))
        try file.write(header, at: 0)
    }
}

/// What an outside disk image says of itself, before anything opens it for real.
package enum DiskImageHeader: Hashable, Sendable {
    /// Bytes of a disk, one to one.
    case raw(size: ByteCount)
    /// A qcow2 that refers to no other file.
    case qcow2(virtualSize: ByteCount)

    /// Looks at an image that somebody hands in.
    ///
    /// A qcow2 may name other files of the host as backing or data file, which QEMU would open
    /// with its own rights; such an image is refused, as is any feature not known here.
    ///
    /// - Throws: `imageInvalid` with the reason.
    package static func inspect(_ file: DiskFile) throws(Fault) -> DiskImageHeader {
        let bytes = try file.read(4096, at: 0)
        let fileSize = try file.size()
        guard bytes.big(UInt32.self, at: 0) == Qcow2Overlay.magic else {
            guard fileSize.bytes > 0 else { throw refusal(file, "is empty") }
            let others: [(start: [UInt8], name: String)] = [
                (Array("KDMV".utf8), "VMDK"), (Array("# Disk DescriptorFile".utf8), "VMDK"),
                (Array("conectix".utf8), "VHD"), (Array("vhdxfile".utf8), "VHDX"),
                (Array("QED\0".utf8), "QED"), (Array("<<< ".utf8), "VDI"),
                ([0x1F, 0x8B], "gzip"), ([0xFD, 0x37, 0x7A, 0x58, 0x5A], "xz"),
                ([0x28, 0xB5, 0x2F, 0xFD], "zstd"),
            ]
            if let other = others.first(where: { bytes.starts(with: $0.start) }) {
                throw refusal(file, "is \(other.name); raw and qcow2 can be imported")
            }
            return .raw(size: fileSize)
        }
        guard let version = bytes.big(UInt32.self, at: 4),
            let backing = bytes.big(UInt64.self, at: 8),
            let clusterBits = bytes.big(UInt32.self, at: 20),
            let size = bytes.big(UInt64.self, at: 24), let crypt = bytes.big(UInt32.self, at: 32)
        else { throw refusal(file, "is cut off in its header") }
        guard version == 2 || version == 3 else {
            throw refusal(file, "is qcow version \(version)")
        }
        guard backing == 0 else { throw refusal(file, "has a backing file") }
        guard crypt == 0 else { throw refusal(file, "is encrypted") }
        guard (9...21).contains(clusterBits), size > 0, size <= 16_384 << 30 else {
            throw refusal(file, "has clusters of 2^\(clusterBits) bytes and a size of \(size)")
        }
        if version == 3 { try inspectVersion3(bytes, file) }
        return .qcow2(virtualSize: ByteCount(bytes: size))
    }

    private static func inspectVersion3(_ bytes: [UInt8], _ file: DiskFile) throws(Fault) {
        guard let features = bytes.big(UInt64.self, at: 72),
            let headerLength = bytes.big(UInt32.self, at: 100),
            (104...1024).contains(headerLength)
        else { throw refusal(file, "is cut off in its header") }
        guard features & 1 == 0, features & 2 == 0 else {
            throw refusal(file, "is dirty or corrupt: qemu-img check -r all mends it")
        }
        guard features & 4 == 0 else { throw refusal(file, "has an external data file") }
        // Bit 3 is another compression, bit 4 extended second-level tables: both are harmless.
        guard features & ~0x18 == 0 else {
            throw refusal(file, "has unknown features 0x\(String(features, radix: 16))")
        }
        var offset = Int(headerLength)
        while let type = bytes.big(UInt32.self, at: offset),
            let length = bytes.big(UInt32.self, at: offset + 4), type != 0
        {
            guard type != 0x4441_5441 else { throw refusal(file, "has an external data file") }
            guard length <= 4096 else { throw refusal(file, "has a header extension too long") }
            offset += 8 + (Int(length) + 7) / 8 * 8
        }
    }

    private static func refusal(_ file: DiskFile, _ problem: String) -> Fault {
        Fault(.imageInvalid, "\(printable(file.path)) \(problem)")
    }
}
