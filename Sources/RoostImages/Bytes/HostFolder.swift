import Glibc
import RoostModel

/// Directories of the host: making, removing and publishing them. Everything here blocks.
enum HostFolder {
    /// Makes one directory that must not exist yet.
    static func create(_ path: String) throws(Fault) {
        guard mkdir(path, 0o755) == 0 else { throw systemFault(errno, "create", path) }
    }

    /// Makes a directory and its parents where they are missing.
    static func createAll(_ path: String) throws(Fault) {
        if mkdir(path, 0o755) == 0 || errno == EEXIST { return }
        guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
            throw systemFault(errno, "create", path)
        }
        try createAll(String(path[..<slash]))
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else {
            throw systemFault(errno, "create", path)
        }
    }

    /// Whether there is anything at `path`, even a dangling link.
    static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    /// The names in a directory, sorted, without `.` and `..`.
    static func names(_ path: String) throws(Fault) -> [String] {
        guard let stream = opendir(path) else { throw systemFault(errno, "list", path) }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let offset = MemoryLayout<dirent>.offset(of: \dirent.d_name) ?? 19
            let start = UnsafeRawPointer(entry) + offset
            let name = String(cString: start.assumingMemoryBound(to: CChar.self))
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Removes `path` with everything in it. Links are removed, not followed.
    static func removeAll(_ path: String) throws(Fault) {
        if unlink(path) == 0 || errno == ENOENT { return }
        guard errno == EISDIR || errno == EPERM else { throw systemFault(errno, "remove", path) }
        for name in try names(path) { try removeAll("\(path)/\(name)") }
        guard rmdir(path) == 0 else { throw systemFault(errno, "remove", path) }
    }

    /// Renames `old` to `new`, which must not hold anything, and makes that durable.
    ///
    /// - Returns: false if `new` is taken by something that is not an empty directory.
    static func publish(_ old: String, as new: String, in parent: String) throws(Fault) -> Bool {
        try sync(old)
        if rename(old, new) != 0 {
            guard errno == ENOTEMPTY || errno == EEXIST else {
                throw systemFault(errno, "rename", new)
            }
            return false
        }
        try sync(parent)
        return true
    }

    /// Makes a directory's entries durable.
    static func sync(_ path: String) throws(Fault) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw systemFault(errno, "open", path) }
        try DiskFile(descriptor: descriptor, path: path).sync()
    }

    /// Writes a whole file durably. The directory's entry is its owner's to sync.
    static func write(_ bytes: [UInt8], to path: String, mode: UInt32 = 0o644) throws(Fault) {
        let file = try DiskFile.creating(path, mode: mode)
        try file.write(bytes, at: 0)
        try file.sync()
    }
}
