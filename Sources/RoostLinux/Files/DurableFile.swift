internal import CRoostLinux
internal import Glibc
package import RoostModel

/// Small files that are whole or absent. All calls block: use ``onItsOwnThread(_:)``.
package enum DurableFile {
    /// Replaces `path` with `bytes`: temporary file beside it, fsync, rename, fsync of the directory.
    /// After it returns the bytes survive a power cut; after a throw the old file is untouched.
    ///
    /// `sync: false` leaves out both fsyncs, for files that mean nothing after a reboot.
    package static func write(
        _ path: String,
        _ bytes: [UInt8],
        mode: UInt32 = 0o600,
        sync: Bool = true
    ) throws(Fault) {
        let folder = directory(of: path)
        let temporary = "\(path).\(getpid()).\(uniqueNumber()).tmp"
        let number = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard number >= 0 else { throw systemFault("create", temporary, errno) }
        let file = Descriptor(number)
        do throws(Fault) {
            try writeAll(file, bytes, path)
            if sync, fsync(file.number) != 0 { throw systemFault("sync", path, errno) }
            guard rename(temporary, path) == 0 else { throw systemFault("rename", path, errno) }
        } catch {
            unlink(temporary)
            throw error
        }
        if sync { try syncDirectory(folder) }
    }

    /// The bytes of `path`, or `nil` when there is no such file. More than `limit` bytes throw
    /// ``Reason/stateUnreadable``.
    package static func read(_ path: String, limit: Int) throws(Fault) -> [UInt8]? {
        let number = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        if number < 0 {
            if errno == ENOENT { return nil }
            throw systemFault("open", path, errno)
        }
        let file = Descriptor(number)
        var bytes: [UInt8] = []
        while true {
            let piece = try readSome(file, path)
            if piece.isEmpty { return bytes }
            bytes += piece
            if bytes.count > limit {
                throw Fault(
                    .stateUnreadable,
                    "'\(path)' is larger than \(limit) bytes",
                    metadata: ["path": path]
                )
            }
        }
    }

    /// Renames a file that cannot be understood to `<path>.unreadable-<n>`, the first free `n`, and
    /// returns that name; `nil` when it is gone already.
    package static func quarantine(_ path: String) throws(Fault) -> String? {
        for number in 1...10_000 {
            let aside = "\(path).unreadable-\(number)"
            // RENAME_NOREPLACE: two that set aside at once do not overwrite each other's find.
            let problem = roost_host_rename_new(path, aside)
            if problem == 0 { return aside }
            if problem == -ENOENT { return nil }
            guard problem == -EEXIST else { throw systemFault("set aside", path, -problem) }
        }
        throw systemFault("set aside", path, EEXIST)
    }

    /// Makes the names in `path` durable.
    package static func syncDirectory(_ path: String) throws(Fault) {
        let number = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard number >= 0 else { throw systemFault("open", path, errno) }
        let folder = Descriptor(number)
        guard fsync(folder.number) == 0 else { throw systemFault("sync", path, errno) }
    }

    /// The directory part of `path`; `.` when it has none.
    package static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func uniqueNumber() -> UInt32 {
        var number: UInt32 = 0
        roost_host_random(&number, 4)
        return number
    }

    private static func writeAll(
        _ file: Descriptor,
        _ bytes: [UInt8],
        _ path: String
    ) throws(Fault) {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                retrying {
                    Glibc.write(
                        file.number,
                        buffer.baseAddress.map { $0 + done },
                        buffer.count - done
                    )
                }
            }
            guard count > 0 else { throw systemFault("write", path, errno) }
            done += count
        }
    }

    private static func readSome(_ file: Descriptor, _ path: String) throws(Fault) -> [UInt8] {
        var problem: Int32 = 0
        let piece = [UInt8](unsafeUninitializedCapacity: 64 << 10) { buffer, count in
            let got = retrying { Glibc.read(file.number, buffer.baseAddress, buffer.count) }
            problem = got < 0 ? errno : 0
            count = max(got, 0)
        }
        if problem != 0 { throw systemFault("read", path, problem) }
        return piece
    }
}
