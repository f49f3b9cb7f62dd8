package import RoostModel
import RoostTar

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
    private var headers: TarHeaders
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
        headers = TarHeaders(extensionLimit: limits.extendedHeaderBytes)
    }

    deinit { buffer.deallocate() }

    /// The next member; nil at the end of the archive. What was not read of the member before
    /// is skipped.
    ///
    /// - Throws: `archiveInvalid` naming the member, `limitExceeded`, or what the source throws.
    package func next() throws(Fault) -> TarEntry? {
        try skipContent()
        guard !finished else { return nil }
        while true {
            let block = try readBlock()
            switch try decoded({ headers throws(TarProblem) in try headers.take(block: block) }) {
            case .extension(let count):
                setContent(size: UInt64(count))
                let bytes = try take(count)
                try decoded { headers throws(TarProblem) in try headers.take(extension: bytes) }
                try skipContent()
            case .member(let member): return try entry(member)
            case .end:
                finished = true
                return nil
            }
        }
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

    private func readBlock() throws(Fault) -> [UInt8] {
        if start == end {
            start = 0
            end = try source.read(buffer)
            guard end > 0 else {
                let text = "the archive ends after \(current), without its end mark"
                throw Fault(.archiveInvalid, text)
            }
        }
        return try take(TarHeaders.blockSize)
    }

    /// What `body` makes of the headers, with its problems as faults.
    private func decoded<Result>(
        _ body: (inout TarHeaders) throws(TarProblem) -> Result
    ) throws(Fault) -> Result {
        do throws(TarProblem) {
            return try body(&headers)
        } catch {
            switch error {
            case .number(_, let path):
                throw Fault(.archiveInvalid, "entry \"\(printable(path))\": \(error)")
            case .extensionTooLong, .tooManyAttributes:
                throw Fault(.limitExceeded, "\(error), after \(current)")
            case .sparse(let key):
                let text = "sparse members (\(printable(key))) are not supported"
                throw Fault(.archiveInvalid, text)
            case .value(let key, let value):
                let text = "a pax header with \(key) \"\(printable(value))\" after \(current)"
                throw Fault(.archiveInvalid, text)
            case .checksum, .extensionSize, .tooManyExtensions, .record, .endsInHeaders:
                throw Fault(.archiveInvalid, "\(error) after \(current)")
            }
        }
    }

    private func entry(_ member: TarMember) throws(Fault) -> TarEntry {
        entries += 1
        guard entries <= limits.entries else {
            throw Fault(.limitExceeded, "more than \(limits.entries) entries in the archive")
        }
        let path = try ArchivePath(archived: member.path)
        current = "entry \"\(path)\""
        let metadata = FileMetadata(
            mode: UInt16(member.mode),
            user: member.user,
            group: member.group,
            modified: FileTime(seconds: member.modified, nanoseconds: member.nanoseconds),
            attributes: member.attributes.map { ExtendedAttribute(name: $0.name, value: $0.value) }
        )
        let kind = try kind(member)
        if case .file(let size) = kind { try admit(size) }
        return TarEntry(path: path, kind: kind, metadata: metadata)
    }

    private func kind(_ member: TarMember) throws(Fault) -> TarEntry.Kind {
        switch member.kind {
        case .file: return .file(size: member.size)
        case .hardLink: return .hardLink(try ArchivePath(archived: member.link))
        case .symbolicLink:
            guard (1...4095).contains(member.link.count), !member.link.contains(0) else {
                throw fault("a symbolic link with a target of \(member.link.count) bytes")
            }
            return .symbolicLink(member.link)
        case .characterDevice, .blockDevice:
            guard member.major < 1 << 12, member.minor < 1 << 20 else {
                throw fault("device number \(member.major):\(member.minor)")
            }
            return member.kind == .characterDevice
                ? .characterDevice(major: member.major, minor: member.minor)
                : .blockDevice(major: member.major, minor: member.minor)
        case .directory: return .directory
        case .fifo: return .fifo
        case .other(let letter): throw fault("type \"\(printable([letter]))\" is not supported")
        }
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
        padding = TarHeaders.padding(after: size)
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
