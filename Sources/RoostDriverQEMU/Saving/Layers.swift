internal import Glibc
internal import RoostLinux
internal import RoostModel

/// The frozen layers of a VM's root disk: `root.N.qcow2`, each standing on another one or the image.
///
/// A number is one layer's among the VM's directory and its checkpoints, so that every one of these
/// folders has the same file under the same name, and a layer may name the one below it relatively.
/// The file system counts who needs a layer: each folder has hard links of its own.
enum Layers {
    /// Longer chains are refused: QEMU opens every layer.
    static let limit = 256

    /// A number that no layer has in a VM's directory, or in its checkpoints. Blocks.
    static func freeNumber(in directory: String) -> Int {
        let checkpoints = "\(directory)/\(NodeFiles.checkpoints)"
        let folders = [directory] + names(in: checkpoints).map { "\(checkpoints)/\($0)" }
        let taken = folders.flatMap { names(in: $0) }.compactMap(layerNumber)
        return (taken.max() ?? 0) + 1
    }

    /// The names of the layers beside `disk` that it stands on, the next one first. Blocks.
    ///
    /// - Throws: ``Reason/stateUnreadable`` for what is no disk or has no end.
    static func below(_ disk: String) throws(Fault) -> [String] {
        let directory = DurableFile.directory(of: disk)
        var found: [String] = []
        var path = disk
        while let name = try DiskHeader(path).backing, isLayer(name) {
            // One more than there may be, so that what came to be is still understood.
            guard found.count <= limit else { throw tooMany(disk) }
            found.append(name)
            path = "\(directory)/\(name)"
        }
        return found
    }

    /// Throws ``Reason/limitExceeded`` when `disk` must not become one more layer. Blocks.
    static func admitOneMore(under disk: String) throws(Fault) {
        guard try below(disk).count < limit else { throw tooMany(disk) }
    }

    private static func tooMany(_ disk: String) -> Fault {
        Fault(
            .limitExceeded,
            "'\(disk)' stands on \(limit) layers, one for each time that it was kept",
            metadata: ["path": disk]
        )
    }

    /// Removes the layers in a VM's directory that its disk does not stand on: those of a save or a
    /// way back that was cut off, or of what the VM was before it went back. Blocks.
    static func removeStrays(in directory: String) throws(Fault) {
        let layers = names(in: directory).filter(isLayer)
        guard !layers.isEmpty else { return }
        let needed = Set(try below("\(directory)/root.qcow2"))
        for name in layers where !needed.contains(name) { unlink("\(directory)/\(name)") }
    }
}

/// The number of a frozen layer's name `root.N.qcow2`; `nil` for other names.
func layerNumber(_ name: String) -> Int? {
    let parts = name.split(separator: ".")
    guard parts.count == 3, parts[0] == "root", parts[2] == "qcow2" else { return nil }
    return Int(parts[1])
}

/// Whether `name` is that of a disk's frozen layer, `root.N.qcow2`.
func isLayer(_ name: String) -> Bool { layerNumber(name) != nil }

/// What the first bytes of a qcow2 disk say. Source: QEMU, docs/interop/qcow2.txt.
struct DiskHeader {
    /// Virtual size in bytes.
    let size: UInt64
    /// The disk that it stands on, as its writer named it.
    let backing: String?

    /// Reads it. Throws ``Reason/stateUnreadable`` for what is no qcow2 disk. Blocks.
    init(_ path: String) throws(Fault) {
        let number = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard number >= 0 else { throw systemFault("open", path, errno) }
        let file = Descriptor(number)
        let strange = Fault(
            .stateUnreadable,
            "'\(path)' is no qcow2 disk",
            metadata: ["path": path]
        )
        let bytes = Self.read(file, 32, at: 0)
        guard bytes.count == 32, bytes[..<4].elementsEqual([0x51, 0x46, 0x49, 0xfb]) else {
            throw strange
        }
        let number64 = { (range: Range<Int>) in
            bytes[range].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        }
        size = number64(24..<32)
        let (offset, length) = (number64(8..<16), Int(number64(16..<20)))
        guard offset > 0, length > 0 else {
            backing = nil
            return
        }
        // The format's own limit.
        guard length <= 1023, let offset = Int(exactly: offset) else { throw strange }
        let name = Self.read(file, length, at: offset)
        guard name.count == length else { throw strange }
        backing = String(decoding: name, as: UTF8.self)
    }

    private static func read(_ file: Descriptor, _ count: Int, at offset: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let done = bytes.withUnsafeMutableBytes {
            pread(file.number, $0.baseAddress, count, offset)
        }
        return done < 0 ? [] : Array(bytes.prefix(done))
    }
}
