internal import Glibc
internal import RoostDriver
internal import RoostLinux
internal import RoostModel

/// A VM's directory as the driver uses it: sockets, logs, scratch file; and its memory file.
struct MachineFolder: Sendable {
    static let controlSocket = "qmp.sock"
    static let agentSocket = "agent.sock"
    static let handlesFile = "handles.json"
    static let memoryPrefix = "roost-"
    static let memorySuffix = ".mem"
    static let baseSuffix = ".base"
    /// Where QEMU sends its state while it is saved.
    static let migrationSocket = "migrate.sock"
    /// The sockets of a successor until it takes over.
    static let nextControlSocket = "next-qmp.sock"
    static let nextAgentSocket = "next-agent.sock"

    let path: String
    let memoryPath: String
    /// A further name of the frozen memory that a machine maps privately, so that it can be saved
    /// again when the saved machine it came from is gone: beside the memory files, or in `path` when
    /// that is where the frozen memory's file system is.
    let basePath: String
    var diskBasePath: String { "\(path)/memory.base" }
    /// Likewise for the devices' file that it was started from, for the small memory blocks in it.
    var devicesBasePath: String { "\(path)/devices.base" }
    /// What QEMU writes of its devices when a machine on private pages is saved.
    static let devicesScratch = "devices.new"
    /// The disk that a successor runs on until it takes over.
    static let nextDisk = "root.next.qcow2"
    /// The disk that a VM goes back to, until it has its usual name.
    static let backDisk = "root.back.qcow2"

    init(id: VMID, path: String, memoryDirectory: String) {
        self.path = path
        let memory = "\(memoryDirectory)/\(Self.memoryPrefix)\(id)"
        memoryPath = memory + Self.memorySuffix
        basePath = memory + Self.baseSuffix
    }

    /// What the guest's kernel and console said.
    var console: BoundedLog { BoundedLog("\(path)/console.log") }
    /// What the guest's commands, kernel and agent wrote for its log.
    var guest: BoundedLog { BoundedLog("\(path)/guest.log") }
    /// What QEMU said, and our own notes about it.
    var messages: BoundedLog { BoundedLog("\(path)/vmm.log", kept: 256 << 10) }
    var handlesPath: String { "\(path)/\(Self.handlesFile)" }

    /// The beginning of our lines in vmm.log; the last one that says `started` begins a run.
    private static let mark = "roost: "
    private static let started = "roost: started"
    /// What QEMU's trace says before it ends (ShutdownCause in QEMU's run-state.json; 6 is the
    /// guest's own power-off).
    private static let trace = "qemu_system_shutdown_request reason="
    private static let powerOff = "qemu_system_shutdown_request reason=6"

    /// Opens vmm.log for appending, as the VMM's standard error, and marks the beginning of a run.
    /// Makes the guest's logs too, so that their bounds can be kept from the first byte.
    func openMessages(generation: Int) throws(Fault) -> Descriptor {
        let flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW
        for log in [console, guest] {
            let number = open(log.path, flags, 0o600)
            guard number >= 0 else { throw systemFault("open", log.path, errno) }
            Descriptor(number).close()
        }
        let number = open(messages.path, flags, 0o600)
        guard number >= 0 else { throw systemFault("open", messages.path, errno) }
        let file = Descriptor(number)
        append(file, "\(Self.started) generation \(generation)\n")
        return file
    }

    /// Writes a line of ours into vmm.log. Losing it is better than failing.
    func note(_ text: String) {
        let number = open(messages.path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW)
        guard number >= 0 else { return }
        append(Descriptor(number), Self.mark + text + "\n")
    }

    private func append(_ file: Descriptor, _ line: String) {
        let bytes = Array(line.utf8)
        _ = bytes.withUnsafeBytes { write(file.number, $0.baseAddress, $0.count) }
    }

    /// What the last run's log says of its end: a power-off by the guest, or nothing.
    func exitReport() async -> VMMExit {
        let text = (try? await onItsOwnThread { () throws(Fault) in messages.lastWords() }) ?? ""
        return Self.exitReport(from: text)
    }

    /// As ``exitReport()``, from the log's last words.
    static func exitReport(from text: String) -> VMMExit {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: true)
        if let start = lines.lastIndex(where: { $0.hasPrefix(started) }) {
            lines.removeFirst(start + 1)
        }
        let poweredOff = lines.contains { $0.contains(powerOff) }
        let words = lines.filter { !$0.contains(trace) }.joined(separator: "\n")
        return VMMExit(cause: poweredOff ? .guestPoweredOff : .unknown, lastWords: words)
    }

    /// Removes what only a living VMM needs: sockets, memory file, scratch file. May be repeated.
    func clean() async {
        _ = try? await onItsOwnThread { () throws(Fault) in cleanNow() }
    }

    /// As ``clean()``; blocks.
    func cleanNow() {
        removeMemory()
        for path in [basePath, diskBasePath, devicesBasePath] { unlink(path) }
        cleanScratch()
        for name in [Self.controlSocket, Self.agentSocket, Self.handlesFile] {
            unlink("\(path)/\(name)")
        }
    }

    /// Removes what only a save or a hand-over needs while it goes on. Blocks.
    func cleanScratch() {
        let names = [
            Self.migrationSocket, Self.devicesScratch, Self.nextControlSocket,
            Self.nextAgentSocket, Self.nextDisk,
        ]
        for name in names { unlink("\(path)/\(name)") }
        for name in RoostDriverQEMU.names(in: path) where name.hasPrefix(HandOver.prefix) {
            unlink("\(path)/\(name)")
        }
    }

    /// Gives the frozen memory and devices of a saved machine names of this machine's own; returns
    /// the memory's. Blocks.
    func linkBase(memory: String, devices: String) throws(Fault) -> String {
        try linkAnew(devices, devicesBasePath)
        for base in [basePath, diskBasePath] {
            do throws(Fault) {
                try linkAnew(memory, base)
                return base
            } catch  where error.metadata["errno"] == "\(EXDEV)" {
                continue
            }
        }
        throw systemFault("link", memory, EXDEV)
    }

    /// Takes the memory file's name away at once and gives its pages back behind the caller's back:
    /// freeing gigabytes takes long, and nobody waits for that.
    private func removeMemory() {
        let number = open(memoryPath, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        unlink(memoryPath)
        guard number >= 0 else { return }
        let file = Descriptor(number)
        Task { try? await onItsOwnThread { () throws(Fault) in file.close() } }
    }

    /// Makes the memory file, sparse. Throws ``Reason/memoryFull`` when its file system cannot hold
    /// it beside what other VMs were promised and have not touched yet.
    func makeMemory(mebibytes: Int) throws(Fault) {
        unlink(memoryPath)
        let folder = DurableFile.directory(of: memoryPath)
        try makeDirectory(folder)
        let wanted = UInt64(mebibytes) << 20
        let free = try HostFacts.free(folder).bytes
        let promised = Self.promisedMemory(in: folder)
        guard free >= promised, free - promised >= wanted else {
            throw Fault(
                .memoryFull,
                "\(mebibytes) MiB do not fit in '\(folder)': \(free >> 20) MiB are free, "
                    + "\(promised >> 20) MiB of them promised to other VMs",
                metadata: ["path": folder]
            )
        }
        let number = open(memoryPath, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard number >= 0 else { throw systemFault("create", memoryPath, errno) }
        let file = Descriptor(number)
        guard ftruncate(file.number, Int(wanted)) == 0 else {
            let problem = errno
            unlink(memoryPath)
            throw systemFault("size", memoryPath, problem)
        }
    }

    /// The frozen memory that this machine maps, if it maps one.
    var presentBase: String? {
        [basePath, diskBasePath].first { access($0, F_OK) == 0 }
    }

    /// Throws ``Reason/memoryFull`` unless the host has room for a machine that comes to write all of
    /// its pages. They are nobody's file, so it is the host's memory that counts. Blocks.
    static func admitPrivate(mebibytes: Int) throws(Fault) {
        let available = HostFacts.memory().available.bytes
        guard available >= UInt64(mebibytes) << 20 else {
            throw Fault(
                .memoryFull,
                "\(mebibytes) MiB do not fit: the host has \(available >> 20) MiB left"
            )
        }
    }

    /// Bytes that the memory files in `folder` may still come to need.
    private static func promisedMemory(in folder: String) -> UInt64 {
        memoryFiles(in: folder).reduce(0) { sum, file in
            var state = stat()
            guard lstat(file.path, &state) == 0 else { return sum }
            let missing = Int64(state.st_size) - Int64(state.st_blocks) * 512
            return sum + UInt64(clamping: missing)
        }
    }

    /// The memory files in `folder` that VMMs write to, by VM.
    static func memoryFiles(in folder: String) -> [(id: VMID, path: String)] {
        files(in: folder, suffix: memorySuffix)
    }

    /// Likewise the frozen ones that VMMs map.
    static func baseFiles(in folder: String) -> [(id: VMID, path: String)] {
        files(in: folder, suffix: baseSuffix)
    }

    private static func files(in folder: String, suffix: String) -> [(id: VMID, path: String)] {
        names(in: folder).compactMap { name in
            guard name.hasPrefix(memoryPrefix), name.hasSuffix(suffix),
                let id = VMID(name.dropFirst(memoryPrefix.count).dropLast(suffix.count))
            else { return nil }
            return (id, "\(folder)/\(name)")
        }
    }
}

/// The names in a directory, sorted; none when it cannot be read.
func names(in path: String) -> [String] {
    guard let folder = opendir(path) else { return [] }
    defer { closedir(folder) }
    var found: [String] = []
    while let entry = readdir(folder) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name != "." && name != ".." { found.append(name) }
    }
    return found.sorted()
}

/// Gives the file `from` the further name `to`, replacing what has it. A different file system is
/// metadata `errno`. Blocks.
func linkAnew(_ from: String, _ to: String) throws(Fault) {
    if isSameFile(from, to) { return }
    unlink(to)
    guard link(from, to) == 0 else {
        let problem = errno
        var fault = systemFault("link", to, problem)
        fault.metadata["errno"] = "\(problem)"
        throw fault
    }
}

/// Whether both names are the same file's.
func isSameFile(_ left: String, _ right: String) -> Bool {
    var (one, other) = (stat(), stat())
    return lstat(left, &one) == 0 && lstat(right, &other) == 0 && one.st_dev == other.st_dev
        && one.st_ino == other.st_ino
}
