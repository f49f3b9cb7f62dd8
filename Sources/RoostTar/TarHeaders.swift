/// Makes members of an archive's header blocks: ustar, pax and GNU's long names.
///
/// Its user brings the bytes in order, and does with content what it likes:
/// ``take(block:)`` for 512 bytes, ``take(extension:)`` when it asked for them, and so on until
/// the end. Memory: one extended header and what it said.
package struct TarHeaders: Sendable {
    /// The bytes of a block: headers are one, everything else is padded to them.
    package static let blockSize = HeaderBlock.size
    /// The most extended headers before one member.
    package static let extensions = 16
    /// The most extended attributes of one member.
    package static let attributes = 256

    /// What comes after a block.
    package enum Step: Hashable, Sendable {
        /// So many bytes and their padding, for ``TarHeaders/take(extension:)``; then a block.
        case `extension`(Int)
        /// The member's content and its padding; then a block.
        case member(TarMember)
        /// Nothing: the archive's end mark has come.
        case end
    }

    private let extensionLimit: Int
    private var global = PaxRecords()
    private var records = PaxRecords()
    private var count = 0
    /// The letter of the extended header whose bytes are awaited.
    private var awaited: UInt8?

    /// Refuses extended headers (long names, pax records) of over `extensionLimit` bytes.
    package init(extensionLimit: Int) { self.extensionLimit = extensionLimit }

    /// Whether an extended header has come without its member: the archive may not end here.
    package var isInsideHeaders: Bool { count > 0 }

    /// The zeros after `size` bytes, up to the next block.
    package static func padding(after size: UInt64) -> Int {
        let rest = Int(size % UInt64(blockSize))
        return rest == 0 ? 0 : blockSize - rest
    }

    /// Takes the next header.
    ///
    /// - Precondition: there are 512 bytes, and no extension is awaited.
    package mutating func take(block bytes: [UInt8]) throws(TarProblem) -> Step {
        precondition(awaited == nil, "an extended header's bytes come first")
        let block = HeaderBlock(bytes)
        if block.isEnd {
            if isInsideHeaders { throw .endsInHeaders }
            return .end
        }
        guard block.hasRightChecksum else { throw .checksum }
        switch block.letter {
        case UInt8(ascii: "x"), UInt8(ascii: "g"), UInt8(ascii: "L"), UInt8(ascii: "K"):
            count += 1
            guard count <= Self.extensions else { throw .tooManyExtensions }
            guard let size = block.number(124, 12), size >= 0 else { throw .extensionSize }
            guard size <= extensionLimit else {
                throw .extensionTooLong(bytes: UInt64(size), limit: extensionLimit)
            }
            awaited = block.letter
            return .extension(Int(size))
        default:
            let member = try TarMember(block, records)
            records = global
            count = 0
            return .member(member)
        }
    }

    /// Takes the bytes that ``Step/extension(_:)`` asked for, without their padding.
    package mutating func take(extension bytes: [UInt8]) throws(TarProblem) {
        switch awaited {
        case UInt8(ascii: "x"): try records.read(bytes)
        case UInt8(ascii: "g"):
            try global.read(bytes)
            records = global
        case UInt8(ascii: "L"): records.path = Array(bytes.prefix { $0 != 0 })
        case UInt8(ascii: "K"): records.link = Array(bytes.prefix { $0 != 0 })
        default: preconditionFailure("no extended header is awaited")
        }
        awaited = nil
    }
}

extension TarMember {
    /// What `block` says, and `records` where they say otherwise.
    fileprivate init(_ block: HeaderBlock, _ records: PaxRecords) throws(TarProblem) {
        let path = records.path ?? block.path
        func number(_ offset: Int, _ length: Int, _ field: String) throws(TarProblem) -> Int64 {
            guard let value = block.number(offset, length) else {
                throw .number(field: field, path: path)
            }
            return value
        }
        func narrow(_ offset: Int, _ field: String) throws(TarProblem) -> UInt32 {
            guard let value = UInt32(exactly: try number(offset, 8, field)) else {
                throw .number(field: field, path: path)
            }
            return value
        }
        self.init(Kind(block.letter, path: path), path: path)
        link = records.link ?? block.link
        mode = try narrow(100, "mode") & 0o7777
        // With a record the field may hold anything: it was too small for the number.
        if let id = records.user { user = id } else { user = try narrow(108, "uid") }
        if let id = records.group { group = id } else { group = try narrow(116, "gid") }
        if let time = records.modified {
            (modified, nanoseconds) = time
        } else {
            modified = try number(136, 12, "mtime")
            guard modified.magnitude < 1 << 40 else { throw .number(field: "mtime", path: path) }
        }
        switch kind {
        case .file, .other:
            if let size = records.size {
                self.size = size
            } else {
                let size = try number(124, 12, "size")
                guard (0..<1 << 62).contains(size) else { throw .number(field: "size", path: path) }
                self.size = UInt64(size)
            }
        case .characterDevice, .blockDevice:
            major = try narrow(329, "devmajor")
            minor = try narrow(337, "devminor")
        case .hardLink, .symbolicLink, .directory, .fifo: break
        }
        attributes = records.attributes
    }
}

extension TarMember.Kind {
    fileprivate init(_ letter: UInt8, path: [UInt8]) {
        switch letter {
        // Old archives write NUL for a file, and end a directory's name with a slash.
        case UInt8(ascii: "0"), 0, UInt8(ascii: "7"):
            self = path.last == UInt8(ascii: "/") ? .directory : .file
        case UInt8(ascii: "1"): self = .hardLink
        case UInt8(ascii: "2"): self = .symbolicLink
        case UInt8(ascii: "3"): self = .characterDevice
        case UInt8(ascii: "4"): self = .blockDevice
        case UInt8(ascii: "5"): self = .directory
        case UInt8(ascii: "6"): self = .fifo
        default: self = .other(letter)
        }
    }
}
