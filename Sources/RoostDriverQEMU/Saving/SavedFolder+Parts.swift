internal import Glibc
internal import RoostDriver
internal import RoostLinux
internal import RoostModel

/// Bringing the parts of a saved machine into its folder: by further names where that will do, since
/// what is frozen is never written to again. All calls block.
extension SavedFolder {
    /// Keeps the memory in the file `source`, with `pages` written over it.
    func keepMemory(
        _ source: String,
        _ order: SaveOrder,
        _ pages: PrivatePages?,
        in directory: String,
        _ seals: Seals
    ) throws(Fault) -> SavedMachine.Part {
        switch order.memory {
        case .absent: throw Fault(.bug, "memory for a machine without")
        case .onHost:
            var part = try seals.part(.memory, try linkHostMemory(source, in: directory))
            part.taken = 0
            return part
        case .onDisk:
            let memory = diskMemoryPath
            // What goes on does so beside memory that is frozen; else it may be written to yet.
            if order.afterwards == .goesOn, pages == nil, try linkKept(source, seals) {
                var part = try seals.part(.memory, memory)
                part.taken = 0
                return part
            }
            let copy = try PageFile.copy(source, to: memory)
            try pages?.eachPage { offset, page throws(Fault) in
                try PageFile.write(page, to: copy, at: offset, memory)
            }
            guard fsync(copy.number) == 0 else { throw systemFault("sync", memory, errno) }
            var part = try seals.part(.memory, memory)
            part.taken = try PageFile.allocated(memory)
            return part
        }
    }

    /// Keeps the disk with what it stands on.
    func keepDisk(
        _ disk: String,
        _ order: SaveOrder,
        _ seals: Seals
    ) throws(Fault) -> [SavedMachine.Part] {
        guard order.afterwards != .endsInPlace else {
            try syncFile(disk)
            return [try seals.part(.rootDisk, disk)]
        }
        try linkAnew(disk, diskPath)
        try syncFile(diskPath)
        var root = try seals.part(.rootDisk, diskPath)
        root.taken = try PageFile.allocated(diskPath)
        var parts = [root]
        // The disk names the layers below it relatively, so they lie beside it here too.
        let from = DurableFile.directory(of: disk)
        for name in try Layers.below(disk) {
            try linkAnew("\(from)/\(name)", "\(path)/\(name)")
            parts.append(try seals.part(.diskLayer, "\(path)/\(name)"))
        }
        let name = String(disk.dropFirst(from.count + 1))
        if isLayer(name) { try linkAnew(disk, "\(path)/\(name)") }
        return parts
    }

    /// Gives frozen memory that is on the disk already its name here: the file itself, or the same
    /// memory in another saved machine beside this one. `false`: it has to be copied.
    private func linkKept(_ source: String, _ seals: Seals) throws(Fault) -> Bool {
        do throws(Fault) {
            try linkAnew(source, diskMemoryPath)
            return true
        } catch  where error.metadata["errno"] == "\(EXDEV)" {
            // It is on tmpfs.
        }
        let folder = DurableFile.directory(of: path)
        var wanted: SavedMachine.Part?
        for name in names(in: folder) where "\(folder)/\(name)" != path {
            // One that cannot be read is not this one's business.
            let other = try? SavedFolder(path: "\(folder)/\(name)").read()
            guard let part = other?.part(.memory) else { continue }
            if wanted == nil { wanted = try seals.part(.memory, source) }
            guard let memory = wanted, part.digest == memory.digest, part.bytes == memory.bytes,
                (try? seals.check(part, vm: "")) != nil
            else { continue }
            try linkAnew(part.path, diskMemoryPath)
            return true
        }
        return false
    }

    /// Gives memory that stays on the host a name of the saved machine's own; in the folder, when the
    /// memory lies on a disk already.
    private func linkHostMemory(_ source: String, in directory: String) throws(Fault) -> String {
        let memory = try chooseHostMemory(in: directory)
        do throws(Fault) {
            try linkAnew(source, memory)
            return memory
        } catch  where error.metadata["errno"] == "\(EXDEV)" {
            try linkAnew(source, diskMemoryPath)
            return diskMemoryPath
        }
    }
}
