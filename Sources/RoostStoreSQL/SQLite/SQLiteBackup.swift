import Foundation
import GRDB
import RoostModel
import RoostStore

/// Copies of a store that are whole or not there.
enum SQLiteBackup {
    /// Copies what `source` sees now to `destination`, through a file beside it.
    static func write(from source: DatabaseQueue, to destination: String) throws {
        let partial = destination + ".partial"
        try remove(partial)
        do {
            let target = try DatabaseQueue(path: partial)
            do {
                try source.backup(to: target)
            } catch {
                try? target.close()
                throw error
            }
            // Back to one file: a copy that is moved about must not need a log beside it.
            try target.inDatabase { try $0.execute(sql: "PRAGMA journal_mode = DELETE") }
            try target.close()
            try publish(partial, as: destination)
        } catch {
            try? remove(partial)
            throw error
        }
    }

    private static func remove(_ path: String) throws {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            guard unlink(path + suffix) == 0 || errno == ENOENT else {
                throw failure("removing \(path + suffix)", path)
            }
        }
    }

    /// Syncs the file, renames it and syncs the directory.
    private static func publish(_ partial: String, as destination: String) throws {
        try sync(partial)
        guard rename(partial, destination) == 0 else {
            throw failure("renaming \(partial)", destination)
        }
        let slash = destination.lastIndex(of: "/")
        let directory = slash.map { String(destination[...$0]) } ?? "."
        try sync(directory)
    }

    private static func sync(_ path: String) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("opening \(path)", path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("syncing \(path)", path) }
    }

    private static func failure(_ doing: String, _ path: String) -> Fault {
        let code = errno
        let reason: Reason = code == ENOSPC || code == EDQUOT ? .diskFull : .ioFailed
        return Fault(
            reason,
            "\(doing) failed: \(String(cString: strerror(code)))",
            metadata: ["path": path]
        )
    }
}
