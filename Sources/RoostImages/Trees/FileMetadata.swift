/// A moment as file systems keep it, in seconds and nanoseconds since 1970 (UTC).
package struct FileTime: Hashable, Comparable, Sendable {
    /// Whole seconds; negative before 1970.
    package var seconds: Int64
    /// The rest, 0 to 999,999,999.
    package var nanoseconds: UInt32

    /// Makes a time.
    package init(seconds: Int64, nanoseconds: UInt32 = 0) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    /// 1970-01-01T00:00:00Z.
    package static let epoch = FileTime(seconds: 0)

    package static func < (left: FileTime, right: FileTime) -> Bool {
        (left.seconds, left.nanoseconds) < (right.seconds, right.nanoseconds)
    }
}

/// One extended attribute, with its full name, such as `security.capability`.
package struct ExtendedAttribute: Hashable, Sendable {
    /// The name with its namespace.
    package let name: String
    /// The value as `getxattr` hands it out.
    package let value: [UInt8]

    /// Makes an attribute.
    package init(name: String, value: [UInt8]) {
        self.name = name
        self.value = value
    }
}

/// What every kind of file has.
package struct FileMetadata: Hashable, Sendable {
    /// The permission bits with setuid, setgid and sticky: the lowest 12 bits of `st_mode`.
    package var mode: UInt16
    /// The owner's number.
    package var user: UInt32
    /// The group's number.
    package var group: UInt32
    /// When the content last changed.
    package var modified: FileTime
    /// The extended attributes, in no particular order, each name once.
    package var attributes: [ExtendedAttribute]

    /// Makes metadata, by default of a file that root owns and that is as old as Unix.
    package init(
        mode: UInt16,
        user: UInt32 = 0,
        group: UInt32 = 0,
        modified: FileTime = .epoch,
        attributes: [ExtendedAttribute] = []
    ) {
        self.mode = mode & 0o7777
        self.user = user
        self.group = group
        self.modified = modified
        self.attributes = attributes
    }
}

/// Where a file's bytes are in the image that is being written.
package struct FileContent: Hashable, Sendable {
    /// The size in bytes.
    package var size: UInt64
    /// The blocks that hold something, ascending by `fileBlock`; the rest are holes.
    package var runs: [BlockRun]
    /// SHA-256 of the content; see `ContentDigest` for how holes count.
    package var digest: [UInt8]
}

/// Blocks of a file that lie together in the image. Counted in 4096-byte blocks.
package struct BlockRun: Hashable, Sendable {
    /// The first block's place in the file.
    package var fileBlock: UInt32
    /// The first block's place in the image.
    package var imageBlock: UInt32
    /// How many blocks; at least 1.
    package var count: UInt32
}

/// The kinds of file, with what only that kind has.
package enum FileKind: Hashable, Sendable {
    /// A directory.
    case directory
    /// A regular file.
    case file(FileContent)
    /// A symbolic link with its target's bytes.
    case symbolicLink([UInt8])
    /// A character device's number.
    case characterDevice(major: UInt32, minor: UInt32)
    /// A block device's number.
    case blockDevice(major: UInt32, minor: UInt32)
    /// A named pipe.
    case fifo
    /// A bound Unix socket.
    case socket
}
