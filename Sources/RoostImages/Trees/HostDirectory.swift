import Glibc
package import RoostModel

/// Who owns the files that come from a directory of the host.
package enum ImportedOwners: Hashable, Sendable {
    /// Whoever owns them on the host.
    case asOnDisk
    /// The given user and group, all of them.
    case all(user: UInt32, group: UInt32)
}

extension Ext4Builder {
    /// Adds everything in the host's directory `path`, as it is on disk: hard links, holes,
    /// devices, sockets and extended attributes too. Symbolic links are never followed.
    ///
    /// - Parameters:
    ///   - path: The directory on the host.
    ///   - under: The directory in the image that it becomes.
    ///   - owners: Who owns the files in the image.
    ///   - modified: The time that every file gets; nil for the time it has on disk.
    /// - Throws: `pathNotFound`, `ioFailed` for what cannot be read, and as `add` does.
    package func add(
        hostDirectory path: String,
        under: ArchivePath = .root,
        owners: ImportedOwners = .asOnDisk,
        modified: FileTime? = nil
    ) throws(Fault) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw systemFault(errno, "open", path) }
        var walk = HostWalk(builder: self, owners: owners, modified: modified)
        try walk.add(DiskFile(descriptor: descriptor, path: path), at: under)
    }
}

/// One walk through a directory of the host. Depth is bounded by the length of a path.
private struct HostWalk {
    let builder: Ext4Builder
    let owners: ImportedOwners
    let modified: FileTime?
    /// The first path of every file with more than one name.
    var linked: [FileKey: ArchivePath] = [:]

    struct FileKey: Hashable {
        let device: UInt64
        let inode: UInt64
    }

    mutating func add(_ directory: DiskFile, at path: ArchivePath) throws(Fault) {
        let status = try directory.status()
        let metadata = try metadata(status, "/proc/self/fd/\(directory.descriptor)/.")
        try builder.add(.directory, metadata, at: path)
        for name in try names(in: directory) {
            try add(name, in: directory, at: path.appending(name))
        }
    }

    private mutating func add(
        _ name: FileName,
        in directory: DiskFile,
        at path: ArchivePath
    ) throws(Fault) {
        let text = name.bytes.map { CChar(bitPattern: $0) } + [0]
        let hostPath = "\(directory.path)/\(printable(name.bytes))"
        var status = stat()
        guard fstatat(directory.descriptor, text, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
            throw systemFault(errno, "stat", hostPath)
        }
        let type = status.st_mode & S_IFMT
        if type == S_IFDIR {
            let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
            let descriptor = openat(directory.descriptor, text, flags)
            guard descriptor >= 0 else { throw systemFault(errno, "open", hostPath) }
            return try add(DiskFile(descriptor: descriptor, path: hostPath), at: path)
        }
        if status.st_nlink > 1 {
            let key = FileKey(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
            if let first = linked[key] { return try builder.tree.link(path, to: first) }
            linked[key] = path
        }
        let metadata = try metadata(status, "/proc/self/fd/\(directory.descriptor)/", name)
        let number = UInt64(status.st_rdev)
        let major = UInt32((number >> 8) & 0xFFF)
        let minor = UInt32((number & 0xFF) | ((number >> 12) & 0xFFF00))
        switch type {
        case S_IFREG: try addFile(text, hostPath, directory, metadata, at: path)
        case S_IFLNK:
            let target = try target(text, directory, hostPath)
            try builder.add(.symbolicLink(target), metadata, at: path)
        case S_IFCHR:
            try builder.add(.characterDevice(major: major, minor: minor), metadata, at: path)
        case S_IFBLK:
            try builder.add(.blockDevice(major: major, minor: minor), metadata, at: path)
        case S_IFIFO: try builder.add(.fifo, metadata, at: path)
        default: try builder.add(.socket, metadata, at: path)
        }
    }

    private func addFile(
        _ name: [CChar],
        _ hostPath: String,
        _ directory: DiskFile,
        _ metadata: FileMetadata,
        at path: ArchivePath
    ) throws(Fault) {
        // O_NONBLOCK: the name may have become a fifo since it was looked at.
        let flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK
        let descriptor = openat(directory.descriptor, name, flags)
        guard descriptor >= 0 else { throw systemFault(errno, "open", hostPath) }
        let file = DiskFile(descriptor: descriptor, path: hostPath)
        let status = try file.status()
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw Fault(.ioFailed, "\(hostPath) changed while it was read")
        }
        let content = ContentReader(
            nextData: { offset throws(Fault) in
                let data = lseek(file.descriptor, off_t(offset), 3)  // SEEK_DATA
                if data < 0 && errno == ENXIO { return nil }
                return data < 0 ? offset : UInt64(data)
            },
            fill: { buffer, offset throws(Fault) in
                guard try file.read(into: buffer, at: offset) == buffer.count else {
                    throw Fault(.ioFailed, "\(hostPath) changed while it was read")
                }
            }
        )
        try builder.add(size: UInt64(status.st_size), content, metadata, at: path)
    }

    private func target(
        _ name: [CChar],
        _ directory: DiskFile,
        _ hostPath: String
    ) throws(Fault) -> [UInt8] {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlinkat(directory.descriptor, name, &buffer, buffer.count)
        guard count > 0 else { throw systemFault(errno, "read the link", hostPath) }
        return buffer[..<count].map { UInt8(bitPattern: $0) }
    }

    /// The names in a directory, sorted.
    private func names(in directory: DiskFile) throws(Fault) -> [FileName] {
        let copy = openat(directory.descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0, let stream = fdopendir(copy) else {
            throw systemFault(errno, "list", directory.path)
        }
        defer { closedir(stream) }
        var names: [FileName] = []
        errno = 0
        while let entry = readdir(stream) {
            let offset = MemoryLayout<dirent>.offset(of: \dirent.d_name) ?? 19
            let start = UnsafeRawPointer(entry) + offset
            let length = strlen(start.assumingMemoryBound(to: CChar.self))
            let bytes = UnsafeRawBufferPointer(start: start, count: length)
            if let name = FileName(bytes) { names.append(name) }
            errno = 0
        }
        guard errno == 0 else { throw systemFault(errno, "list", directory.path) }
        return names.sorted()
    }

    private func metadata(
        _ status: stat,
        _ directory: String,
        _ name: FileName? = nil
    ) throws(Fault) -> FileMetadata {
        let path = Array(directory.utf8) + (name?.bytes ?? [])
        var user = status.st_uid
        var group = status.st_gid
        if case .all(let wantedUser, let wantedGroup) = owners {
            user = wantedUser
            group = wantedGroup
        }
        return FileMetadata(
            mode: UInt16(status.st_mode & 0o7777),
            user: user,
            group: group,
            modified: modified
                ?? FileTime(
                    seconds: Int64(status.st_mtim.tv_sec),
                    nanoseconds: UInt32(status.st_mtim.tv_nsec)
                ),
            attributes: HostAttributes.read(path.map { CChar(bitPattern: $0) } + [0])
        )
    }
}
