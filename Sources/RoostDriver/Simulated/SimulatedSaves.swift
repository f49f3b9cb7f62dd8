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
    /// By pid.
    var guests: [Int32: SimulatedGuest] = [:]
    /// By the path of the memory that it is in.
    var keptGuests: [String: SimulatedGuest] = [:]
    /// By VM: what all of its machines said, in order.
    var said: [VMID: [Int]] = [:]
    /// By VM: how far its last machine came, -1 when that has said nothing. Its disk is as far.
    var counts: [VMID: Int] = [:]
    /// By path.
    var files: [String: File] = [:]
    /// By folder.
    var manifests: [String: SavedMachine] = [:]
    /// Folders whose manifest cannot be understood.
    var unreadable: Set<String> = []
    /// By VM: the folders of what it was brought back to, in order.
    var reverts: [VMID: [String]] = [:]
}

extension SimulatedHypervisor {
    /// The guest of `id` says `count` more numbers, if it runs.
    package func work(_ id: VMID, _ count: Int = 1) {
        guard let machine = machine(of: id), !machine.isPaused else { return }
        saves.withLock { saves in
            guard saves.guests[machine.pid]?.isHeld != true else { return }
            for _ in 0..<count {
                let next = saves.memories[machine.pid, default: -1] + 1
                saves.memories[machine.pid] = next
                saves.counts[id] = next
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

    /// Makes the manifest in `folder` one that nobody understands.
    package func damageManifest(_ folder: String) {
        saves.withLock { saves in
            if saves.manifests[folder] != nil { saves.unreadable.insert(folder) }
        }
    }

    /// The folders of what `id` was brought back to, in order.
    package func reverts(of id: VMID) -> [String] { saves.withLock { $0.reverts[id] ?? [] } }

    /// How far the guest had counted whose whole machine, with its memory, is in `folder`.
    package func keptMemory(in folder: String) -> Int? {
        saves.withLock { saves in
            saves.manifests[folder]?.part(.memory).flatMap { saves.files[$0.path]?.content }
        }
    }

    /// Whether the folder holds a whole saved machine whose parts are what they were.
    package func isIntact(_ folder: String) -> Bool {
        do throws(Fault) {
            guard let saved = try manifest(folder) else { return false }
            try check(saved)
            return true
        } catch {
            return false
        }
    }

    func manifest(_ folder: String) throws(Fault) -> SavedMachine? {
        let (saved, isUnreadable) = saves.withLock {
            ($0.manifests[folder], $0.unreadable.contains(folder))
        }
        guard isUnreadable else { return saved }
        throw Fault(
            .savedStateDamaged,
            "the manifest in '\(folder)' cannot be understood",
            metadata: ["path": folder, "part": "manifest"]
        )
    }

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
    func remember(_ machine: Machine, from path: String) {
        saves.withLock { saves in
            let memory = saves.files[path]?.content
            saves.memories[machine.pid] = memory
            var guest = saves.keptGuests[path] ?? SimulatedGuest(identity: machine.launch.id)
            guest.isStale = true
            guest.refusals = 0
            saves.guests[machine.pid] = guest
            // One that goes on over its own disk must be where that is.
            if !machine.goesOnInPlace { saves.counts[machine.launch.id] = memory }
        }
    }

    /// How far the disk of `id` is: what its last machine said last, -1 when that was nothing.
    package func diskCount(of id: VMID) -> Int { saves.withLock { $0.counts[id] ?? -1 } }

    /// The last number of the machine `pid`; `nil` when it has just booted.
    package func memory(of pid: Int32) -> Int? { saves.withLock { $0.memories[pid] } }

    /// Whether the folder holds a whole saved machine.
    package func isWhole(_ folder: String) -> Bool {
        saves.withLock { $0.manifests[folder] != nil }
    }

    /// Takes away all folders of saved machines that `isLost` says, as a cut of the power does.
    package func loseSaves(where isLost: (String) -> Bool) {
        let folders = saves.withLock { saves in
            let files = saves.files.keys.compactMap { path in
                path.lastIndex(of: "/").map { String(path[..<$0]) }
            }
            return Set(files).union(saves.manifests.keys)
        }
        for folder in folders.sorted() where isLost(folder) { removeSave(folder) }
    }

    /// Takes away everything that is kept in the directory of `id`, as removing that does.
    package func removeSaves(of id: VMID) { removeSave("/simulated/vms/\(id)") }

    /// Makes the VM of `launch` what was saved, in one step: the machine that it has, if it has one, is
    /// another process then, or none.
    func revert(
        _ launch: VMLaunch,
        to saved: SavedMachine,
        _ behaviour: MachineBehaviour,
        by driver: Int
    ) {
        let old = machine(of: launch.id)
        saves.withLock { $0.reverts[launch.id, default: []].append(saved.order.folder) }
        guard let memory = saved.part(.memory) else {
            if let old { end(old.pid, .killed(signal: 9)) }
            saves.withLock { saves in
                saves.counts[launch.id] = saves.files[saved.rootDiskPath]?.content
            }
            return
        }
        if let old, succeed(old.pid, by: driver, isPaused: false, as: launch) {
            if let next = machine(of: launch.id) { remember(next, from: memory.path) }
            // Also one that had gone on in place has another disk now.
            saves.withLock { $0.counts[launch.id] = $0.files[memory.path]?.content }
            return
        }
        let next = spawn(launch, behaviour, by: driver, loaded: saved.order)
        remember(next, from: memory.path)
        _ = setRan(launch.id)
        _ = setPaused(launch.id, false)
    }

    /// Gives a saved machine a further folder.
    func share(_ saved: SavedMachine, in folder: String) {
        folders(folder, true)
        saves.withLock { saves in
            var copy = saved
            copy.order.folder = folder
            for index in copy.parts.indices {
                let name = saved.parts[index].path.split(separator: "/").last ?? ""
                copy.parts[index].path = "\(folder)/\(name)"
                saves.files["\(folder)/\(name)"] = saves.files[saved.parts[index].path]
                saves.keptGuests["\(folder)/\(name)"] =
                    saves.keptGuests[saved.parts[index].path]
            }
            saves.manifests[folder] = copy
        }
    }

    /// Writes the files of a saved machine; no manifest yet.
    func writeParts(of machine: Machine, _ order: SaveOrder) -> [SavedMachine.Part] {
        let memory = saves.withLock { $0.memories[machine.pid, default: -1] }
        let parts = writeParts(of: machine.launch, order, memory: memory)
        saves.withLock { saves in
            for part in parts where part.role == .memory {
                saves.keptGuests[part.path] = saves.guests[machine.pid]
            }
        }
        return parts
    }

    /// Likewise of the VM of `launch`, whose memory or disk is at `memory`.
    func writeParts(
        of launch: VMLaunch,
        _ order: SaveOrder,
        memory: Int
    ) -> [SavedMachine.Part] {
        folders(order.folder, true)
        return saves.withLock { saves in
            let size = UInt64(launch.memoryMiB) << 20
            let inPlace = order.afterwards == .endsInPlace
            let disk = inPlace ? launch.rootDiskPath : "\(order.folder)/root.qcow2"
            var parts: [(SavedMachine.Part.Role, String, UInt64)] = [(.rootDisk, disk, 4096)]
            if order.memory != .absent {
                parts += [
                    (.memory, "\(order.folder)/memory.img", size),
                    (.devices, "\(order.folder)/devices.bin", 4096),
                ]
            }
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
            // Also every folder in it: a VM's checkpoints go together.
            let within = saves.manifests.keys.filter { $0.hasPrefix(folder + "/") }
            for folder in [folder] + within.sorted() {
                saves.manifests[folder] = nil
                saves.unreadable.remove(folder)
            }
            for path in saves.files.keys.filter({ $0.hasPrefix(folder + "/") }).sorted() {
                saves.files[path] = nil
                saves.keptGuests[path] = nil
            }
        }
        folders(folder, false)
    }

    private func digest(_ file: SimulatedSaves.File) -> String {
        let digits = String(UInt64(bitPattern: Int64(file.content)), radix: 16)
        return "sha256:" + String(repeating: "0", count: 64 - digits.count) + digits
    }
}
