import Crypto
import Glibc
import RoostModel

/// A kernel entry in the making: what was extracted, and then the three files made from it.
struct KernelFolder {
    /// The most modules; Debian's kernels have about 4,000.
    private static let moduleLimit = 10_000
    private let folder: String
    /// A place for what does not stay.
    let scratch: String
    private var kernel: String { "\(folder)/vmlinuz" }
    private var modulesParent: String { "\(scratch)/tree/lib/modules" }

    init(_ folder: String) throws(Fault) {
        self.folder = folder
        scratch = "\(folder)/scratch"
        try HostFolder.createAll(modulesParent)
    }

    // MARK: Getting the parts

    /// Takes kernel and modules out of a package's tar; `name` is for messages.
    func extract(_ archive: String, of name: String) throws(Fault) {
        let reader = TarReader(.file(try DiskFile.reading(archive)))
        var found = false
        while let entry = try reader.next() {
            guard case .file = entry.kind else { continue }
            let names = entry.path.names.map { String(decoding: $0.bytes, as: UTF8.self) }
            if names.count == 2, names[0] == "boot", names[1].hasPrefix("vmlinuz-") {
                guard !found else {
                    throw Fault(.kernelInvalid, "\(printable(name)) has more than one kernel")
                }
                found = true
                try save(reader, to: kernel)
            } else if let place = names.firstIndex(of: "lib"), place <= 1,
                names.dropFirst(place + 1).first == "modules", names.count > place + 3
            {
                try saveModule(reader, Array(names[(place + 2)...]))
            }
        }
        guard found else {
            throw Fault(.kernelInvalid, "\(printable(name)) has no boot/vmlinuz-*")
        }
    }

    /// Takes the kernel from a file.
    func copyKernel(_ path: String) throws(Fault) {
        let source = try DiskFile.reading(path)
        let bytes = try source.readAll(limit: .gibibytes(1))
        _ = try KernelImage(bytes, name: path)
        try HostFolder.write(bytes, to: kernel)
    }

    /// Takes the modules from `lib/modules/RELEASE` of some tree.
    func copyModules(_ path: String) throws(Fault) {
        let release = try KernelImage(readKernel(), name: "vmlinuz").release
        let archive = "\(scratch)/modules.tar"
        try Tool.require("tar", package: "tar").run(
            ["--create", "--directory", path, "."],
            output: archive,
            seconds: 300,
            failure: .kernelInvalid
        )
        let reader = TarReader(.file(try DiskFile.reading(archive)))
        while let entry = try reader.next() {
            guard case .file = entry.kind else { continue }
            let names = entry.path.names.map { String(decoding: $0.bytes, as: UTF8.self) }
            try saveModule(reader, [release] + names)
        }
    }

    private func saveModule(_ reader: TarReader, _ names: [String]) throws(Fault) {
        let parent = ([modulesParent] + names.dropLast()).joined(separator: "/")
        try HostFolder.createAll(parent)
        try save(reader, to: "\(parent)/\(names[names.count - 1])")
    }

    private func save(_ reader: TarReader, to path: String) throws(Fault) {
        let file = try DiskFile.creating(path)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
        defer { buffer.deallocate() }
        var offset: UInt64 = 0
        while case let count = try reader.readContent(into: buffer), count > 0 {
            try file.write(UnsafeRawBufferPointer(rebasing: buffer[..<count]), at: offset)
            offset += UInt64(count)
        }
    }

    // MARK: Making the entry

    /// Makes `initramfs.cpio` and `modules.img`, and drops what is not needed any more.
    func finish(agent: String, choice: ModuleChoice) throws(Fault) -> KernelManifest {
        let bytes = try readKernel()
        let release = try KernelImage(bytes, name: "vmlinuz").release
        let directory = "\(modulesParent)/\(release)"
        try HostFolder.createAll(directory)
        try decompress(directory)
        let graph = try readModules(directory)
        let hasIndex = try index(directory, release, graph)
        let agentBytes = try DiskFile.reading(agent).readAll(limit: .mebibytes(256))
        let (modules, missing) = try select(choice, from: graph, release)
        let initramfs = try DiskFile.creating("\(folder)/initramfs.cpio")
        var contents: [Initramfs.Module] = []
        for module in modules {
            let file = try DiskFile.reading("\(directory)/\(module.path)")
            let content = try file.readAll(limit: .mebibytes(64))
            contents.append(Initramfs.Module(name: module.name, content: content))
        }
        _ = try Initramfs.write(agent: agentBytes, modules: contents, to: initramfs)
        let digest = try writeModuleImage()
        try HostFolder.removeAll(scratch)
        return KernelManifest(
            formatVersion: 1,
            release: release,
            kernelDigest: hexadecimal(SHA256.hash(data: bytes)),
            modulesDigest: hexadecimal(digest),
            agentDigest: hexadecimal(SHA256.hash(data: agentBytes)),
            loadedModules: modules.map(\.name),
            missingModules: missing,
            hasModuleIndex: hasIndex
        )
    }

    private func readKernel() throws(Fault) -> [UInt8] {
        try DiskFile.reading(kernel).readAll(limit: .gibibytes(1))
    }

    private func select(
        _ choice: ModuleChoice,
        from graph: KernelModuleGraph,
        _ release: String
    ) throws(Fault) -> ([KernelModule], missing: [String]) {
        let has = { (name: String) in graph.isBuiltIn(name) || graph.module(name) != nil }
        if let absent = choice.required.first(where: { !has($0) }) {
            throw Fault(.kernelInvalid, "kernel \(release) has no \(absent), not even built in")
        }
        return (
            graph.loadOrder(choice.required + choice.wanted), choice.wanted.filter { !has($0) }
        )
    }

    /// The paths of all files below `directory`, relative to it.
    private func files(_ directory: String, _ prefix: String = "") throws(Fault) -> [String] {
        var result: [String] = []
        for name in try HostFolder.names("\(directory)/\(prefix)") {
            var status = stat()
            let path = prefix + name
            guard lstat("\(directory)/\(path)", &status) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFDIR {
                result += try files(directory, path + "/")
            } else {
                result.append(path)
            }
        }
        return result
    }

    /// Unpacks compressed modules: the agent and busybox load plain ones only.
    private func decompress(_ directory: String) throws(Fault) {
        let all = try files(directory)
        let tools: [(suffix: String, name: String, package: String, options: [String])] = [
            (".ko.xz", "xz", "xz-utils", ["--decompress"]),
            (".ko.gz", "gzip", "gzip", ["--decompress"]),
            (".ko.zst", "zstd", "zstd", ["--decompress", "--rm", "--quiet"]),
        ]
        for (suffix, name, package, options) in tools {
            let packed = all.filter { $0.hasSuffix(suffix) }
            guard !packed.isEmpty else { continue }
            let tool = try Tool.require(name, package: package)
            for start in stride(from: 0, to: packed.count, by: 500) {
                let part = packed[start..<min(start + 500, packed.count)]
                try tool.run(
                    options + ["--"] + part.map { "\(directory)/\($0)" },
                    output: "\(scratch)/unpack",
                    seconds: 300,
                    failure: .kernelInvalid
                )
            }
        }
    }

    private func readModules(_ directory: String) throws(Fault) -> KernelModuleGraph {
        var modules: [KernelModule] = []
        for path in try files(directory) where path.hasSuffix(".ko") {
            guard modules.count < Self.moduleLimit else {
                throw Fault(.kernelInvalid, "the kernel has over \(Self.moduleLimit) modules")
            }
            let bytes = try DiskFile.reading("\(directory)/\(path)")
                .readAll(limit: .mebibytes(256))
            modules.append(try KernelModule(bytes, path: path))
        }
        var builtin = ""
        if HostFolder.exists("\(directory)/modules.builtin") {
            let bytes = try DiskFile.reading("\(directory)/modules.builtin")
                .readAll(limit: .mebibytes(4))
            builtin = String(decoding: bytes, as: UTF8.self)
        }
        return KernelModuleGraph(modules, builtin: builtin)
    }

    /// Writes what modprobe reads. depmod makes all of it; without depmod the text that busybox
    /// needs is written here. Returns whether kmod's modprobe will do too.
    private func index(
        _ directory: String,
        _ release: String,
        _ graph: KernelModuleGraph
    ) throws(Fault) -> Bool {
        if let depmod = Tool.find("depmod") {
            try depmod.run(
                ["-b", "\(scratch)/tree", release],
                output: "\(scratch)/depmod",
                seconds: 120,
                failure: .kernelInvalid
            )
            return true
        }
        let path = "\(directory)/modules.dep"
        if HostFolder.exists("\(path).bin") { return true }
        try HostFolder.removeAll(path)
        try HostFolder.write(Array(try graph.dependencyText().utf8), to: path)
        return false
    }

    private func writeModuleImage() throws(Fault) -> [UInt8] {
        var bytes: UInt64 = 0
        for path in try files(modulesParent) {
            bytes += try (DiskFile.reading("\(modulesParent)/\(path)").size().bytes + 8191)
        }
        // An inode table of a sixteenth, and room for the directories.
        let size = ((bytes + bytes / 8) >> 20) + 8
        let file = try DiskFile.creating("\(folder)/modules.img", mode: 0o444)
        let builder = try Ext4Builder(file: file, size: .mebibytes(size), journal: false)
        try builder.add(
            hostDirectory: "\(scratch)/tree",
            owners: .all(user: 0, group: 0),
            modified: .epoch
        )
        return try builder.finish().treeDigest
    }
}
