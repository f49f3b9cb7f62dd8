package import RoostModel

/// Reads a tar archive in one pass: ustar, pax and GNU long names.
///
/// Bounded by its `TarLimits` whatever the archive says. Nothing is extracted here and no path
/// is opened. Blocking, as its source is. Not `Sendable`.
package final class TarReader {
    private let source: ByteSource
    private let limits: TarLimits
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
    private var start = 0
    private var end = 0
    private var global = PaxRecords()
    private var remaining: UInt64 = 0
    private var padding = 0
    /// How many members were read so far.
    private(set) var entries = 0
    /// The bytes of content that those have together.
    private(set) var contentBytes: UInt64 = 0
    private var current = "the first header"
    private var finished = false

    /// Reads the archive that `source` yields.
    package init(_ source: ByteSource, limits: TarLimits = TarLimits()) {
        self.source = source
        self.limits = limits
    }

    deinit { buffer.deallocate() }

    /// The next member; nil at the end of the archive. What was not read of the member before
    /// is skipped.
    ///
    /// - Throws: `archiveInvalid` naming the member, `limitExceeded`, or what the source throws.
    package func next() throws(Fault) -> TarEntry? {
        try skipContent()
        guard !finished else { return nil }
        var records = global
        var extended = 0
        while let header = try readHeader() {
            extended += 1
            guard extended <= 16 else {
                throw Fault(.archiveInvalid, "more than 16 extended headers after \(current)")
            }
            switch header.type {
            case UInt8(ascii: "x"): try records.read(readExtension(header))
            case UInt8(ascii: "g"):
                try global.read(readExtension(header))
                records = global
            case UInt8(ascii: "L"): records.path = try readLongName(header)
            case UInt8(ascii: "K"): records.linkPath = try readLongName(header)
            default: return try entry(header, records)
            }
        }
        guard extended == 0 else {
            throw Fault(.archiveInvalid, "the archive ends in a header after \(current)")
        }
        finished = true
        return nil
    }

    /// Fills `target` from the current member's content; returns fewer bytes only at its end.
    ///
    /// - Throws: `archiveInvalid` naming the member if the archive ends first.
    package func readContent(into target: UnsafeMutableRawBufferPointer) throws(Fault) -> Int {
        let wanted = Int(min(UInt64(target.count), remaining))
        var done = 0
        while done < wanted {
            try fill()
            let count = min(end - start, wanted - done)
            let part = UnsafeMutableRawBufferPointer(rebasing: target[done..<done + count])
            part.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[start..<start + count]))
            start += count
            done += count
        }
        remaining -= UInt64(wanted)
        return wanted
    }

    /// Reads the current member's content into memory.
    ///
    /// - Throws: `limitExceeded` if it has more than `limit` bytes.
    package func readContent(limit: Int) throws(Fault) -> [UInt8] {
        guard remaining <= UInt64(limit) else {
            throw Fault(.limitExceeded, "\(current) has \(remaining) bytes; the limit is \(limit)")
        }
        return try take(Int(remaining))
    }

    /// Reads and drops what follows the archive, so that a writing process can end.
    package func drain() throws(Fault) {
        repeat {
            start = 0
            end = try source.read(buffer)
        } while end > 0
    }

    // MARK: Headers

    private func readHeader() throws(Fault) -> TarHeader? {
        try skipContent()
        guard let header = try takeHeader() else {
            throw Fault(.archiveInvalid, "the archive ends after \(current), without its end mark")
        }
        if header.isEnd { return nil }
        guard header.hasRightChecksum else {
            throw Fault(.archiveInvalid, "a header with a wrong checksum after \(current)")
        }
        return header
    }

    private func takeHeader() throws(Fault) -> TarHeader? {
        if start == end {
            start = 0
            end = try source.read(buffer)
            if end == 0 { return nil }
        }
        return TarHeader(bytes: try take(TarHeader.size))
    }

    private func readExtension(_ header: TarHeader) throws(Fault) -> [UInt8] {
        guard let size = header.number(124, 12), size >= 0 else {
            throw Fault(.archiveInvalid, "an extended header of unreadable size after \(current)")
        }
        guard size <= limits.extendedHeaderBytes else {
            throw Fault(
                .limitExceeded,
                "an extended header of \(size) bytes after \(current); the limit is "
                    + "\(limits.extendedHeaderBytes)"
            )
        }
        setContent(size: UInt64(size))
        return try take(Int(size))
    }

    private func readLongName(_ header: TarHeader) throws(Fault) -> [UInt8] {
        let bytes = try readExtension(header)
        return Array(bytes.prefix { $0 != 0 })
    }

    private func entry(_ header: TarHeader, _ records: PaxRecords) throws(Fault) -> TarEntry {
        entries += 1
        guard entries <= limits.entries else {
            throw Fault(.limitExceeded, "more than \(limits.entries) entries in the archive")
        }
        let rawPath = records.path ?? header.name
        let path = try ArchivePath(archived: rawPath)
        current = "entry \"\(path)\""
        let metadata = FileMetadata(
            mode: UInt16(truncatingIfNeeded: try field(header, 100, 8, "mode") & 0o7777),
            user: try owner(header, 108, "uid", records.user),
            group: try owner(header, 116, "gid", records.group),
            modified: try modified(header, records),
            attributes: records.attributes
        )
        let kind = try kind(header, records, isDirectoryName: rawPath.last == 0x2F)
        if case .file(let size) = kind { try admit(size) }
        return TarEntry(path: path, kind: kind, metadata: metadata)
    }

    private func kind(
        _ header: TarHeader,
        _ records: PaxRecords,
        isDirectoryName: Bool
    ) throws(Fault) -> TarEntry.Kind {
        switch header.type {
        case UInt8(ascii: "0"), 0, UInt8(ascii: "7"):
            if isDirectoryName { return .directory }
            if let size = records.size { return .file(size: size) }
            return .file(size: UInt64(clamping: try field(header, 124, 12, "size")))
        case UInt8(ascii: "1"):
            return .hardLink(try ArchivePath(archived: records.linkPath ?? header.linkName))
        case UInt8(ascii: "2"):
            let target = records.linkPath ?? header.linkName
            guard (1...4095).contains(target.count), !target.contains(0) else {
                throw fault("a symbolic link with a target of \(target.count) bytes")
            }
            return .symbolicLink(target)
        case UInt8(ascii: "3"), UInt8(ascii: "4"):
            let major = try narrow(field(header, 329, 8, "devmajor"), "devmajor")
            let minor = try narrow(field(header, 337, 8, "devminor"), "devminor")
            guard major < 1 << 12, minor < 1 << 20 else {
                throw fault("device number \(major):\(minor)")
            }
            return header.type == UInt8(ascii: "3")
                ? .characterDevice(major: major, minor: minor)
                : .blockDevice(major: major, minor: minor)
        case UInt8(ascii: "5"): return .directory
        case UInt8(ascii: "6"): return .fifo
        default: throw fault("type \"\(printable([header.type]))\" is not supported")
        }
    }

    private func field(
        _ header: TarHeader,
        _ offset: Int,
        _ length: Int,
        _ name: String
    ) throws(Fault) -> Int64 {
        guard let value = header.number(offset, length),
            value >= 0 || name == "mtime", value < 1 << 62
        else { throw fault("an unreadable \(name)") }
        return value
    }

    private func owner(
        _ header: TarHeader,
        _ offset: Int,
        _ name: String,
        _ record: UInt32?
    ) throws(Fault) -> UInt32 {
        // With a record the field may hold anything: it was too small for the number.
        if let record { return record }
        return try narrow(field(header, offset, 8, name), name)
    }

    private func modified(_ header: TarHeader, _ records: PaxRecords) throws(Fault) -> FileTime {
        if let time = records.modified { return time }
        return FileTime(seconds: try field(header, 136, 12, "mtime"))
    }

    private func narrow(_ value: Int64, _ name: String) throws(Fault) -> UInt32 {
        guard let result = UInt32(exactly: value) else { throw fault("\(name) \(value)") }
        return result
    }

    private func fault(_ problem: String) -> Fault {
        Fault(.archiveInvalid, "\(current): \(problem)")
    }

    // MARK: Bytes

    private func admit(_ size: UInt64) throws(Fault) {
        let (sum, overflow) = contentBytes.addingReportingOverflow(size)
        guard !overflow, sum <= limits.content.bytes else {
            throw Fault(
                .limitExceeded,
                "\(current): \(size) bytes; an archive may hold \(limits.content.bytes) in all"
            )
        }
        contentBytes = sum
        setContent(size: size)
    }

    private func setContent(size: UInt64) {
        remaining = size
        padding = Int((512 - size % 512) % 512)
    }

    private func skipContent() throws(Fault) {
        while remaining > 0 || padding > 0 {
            try fill()
            let content = min(UInt64(end - start), remaining)
            remaining -= content
            start += Int(content)
            guard remaining == 0 else { continue }
            let pad = min(end - start, padding)
            padding -= pad
            start += pad
        }
    }

    /// Takes bytes of the current header or content.
    private func take(_ count: Int) throws(Fault) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            try fill()
            let part = min(end - start, count - bytes.count)
            bytes.append(contentsOf: buffer[start..<start + part])
            start += part
        }
        remaining -= min(remaining, UInt64(count))
        return bytes
    }

    /// Makes sure that the buffer holds something.
    private func fill() throws(Fault) {
        guard start == end else { return }
        start = 0
        end = try source.read(buffer)
        guard end > 0 else { throw fault("the archive is cut off here") }
    }
}
