internal import Glibc
package import RoostHost
internal import RoostLinux
package import RoostModel

/// Where a kernel's parts are. Paths are absolute.
package struct KernelPaths: Sendable, Hashable {
    package var kernel: String
    package var initramfs: String
    package var modules: String?

    package init(kernel: String, initramfs: String, modules: String?) {
        self.kernel = kernel
        self.initramfs = initramfs
        self.modules = modules
    }
}

/// What ``NodeFiles`` needs from those who know disks and the catalogue.
package struct NodeFileTools: Sendable {
    /// Makes an overlay disk at a path over a backing file of a format, of a virtual size in GiB.
    package var makeOverlay:
        @Sendable (_ path: String, _ backing: String, _ format: DiskFormat, _ gibibytes: Int)
            async throws(Fault) -> Void
    /// Makes a disk at a path that has every byte of another and stands on nothing.
    package var flattenDisk:
        @Sendable (_ source: String, _ path: String) async throws(Fault) -> Void
    /// Makes the virtual size of the disk at a path at least that many GiB.
    package var growDisk: @Sendable (_ path: String, _ gibibytes: Int) async throws(Fault) -> Void
    /// The root file system's image of an image digest.
    package var imagePath: @Sendable (_ digest: String) async throws(Fault) -> String
    /// The parts of the kernel with that digest.
    package var kernelPaths: @Sendable (_ digest: String) async throws(Fault) -> KernelPaths

    package init(
        makeOverlay:
            @escaping @Sendable (String, String, DiskFormat, Int) async throws(Fault) -> Void,
        flattenDisk: @escaping @Sendable (String, String) async throws(Fault) -> Void,
        growDisk: @escaping @Sendable (String, Int) async throws(Fault) -> Void,
        imagePath: @escaping @Sendable (String) async throws(Fault) -> String,
        kernelPaths: @escaping @Sendable (String) async throws(Fault) -> KernelPaths
    ) {
        self.makeOverlay = makeOverlay
        self.flattenDisk = flattenDisk
        self.growDisk = growDisk
        self.imagePath = imagePath
        self.kernelPaths = kernelPaths
    }
}

/// The VMs' directories below a state directory.
///
/// ```text
///  vms/.new-<id> ──prepare──▶ vms/<id> ──discard──▶ trash/<id> ──purge──▶ trash/.gone-<id> ──▶ ∅
///                                 ▲                    │
///                                 └──────restore───────┘
/// ```
/// Each arrow is one rename, so a crash leaves one side or the other. Names that begin with a dot
/// are ours and unfinished: the next call for that VM removes them.
package struct NodeFiles: VMFiles {
    let root: String
    let memoryDirectory: String
    let tools: NodeFileTools

    /// Makes the directories that are missing. Throws ``Reason/ioFailed``. Blocks shortly.
    package init(
        stateDirectory: String,
        memoryDirectory: String,
        tools: NodeFileTools
    ) throws(Fault) {
        root = stateDirectory
        self.memoryDirectory = memoryDirectory
        self.tools = tools
        for folder in ["\(root)/vms", "\(root)/trash", "\(root)/templates", "\(root)/forks"] {
            try makeDirectory(folder)
            // A former daemon may have died between a rename and its sync. What this one sees, and
            // builds on, must be there after a cut of the power too.
            try DurableFile.syncDirectory(folder)
        }
    }

    package func prepare(_ id: VMID, spec: VMSpec) async throws(Fault) {
        if isDirectory(live(id)) { return }
        try await stage(id, over: try await tools.imagePath(spec.image), .raw, spec: spec)
    }

    /// Makes the directory beside its place, with small files of these names and contents and further
    /// names for the files `links`, and renames it there. What is not durable may be gone or cut short after a power cut.
    func stage(
        _ id: VMID,
        over backing: String,
        _ format: DiskFormat,
        spec: VMSpec,
        marks: [String: String] = [:],
        links: [String] = [],
        isDurable: Bool = true
    ) async throws(Fault) {
        let make = tools.makeOverlay
        try await stage(id, marks: marks, links: links, isDurable: isDurable) {
            path throws(Fault) in
            try await make(path, backing, format, spec.rootDiskGiB)
        }
    }

    /// Likewise, with the root disk that `makeDisk` makes at the path it is given.
    func stage(
        _ id: VMID,
        marks: [String: String],
        links: [String] = [],
        isDurable: Bool = true,
        _ makeDisk: (String) async throws(Fault) -> Void
    ) async throws(Fault) {
        let staging = "\(root)/vms/.new-\(id)"
        try await onItsOwnThread { () throws(Fault) in
            try removeTree(staging)
            try makeDirectory(staging)
            for path in links {
                try linkAnew(path, "\(staging)/\(path.split(separator: "/").last ?? "")")
            }
        }
        do throws(Fault) {
            try await makeDisk("\(staging)/root.qcow2")
            try await onItsOwnThread { () throws(Fault) in
                for (name, text) in marks {
                    let path = "\(staging)/\(name)"
                    try DurableFile.write(path, Array(text.utf8), sync: isDurable)
                }
                if isDurable {
                    try syncFile("\(staging)/root.qcow2")
                    try DurableFile.syncDirectory(staging)
                }
                try move(staging, live(id))
                if isDurable { try DurableFile.syncDirectory("\(root)/vms") }
            }
        } catch {
            // The reason of the failure matters more than that of a failed clean-up, which the next
            // call repeats.
            try? await onItsOwnThread { () throws(Fault) in try removeTree(staging) }
            throw error
        }
    }

    package func growRootDisk(_ id: VMID, toGiB gibibytes: Int) async throws(Fault) {
        try await tools.growDisk(checkedDisk(id), gibibytes)
    }

    package func launch(
        _ id: VMID,
        name: String,
        spec: VMSpec,
        generation: Int
    ) async throws(Fault) -> VMPaths {
        let disk = try checkedDisk(id)
        let kernel = try await tools.kernelPaths(spec.kernel)
        return VMPaths(
            directory: live(id),
            kernel: kernel.kernel,
            initramfs: kernel.initramfs,
            modules: kernel.modules,
            rootDisk: disk,
            memoryDirectory: memoryDirectory
        )
    }

    package func discard(_ id: VMID) async throws(Fault) {
        try await onItsOwnThread { () throws(Fault) in
            guard isDirectory(live(id)) else { return }
            try move(live(id), trash(id))
            try DurableFile.syncDirectory("\(root)/trash")
            try DurableFile.syncDirectory("\(root)/vms")
        }
    }

    package func restore(_ id: VMID) async throws(Fault) {
        try await onItsOwnThread { () throws(Fault) in
            if isDirectory(live(id)) { return }
            guard isDirectory(trash(id)) else {
                throw Fault(.vmNotFound, "VM \(id.short) has no directory and none in the trash")
            }
            try move(trash(id), live(id))
            try DurableFile.syncDirectory("\(root)/vms")
            try DurableFile.syncDirectory("\(root)/trash")
        }
    }

    package func purge(_ id: VMID) async throws(Fault) {
        try await onItsOwnThread { () throws(Fault) in
            let gone = "\(root)/trash/.gone-\(id)"
            for path in [live(id), trash(id)] where isDirectory(path) {
                try removeTree(gone)
                try move(path, gone)
            }
            // Once it is said to be purged, no cut of the power may bring it back.
            try DurableFile.syncDirectory("\(root)/trash")
            try DurableFile.syncDirectory("\(root)/vms")
            try removeTree(gone)
            try removeTree("\(root)/vms/.new-\(id)")
        }
    }

    package func place(_ id: VMID) async throws(Fault) -> DisksPlace {
        // Two stat(2) calls on a local directory: not worth a thread.
        if isDirectory(live(id)) { return .live }
        return isDirectory("\(root)/trash/\(id)") ? .trashed : .missing
    }

    package func inventory() async throws(Fault) -> FileInventory {
        try await onItsOwnThread { () throws(Fault) in
            var inventory = FileInventory(live: [], trashed: [], strange: [])
            for name in names(in: "\(root)/vms") where !name.hasPrefix(".new-") {
                if let id = VMID(name), isDirectory("\(root)/vms/\(name)") {
                    inventory.live.append(id)
                } else {
                    inventory.strange.append("vms/\(name)")
                }
            }
            for name in names(in: "\(root)/trash") where !name.hasPrefix(".gone-") {
                if let id = VMID(name), isDirectory("\(root)/trash/\(name)") {
                    inventory.trashed.append(id)
                } else {
                    inventory.strange.append("trash/\(name)")
                }
            }
            inventory.live.sort()
            inventory.trashed.sort()
            return inventory
        }
    }

    package func readLog(
        _ id: VMID,
        _ source: LogSource,
        from offset: UInt64,
        follow: Bool
    ) async throws(Fault) -> LogChunk {
        while true {
            let folder = try logFolder(id)
            let log = BoundedLog("\(folder)/\(source.rawValue).log")
            // Watched before it is read, so that no byte between the two is missed.
            let watch = follow ? try? FileWatch(log.path, .contents) : nil
            let arrival = follow && watch == nil ? try FileWatch(folder, .entries) : nil
            let chunk = try await onItsOwnThread { () throws(Fault) in
                let (bytes, next, isEnd) = try log.read(from: offset)
                return LogChunk(bytes: bytes, nextOffset: next, isEnd: isEnd)
            }
            guard follow, chunk.bytes.isEmpty else { return chunk }
            if Task.isCancelled { throw Fault(.opCancelled, "following the log was cancelled") }
            await (watch ?? arrival)?.changed()
        }
    }

    private func logFolder(_ id: VMID) throws(Fault) -> String {
        for path in [live(id), trash(id)] where isDirectory(path) { return path }
        throw Fault(.vmNotFound, "VM \(id.short) has no directory", metadata: ["vm": "\(id)"])
    }

    func live(_ id: VMID) -> String { "\(root)/vms/\(id)" }
    func trash(_ id: VMID) -> String { "\(root)/trash/\(id)" }

    func checkedDisk(_ id: VMID) throws(Fault) -> String {
        let path = "\(live(id))/root.qcow2"
        var state = stat()
        guard lstat(path, &state) == 0, state.st_mode & S_IFMT == S_IFREG else {
            throw Fault(
                .stateUnreadable,
                "VM \(id.short) has no root disk at '\(path)'",
                metadata: ["path": path, "vm": "\(id)"]
            )
        }
        return path
    }
}
