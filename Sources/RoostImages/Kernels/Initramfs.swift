package import RoostModel

/// The first root file system of a guest: the agent as `/init` and the modules it must load.
package enum Initramfs {
    /// One module to load.
    package struct Module: Hashable, Sendable {
        /// The module's name, such as `virtio_blk`.
        package let name: String
        /// The uncompressed `.ko`.
        package let content: [UInt8]

        /// Makes a module.
        package init(name: String, content: [UInt8]) {
            self.name = name
            self.content = content
        }
    }

    /// Writes an uncompressed initramfs into `file`, which must be empty; returns its size.
    ///
    /// It holds `/init` (the agent), `/modules/NNN-NAME.ko`, `/modules.list` with one absolute
    /// path a line in the order of loading, `/dev/console`, and the directories `/dev`, `/proc`,
    /// `/sys`, `/newroot`. The same arguments give the same bytes. Does not sync.
    ///
    /// - Throws: `diskFull`, `ioFailed`.
    package static func write(
        agent: [UInt8],
        modules: [Module],
        to file: DiskFile
    ) throws(Fault) -> ByteCount {
        var archive = CpioWriter(file: file)
        for directory in ["dev", "proc", "sys", "newroot", "modules"] {
            try archive.add(directory, mode: 0o040755)
        }
        try archive.add("dev/console", mode: 0o020600, device: (5, 1))
        try archive.add("init", mode: 0o100755, content: agent)
        var list = ""
        for (index, module) in modules.enumerated() {
            let number = String(index)
            let padded = String(repeating: "0", count: max(0, 3 - number.count)) + number
            let path = "modules/\(padded)-\(module.name).ko"
            try archive.add(path, mode: 0o100644, content: module.content)
            list += "/\(path)\n"
        }
        try archive.add("modules.list", mode: 0o100644, content: Array(list.utf8))
        return try archive.finish()
    }

    /// Writes the initramfs `old` with another agent into `file`, which must be empty.
    ///
    /// A kernel unpacks archives one after the other, and a later `/init` replaces an earlier
    /// (Documentation/driver-api/early-userspace/buffer-format.rst), so nothing is taken apart.
    /// - Throws: `diskFull`, `ioFailed`.
    package static func write(
        _ old: [UInt8],
        withAgent agent: [UInt8],
        to file: DiskFile
    ) throws(Fault) {
        try file.write(old, at: 0)
        var archive = CpioWriter(file: file, at: UInt64(old.count))
        try archive.add("init", mode: 0o100755, content: agent)
        _ = try archive.finish()
    }
}
