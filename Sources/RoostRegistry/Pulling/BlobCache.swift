import Glibc
import RoostLinux
package import RoostModel
import Synchronization

/// Layers on their way: what a pull has received so far, kept so that the next one goes on there.
///
/// ```text
///  <directory>/sha256-<digits>          the bytes from the start of a blob, claimed by one pull
///  <directory>/sha256-<digits>.<chance> the same blob for a second pull at the same time
/// ```
/// Blobs of a pull that succeeded are removed: the image holds what was in them. Every call blocks.
package final class BlobCache: Sendable {
    /// A blob's file for one pull.
    struct Claim: Sendable {
        var digest: ContentDigest
        var file: GrowingFile
        var isShared: Bool
    }

    private let directory: String
    private let limit: ByteCount
    private let claimed = Mutex<Set<ContentDigest>>([])

    /// A cache in `directory`, which is made when it is needed, of at most `limit` between pulls.
    package init(directory: String, limit: ByteCount = .gibibytes(4)) {
        self.directory = directory
        self.limit = limit
    }

    /// Opens the file of a blob, with what an earlier pull has left in it.
    func claim(_ digest: ContentDigest) throws(Fault) -> Claim {
        if mkdir(directory, 0o700) != 0, errno != EEXIST {
            throw systemFault("make", directory, errno)
        }
        let isFirst = claimed.withLock { $0.insert(digest).inserted }
        let chance = isFirst ? "" : ".\(String(UInt64.random(in: .min ... .max), radix: 16))"
        do throws(Fault) {
            let file = try GrowingFile("\(directory)/sha256-\(digest.hexadecimal)\(chance)")
            return Claim(digest: digest, file: file, isShared: isFirst)
        } catch {
            if isFirst { claimed.withLock { _ = $0.remove(digest) } }
            throw error
        }
    }

    /// Gives the blobs of a pull back, and drops the oldest bytes past the limit.
    func release(_ claims: [Claim], keeping isKept: Bool) {
        for claim in claims {
            if !isKept || !claim.isShared { unlink(claim.file.path) }
            if claim.isShared { claimed.withLock { _ = $0.remove(claim.digest) } }
        }
        trim()
    }

    /// Removes what only a running pull can use. For the holder of the state directory, at its start.
    package func removeLeftovers() {
        for name in names() where name.contains(".") { unlink("\(directory)/\(name)") }
        trim()
    }

    /// How many bytes lie there.
    package var size: ByteCount {
        ByteCount(bytes: files().reduce(0) { $0 + $1.size })
    }

    private struct Kept {
        var path: String
        var size: UInt64
        var changed: Int
    }

    private func trim() {
        let busy = claimed.withLock { claimed in
            Set(claimed.map { "\(directory)/sha256-\($0.hexadecimal)" })
        }
        var total: UInt64 = 0
        for file in files().sorted(by: { $0.changed > $1.changed }) {
            total += file.size
            if total > limit.bytes, !busy.contains(file.path) { unlink(file.path) }
        }
    }

    private func files() -> [Kept] {
        names().compactMap { name in
            let path = "\(directory)/\(name)"
            var status = stat()
            guard lstat(path, &status) == 0 else { return nil }
            return Kept(
                path: path,
                size: UInt64(max(0, status.st_blocks)) * 512,
                changed: status.st_mtim.tv_sec
            )
        }
    }

    private func names() -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let offset = MemoryLayout<dirent>.offset(of: \dirent.d_name) ?? 19
            let start = UnsafeRawPointer(entry) + offset
            let name = String(cString: start.assumingMemoryBound(to: CChar.self))
            if name.hasPrefix("sha256-") { names.append(name) }
        }
        return names
    }
}
