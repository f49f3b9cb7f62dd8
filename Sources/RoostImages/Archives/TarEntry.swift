package import RoostModel

/// One member of a tar archive. The content, if any, is read from the `TarReader`.
package struct TarEntry: Sendable {
    /// The kinds of member.
    package enum Kind: Hashable, Sendable {
        /// A regular file with its size in bytes.
        case file(size: UInt64)
        /// Another name of an earlier member.
        case hardLink(ArchivePath)
        /// A directory.
        case directory
        /// A symbolic link with its target's bytes.
        case symbolicLink([UInt8])
        /// A character device.
        case characterDevice(major: UInt32, minor: UInt32)
        /// A block device.
        case blockDevice(major: UInt32, minor: UInt32)
        /// A named pipe.
        case fifo
    }

    /// Where it goes.
    package let path: ArchivePath
    /// What it is.
    package let kind: Kind
    /// Owners, mode, time, extended attributes.
    package let metadata: FileMetadata
}

/// How much of an archive is believed.
package struct TarLimits: Sendable {
    /// The most members.
    package var entries: Int
    /// The most bytes of one pax header or GNU long name.
    package var extendedHeaderBytes: Int
    /// The most content bytes of all members together.
    package var content: ByteCount

    /// Makes limits; by default a million members, 1 MiB of header each, 256 GiB of content.
    package init(
        entries: Int = 1_000_000,
        extendedHeaderBytes: Int = 1 << 20,
        content: ByteCount = .gibibytes(256)
    ) {
        self.entries = entries
        self.extendedHeaderBytes = extendedHeaderBytes
        self.content = content
    }
}
