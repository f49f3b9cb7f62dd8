internal import Glibc
internal import RoostDriver
internal import RoostLinux
internal import RoostModel

/// How much room a save or a way back needs, asked before anything is touched. What others write
/// meanwhile may still fill the disk: then it fails in the middle, and is taken back.
enum SpaceNeeded {
    /// Overlays, device state, manifests, and what databases write of it.
    static let small = ByteCount.mebibytes(16)
    /// Likewise, where memory is written by QEMU itself.
    private static let slack = ByteCount.mebibytes(64)

    /// Throws ``Reason/diskFull`` unless what a save of `machine` writes fits beside its disk. Blocks.
    static func admit(_ machine: Machine, _ order: SaveOrder) throws(Fault) {
        let folder = machine.folder
        var needed = order.memory == .onDisk ? slack.bytes : small.bytes
        // Written out wherever it goes: in the devices' file, or over the copy of the memory.
        if machine.isPrivate { needed += anonymousBytes(machine.pid) }
        if order.memory == .onDisk {
            for path in [folder.memoryPath, folder.basePath, folder.diskBasePath]
            where access(path, F_OK) == 0 {
                // Frozen memory that lies on this disk gets a further name.
                let isLinked = order.afterwards == .goesOn && device(path) == device(folder.path)
                if !isLinked { needed += try PageFile.allocated(path) }
            }
        }
        try admit(ByteCount(bytes: needed), in: folder.path, for: "keeping the machine")
    }

    /// Throws ``Reason/diskFull`` unless `needed` bytes fit in the directory `path`. Blocks.
    static func admit(
        _ needed: ByteCount = small,
        in path: String,
        for what: String
    ) throws(Fault) {
        let free = try HostFacts.free(path)
        guard free < needed else { return }
        throw Fault(
            .diskFull,
            "\(what) takes up to \(needed.mebibytes) MiB, '\(path)' has \(free.mebibytes) MiB left",
            metadata: [
                "path": path, "neededMiB": "\(needed.mebibytes)", "freeMiB": "\(free.mebibytes)",
            ]
        )
    }

    /// What a fault means where the disk of `path` is full by now: QEMU says no more than that it could
    /// not write.
    static func explained(_ fault: Fault, in path: String) async -> Fault {
        let free: ByteCount
        do throws(Fault) {
            free = try await onItsOwnThread { () throws(Fault) in try HostFacts.free(path) }
        } catch {
            // What was wrong first matters more.
            return fault
        }
        guard fault.reason == .vmmFailed || fault.reason == .ioFailed, free < .mebibytes(1) else {
            return fault
        }
        return Fault(
            .diskFull,
            "others have filled the disk of '\(path)' meanwhile: \(fault.message)",
            metadata: ["path": path, "freeMiB": "0"],
            cause: fault
        )
    }

    private static func device(_ path: String) -> UInt64? {
        var state = stat()
        return stat(path, &state) == 0 ? UInt64(state.st_dev) : nil
    }

    /// The pages that are a process's own, and no file's: proc_pid_statm(5), resident less shared. 0 for
    /// one that has ended.
    private static func anonymousBytes(_ pid: Int32) -> UInt64 {
        let text = (try? DurableFile.read("/proc/\(pid)/statm", limit: 4096)) ?? nil
        let pages = String(decoding: text ?? [], as: UTF8.self).split(separator: " ")
            .compactMap { UInt64($0) }
        guard pages.count > 2, pages[1] > pages[2] else { return 0 }
        return (pages[1] - pages[2]) * UInt64(getpagesize())
    }
}
