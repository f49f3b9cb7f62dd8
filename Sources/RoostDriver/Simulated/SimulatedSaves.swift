package import RoostModel
import Synchronization

/// What guests of a ``SimulatedHypervisor`` count, and the saved machines on its disks. A machine's
/// memory is one number: the last that its guest said, or -1.
struct SimulatedSaves {
    struct File: Hashable {
        var bytes: UInt64
        var content: Int
    }

    /// By pid.
    var memories: [Int32: Int] = [:]
    /// By VM: what all of its machines said, in order.
    var said: [VMID: [Int]] = [:]
    /// By path.
    var files: [String: File] = [:]
    /// By folder.
    var manifests: [String: SavedMachine] = [:]
}

extension SimulatedHypervisor {
    /// The guest of `id` says `count` more numbers, if it runs.
    package func work(_ id: VMID, _ count: Int = 1) {
        guard let machine = machine(of: id), !machine.isPaused else { return }
        saves.withLock { saves in
            for _ in 0..<count {
                let next = saves.memories[machine.pid, default: -1] + 1
                saves.memories[machine.pid] = next
                saves.said[id, default: []].append(next)
            }
        }
    }

    /// What the guests of `id` said.
    package func said(_ id: VMID) -> [Int] { saves.withLock { $0.said[id] ?? [] } }

    /// The folders that hold a whole saved machine, sorted.
    package var savedFolders: [String] { saves.withLock { $0.manifests.keys.sorted() } }
    /// Every file of saved machines, whole or not, sorted.
    package var savedFiles: [String] { saves.withLock { $0.files.keys.sorted() } }

    /// Takes the file `path` away, shortens it by a byte, or changes what is in it.
    package func damage(_ path: String, isMissing: Bool, shortened: Bool) {
        saves.withLock { saves in
            if isMissing {
                saves.files[path] = nil
            } else if shortened {
                saves.files[path]?.bytes -= 1
            } else {
                saves.files[path]?.content += 1
            }
        }
    }

    /// Stops the machine of `id` and writes the files of a saved machine without its manifest, as a
    /// daemon does that dies in the middle; for tests.
    package func writeHalf(of id: VMID, _ order: SaveOrder) -> Bool {
        guard let machine = machine(of: id) else { return false }
        _ = setPaused(id, true)
        return !writeParts(of: machine, order).isEmpty
    }

    /// Gives a machine the memory that is in the file `path`.
    func remember(_ pid: Int32, from path: String) {
        saves.withLock { $0.memories[pid] = $0.files[path]?.content }
    }

    /// Writes the files of a saved machine; no manifest yet.
    func writeParts(of machine: Machine, _ order: SaveOrder) -> [SavedMachine.Part] {
        saves.withLock { saves in
            let memory = saves.memories[machine.pid, default: -1]
            let size = UInt64(machine.launch.memoryMiB) << 20
            let inPlace = order.afterwards == .endsInPlace
            let disk = inPlace ? machine.launch.rootDiskPath : "\(order.folder)/root.qcow2"
            let parts: [(SavedMachine.Part.Role, String, UInt64)] = [
                (.memory, "\(order.folder)/memory.img", size),
                (.devices, "\(order.folder)/devices.bin", 4096),
                (.rootDisk, disk, 4096),
            ]
            return parts.map { role, path, bytes in
                let file = SimulatedSaves.File(bytes: bytes, content: memory)
                saves.files[path] = file
                return SavedMachine.Part(
                    role: role,
                    path: path,
                    bytes: bytes,
                    digest: digest(file)
                )
            }
        }
    }

    /// Throws ``Reason/savedStateDamaged`` unless every part is what it was.
    func check(_ saved: SavedMachine) throws(Fault) {
        let files = saves.withLock { $0.files }
        for part in saved.parts {
            let file = files[part.path]
            guard let file, file.bytes == part.bytes, digest(file) == part.digest else {
                throw Fault(
                    .savedStateDamaged,
                    "the saved \(part.role.rawValue) is \(file == nil ? "missing" : "different")",
                    metadata: ["path": part.path, "part": part.role.rawValue]
                )
            }
        }
    }

    func removeSave(_ folder: String) {
        saves.withLock { saves in
            saves.manifests[folder] = nil
            for path in saves.files.keys.filter({ $0.hasPrefix(folder + "/") }).sorted() {
                saves.files[path] = nil
            }
        }
    }

    private func digest(_ file: SimulatedSaves.File) -> String {
        let digits = String(UInt64(bitPattern: Int64(file.content)), radix: 16)
        return "sha256:" + String(repeating: "0", count: 64 - digits.count) + digits
    }
}
