internal import Glibc
internal import RoostDriver
internal import RoostLinux
internal import RoostModel
internal import Synchronization

/// Digests of files that were computed already, for as long as the files do not change: the same
/// inode, size and modification time. Only in memory, so each daemon reads everything once.
final class Seals: Sendable {
    private struct Facts: Hashable {
        var device: UInt64
        var inode: UInt64
        var size: Int64
        var seconds: Int
        var nanoseconds: Int
    }

    private let known = Mutex<[Facts: String]>([:])
    /// More files than any node has saved machines; older ones are forgotten together.
    private static let limit = 4096

    /// The part of that role at `path`, digested now or known to be unchanged. Blocks.
    func part(
        _ role: SavedMachine.Part.Role,
        _ path: String
    ) throws(Fault) -> SavedMachine.Part {
        let before = try Self.facts(path)
        let size = UInt64(clamping: before.size)
        if let digest = known.withLock({ $0[before] }) {
            return SavedMachine.Part(role: role, path: path, bytes: size, digest: digest)
        }
        let (bytes, digest) = try PageFile.digest(path)
        if try Self.facts(path) == before {
            known.withLock { known in
                if known.count >= Self.limit { known = [:] }
                known[before] = digest
            }
        }
        return SavedMachine.Part(role: role, path: path, bytes: bytes, digest: digest)
    }

    /// The digest of any file's content. Blocks.
    func digest(_ path: String) throws(Fault) -> String { try part(.memory, path).digest }

    /// Throws ``Reason/savedStateDamaged`` unless the part's file has its length and digest. Blocks.
    func check(_ part: SavedMachine.Part, vm: String) throws(Fault) {
        let found: SavedMachine.Part
        do throws(Fault) {
            found = try self.part(part.role, part.path)
        } catch {
            throw damaged(part, "cannot be read", vm, cause: error)
        }
        if found.bytes != part.bytes {
            throw damaged(part, "has \(found.bytes) bytes instead of \(part.bytes)", vm)
        }
        if found.digest != part.digest { throw damaged(part, "has another digest", vm) }
    }

    private func damaged(
        _ part: SavedMachine.Part,
        _ problem: String,
        _ vm: String,
        cause: Fault? = nil
    ) -> Fault {
        Fault(
            .savedStateDamaged,
            "the saved \(part.role.words) \(problem)",
            metadata: ["path": part.path, "part": part.role.rawValue, "vm": vm],
            cause: cause
        )
    }

    private static func facts(_ path: String) throws(Fault) -> Facts {
        var state = stat()
        guard lstat(path, &state) == 0 else { throw systemFault("look at", path, errno) }
        return Facts(
            device: UInt64(state.st_dev),
            inode: UInt64(state.st_ino),
            size: Int64(state.st_size),
            seconds: Int(state.st_mtim.tv_sec),
            nanoseconds: Int(state.st_mtim.tv_nsec)
        )
    }
}

extension SavedMachine.Part.Role {
    fileprivate var words: String {
        switch self {
        case .memory: "memory"
        case .devices: "device state"
        case .rootDisk: "root disk"
        case .diskLayer: "disk layer"
        }
    }
}
