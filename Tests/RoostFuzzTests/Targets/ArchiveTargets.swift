import Glibc
import RoostModel

@testable import RoostImages

let archiveTargets = [
    FuzzTarget(name: "tar-image", check: imageArchive),
    FuzzTarget(name: "image-import", check: imageImport),
]

private let limits = TarLimits(
    entries: 1000,
    extendedHeaderBytes: 1 << 16,
    content: .mebibytes(1)
)

/// An image's archive: paths stay inside, sizes within the limits, pieces change nothing.
private func imageArchive(_ input: [UInt8]) throws {
    var steering = Steering(input)
    let size = Int(steering.byte())
    let whole = try members(.bytes(Array(steering.rest)))
    let cut = try members(.bytes(Array(steering.rest), chunk: max(size, 1)))
    try promise(whole == cut, "pieces of \(size) bytes gave \(cut), not \(whole)")
}

/// Each member in words, then how it ended.
private func members(_ source: ByteSource) throws -> [String] {
    let reader = TarReader(source, limits: limits)
    var found: [String] = []
    var total: UInt64 = 0
    do throws(Fault) {
        while let entry = try reader.next() {
            var line = "\(entry.path) \(entry.kind) \(entry.metadata)"
            if case .file(let size) = entry.kind {
                total += size
                if size < 4096 { line += " \(try reader.readContent(limit: 4096))" }
            }
            found.append(line)
        }
        found.append("end")
    } catch {
        found.append(error.message)
    }
    for line in found where line.utf8.count > 1 << 20 {
        throw BrokenPromise(description: "a line of \(line.utf8.count) bytes")
    }
    try promise(found.count <= 1001, "\(found.count) members")
    try promise(total <= limits.content.bytes, "\(total) bytes")
    return found
}

/// An archive made into a file system: it is refused with a catalogued reason, or it is made.
private func imageImport(_ input: [UInt8]) throws {
    var steering = Steering(input)
    let flags = steering.byte()
    var template = Array("/dev/shm/roost-fuzz-XXXXXX".utf8CString)
    let number = mkstemp(&template)
    guard number >= 0 else { throw BrokenPromise(description: "no file in memory: \(errno)") }
    unlink(template)
    let file = DiskFile(descriptor: number, path: "fuzz")
    let reader = TarReader(.bytes(Array(steering.rest)), limits: limits)
    do throws(Fault) {
        let builder = try Ext4Builder(file: file, size: .mebibytes(4), journal: false)
        if flags & 1 == 1 {
            let base = TarReader(.bytes(Array(steering.rest)), limits: limits)
            try builder.add(base)
        }
        try builder.add(reader, asLayer: flags & 2 == 2)
        let summary = try builder.finish()
        try? promise(summary.treeDigest.count == 32, "a digest")
    } catch {
        let known: Set<Reason> = [.archiveInvalid, .limitExceeded, .unsupported, .diskFull]
        try promise(known.contains(error.reason), "\(error.reason): \(error.message)")
    }
}
