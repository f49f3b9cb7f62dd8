internal import Glibc
internal import RoostLinux
internal import RoostModel

/// Makes a directory for its owner only, with its parents. One that is there is fine.
func makeDirectory(_ path: String) throws(Fault) {
    if mkdir(path, 0o700) == 0 || errno == EEXIST { return }
    guard errno == ENOENT, path.contains("/") else { throw systemFault("make", path, errno) }
    try makeDirectory(DurableFile.directory(of: path))
    guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw systemFault("make", path, errno) }
}

/// Whether `path` is a directory, and no link to one.
func isDirectory(_ path: String) -> Bool {
    var state = stat()
    return lstat(path, &state) == 0 && state.st_mode & S_IFMT == S_IFDIR
}

func move(_ from: String, _ to: String) throws(Fault) {
    guard rename(from, to) == 0 else { throw systemFault("move", from, errno) }
}

func syncFile(_ path: String) throws(Fault) {
    let number = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard number >= 0 else { throw systemFault("open", path, errno) }
    let file = Descriptor(number)
    guard fsync(file.number) == 0 else { throw systemFault("sync", path, errno) }
}

/// Removes `path` and everything below it, following no link. A missing one is fine.
func removeTree(_ path: String) throws(Fault) {
    if isDirectory(path) {
        for name in names(in: path) { try removeTree("\(path)/\(name)") }
        guard rmdir(path) == 0 || errno == ENOENT else { throw systemFault("remove", path, errno) }
    } else {
        guard unlink(path) == 0 || errno == ENOENT else { throw systemFault("remove", path, errno) }
    }
}
