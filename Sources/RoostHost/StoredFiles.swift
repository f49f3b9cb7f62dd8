package import RoostModel

/// One name of a file or directory that the node keeps.
package struct StoredFile: Sendable, Hashable {
    /// Which of the node's two places it is in.
    package enum Place: String, Sendable, Hashable {
        case state
        case memory
    }

    /// The file itself, whatever its names are.
    package struct Identity: Sendable, Hashable {
        package var device: UInt64
        package var inode: UInt64

        package init(device: UInt64, inode: UInt64) {
            self.device = device
            self.inode = inode
        }
    }

    package var place: Place
    /// Relative to the place, such as `vms/<id>/root.qcow2`; empty for the place itself.
    package var path: String
    package var identity: Identity
    /// How many names the file has, these and others; 1 for a directory.
    package var names: Int
    /// In allocated blocks.
    package var bytes: UInt64
    /// For a file that says where a saved machine's memory is: that file's name in the memory's place.
    package var memoryName: String?

    package init(
        place: Place,
        path: String,
        identity: Identity,
        names: Int,
        bytes: UInt64,
        memoryName: String? = nil
    ) {
        self.place = place
        self.path = path
        self.identity = identity
        self.names = names
        self.bytes = bytes
        self.memoryName = memoryName
    }
}

/// Everything that a node keeps, as it was found by looking once.
package struct StoredFiles: Sendable, Hashable {
    /// In any order; a file with several names comes with each.
    package var files: [StoredFile]
    package var diskFree: ByteCount
    package var memoryFree: ByteCount

    package init(files: [StoredFile], diskFree: ByteCount, memoryFree: ByteCount) {
        self.files = files
        self.diskFree = diskFree
        self.memoryFree = memoryFree
    }
}
