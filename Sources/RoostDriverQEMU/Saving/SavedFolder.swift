internal import Foundation
internal import Glibc
internal import RoostDriver
internal import RoostLinux
internal import RoostModel

/// The folder of a saved machine. `machine.json` is written last and removed first: with it the
/// folder is whole, without it the folder is nothing.
struct SavedFolder: Sendable {
    let path: String

    var manifestPath: String { "\(path)/machine.json" }
    var devicesPath: String { "\(path)/devices.bin" }
    var diskPath: String { "\(path)/root.qcow2" }
    var diskMemoryPath: String { "\(path)/memory.img" }
    /// Where the memory is when it stayed on the host: named in the folder, for whoever removes it.
    var pointerPath: String { "\(path)/memory.path" }

    private static let manifestLimit = 256 << 10

    /// The manifest; `nil` when there is none. Blocks.
    func read() throws(Fault) -> SavedMachine? {
        let limit = Self.manifestLimit
        guard let bytes = try DurableFile.read(manifestPath, limit: limit) else { return nil }
        guard let saved = try? JSONDecoder().decode(SavedMachine.self, from: Data(bytes)) else {
            throw Fault(
                .savedStateDamaged,
                "the manifest '\(manifestPath)' cannot be understood",
                metadata: ["path": manifestPath, "part": "manifest"]
            )
        }
        return saved
    }

    /// Makes it whole: everything in it is synced before, the manifest after. Blocks.
    func finish(_ saved: SavedMachine) throws(Fault) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(saved) else {
            throw Fault(.bug, "the manifest of '\(path)' cannot be encoded")
        }
        try DurableFile.syncDirectory(path)
        try DurableFile.write(manifestPath, Array(data) + [10])
        try DurableFile.syncDirectory(DurableFile.directory(of: path))
    }

    /// Removes it with the memory that it points to, manifest first. May be repeated. Blocks.
    func remove(memoryDirectory: String) throws(Fault) {
        guard isDirectory(path) else { return }
        unlink(manifestPath)
        try DurableFile.syncDirectory(path)
        if let bytes = try DurableFile.read(pointerPath, limit: 4096) {
            let memory = String(decoding: bytes, as: UTF8.self)
            // Only what can be ours: a name of this kind in the memory directory.
            let name = memory.dropFirst(memoryDirectory.count + 1)
            if memory == "\(memoryDirectory)/\(name)", !name.contains("/"),
                name.hasPrefix(Self.memoryPrefix)
            {
                unlink(memory)
            }
        }
        try removeTree(path)
    }

    static let memoryPrefix = "saved-"

    /// Chooses and notes down the name for memory that stays on the host. Blocks.
    func chooseHostMemory(in directory: String) throws(Fault) -> String {
        let source = EntropySource()
        let name = String(source.next(), radix: 36) + String(source.next(), radix: 36)
        let memory = "\(directory)/\(Self.memoryPrefix)\(name).mem"
        try DurableFile.write(pointerPath, Array(memory.utf8), sync: false)
        return memory
    }
}
