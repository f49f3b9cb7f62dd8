import Foundation
import RoostModel
import Testing

@testable import RoostImages

@Suite("kernels")
struct KernelTests {
    private let folder: TemporaryFolder
    private let kernels: KernelCatalogue
    private let agent: String

    init() throws {
        folder = try TemporaryFolder()
        kernels = KernelCatalogue(directory: folder.file("kernels"))
        agent = folder.file("agent")
        try HostFolder.write(Array("the agent".utf8), to: agent)
    }

    /// Just enough of a bzImage to be recognised.
    private func kernelFile(release: String = "6.1.0-test") -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 4096)
        bytes.put(UInt16(0xAA55), at: 0x1FE)
        bytes.put(Array("HdrS".utf8), at: 0x202)
        bytes.put(UInt16(0x400), at: 0x20E)
        bytes.put(Array("\(release) (someone@somewhere) #1".utf8), at: 0x600)
        return bytes
    }

    /// Just enough of a module: an ELF object with a `.modinfo`.
    private func module(_ name: String, depends: String = "", more: [String] = []) -> [UInt8] {
        let strings = Array("\u{0}.modinfo\u{0}.shstrtab\u{0}".utf8)
        let lines = ["name=\(name)", "depends=\(depends)"] + more
        let info = Array(lines.map { $0 + "\u{0}" }.joined().utf8)
        var bytes: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1] + Array(repeating: 0, count: 57)
        bytes.put(UInt16(1), at: 16)
        bytes.put(UInt16(62), at: 18)
        bytes.put(UInt16(64), at: 0x34)
        bytes.put(UInt16(64), at: 0x3A)
        bytes.put(UInt16(3), at: 0x3C)
        bytes.put(UInt16(2), at: 0x3E)
        bytes.put(UInt64(64), at: 0x28)
        var table = [UInt8](repeating: 0, count: 192)
        for (index, name, offset, size) in [
            (1, 1, 256, info.count), (2, 10, 256 + info.count, strings.count),
        ] {
            table.put(UInt32(name), at: index * 64)
            table.put(UInt64(offset), at: index * 64 + 0x18)
            table.put(UInt64(size), at: index * 64 + 0x20)
        }
        return bytes + table + info + strings
    }

    private func graph() throws -> KernelModuleGraph {
        KernelModuleGraph(
            [
                try KernelModule(module("virtio_blk", depends: "virtio,virtio_ring"), path: "b.ko"),
                try KernelModule(module("virtio", depends: "virtio-ring"), path: "v.ko"),
                try KernelModule(module("virtio_ring"), path: "r.ko"),
                try KernelModule(
                    module("ext4", depends: "jbd2", more: ["softdep=pre: crc32c post: other"]),
                    path: "e.ko"
                ),
                try KernelModule(module("jbd2", depends: "ext4"), path: "j.ko"),
                try KernelModule(module("crc32c_intel", more: ["alias=crc32c"]), path: "ci.ko"),
                try KernelModule(module("crc32c_generic", more: ["alias=crc32c"]), path: "cg.ko"),
                try KernelModule(module("other"), path: "o.ko"),
            ],
            builtin: "kernel/drivers/virtio/virtio-pci.ko\n"
        )
    }

    @Test func modulesComeAfterWhatTheyNeedEvenInACircle() throws {
        let graph = try graph()
        let order = graph.loadOrder(["virtio_blk", "virtio_pci", "ext4", "absent"]).map(\.name)
        #expect(order == ["virtio_ring", "virtio", "virtio_blk", "crc32c_generic", "jbd2", "ext4"])
        #expect(graph.isBuiltIn("virtio-pci") && !graph.isBuiltIn("virtio"))
        #expect(try graph.dependencyText().contains("b.ko: v.ko r.ko\n"))
    }

    // By recursion a long chain was the end of the process.
    @Test func aLongChainOfModulesIsFollowedToItsEnd() throws {
        let modules = try (0..<30_000).map { index in
            try KernelModule(
                module("m\(index)", depends: "m\(index + 1)"),
                path: "m\(index).ko"
            )
        }
        let graph = KernelModuleGraph(modules, builtin: "")
        #expect(graph.loadOrder(["m0"]).map(\.name) == modules.map(\.name).reversed())
        let fault = #expect(throws: Fault.self) { try graph.dependencyText(limit: 1 << 18) }
        #expect(fault?.reason == .kernelInvalid)
    }

    @Test func aBrokenModuleIsRefusedAndNeverTraps() throws {
        let sound = module("m", depends: "n")
        #expect(throws: Fault.self) { try KernelModule([1, 2, 3], path: "x.ko") }
        for length in 0..<sound.count { _ = try? KernelModule(Array(sound[..<length]), path: "x") }
        for index in 0..<256 {
            var bytes = sound
            bytes[index] = 0xFF
            _ = try? KernelModule(bytes, path: "x")
        }
    }

    @Test func aPackageBecomesKernelInitramfsAndModules() throws {
        let tree = folder.file("tree")
        let modules = "\(tree)/lib/modules/6.1.0-test/kernel"
        try HostFolder.createAll(modules)
        try HostFolder.createAll("\(tree)/boot")
        try HostFolder.createAll("\(tree)/DEBIAN")
        let control =
            "Package: k\nVersion: 1\nArchitecture: amd64\nMaintainer: a <a@b>\n"
            + "Description: k\n"
        try HostFolder.write(Array(control.utf8), to: "\(tree)/DEBIAN/control")
        try HostFolder.write(kernelFile(), to: "\(tree)/boot/vmlinuz-6.1.0-test")
        try HostFolder.write(
            module("virtio_blk", depends: "virtio"),
            to: "\(modules)/virtio_blk.ko"
        )
        try HostFolder.write(module("virtio"), to: "\(modules)/virtio.ko")
        #expect(try run("xz", ["\(modules)/virtio.ko"]).status == 0)
        let package = folder.file("k.deb")
        #expect(try run("dpkg-deb", ["-b", tree, package]).status == 0)
        let choice = ModuleChoice(required: ["virtio_blk"], wanted: ["virtio_net"])
        let entry = try kernels.importPackage(package, agent: agent, choice: choice)
        #expect(entry.manifest.release == "6.1.0-test")
        #expect(entry.manifest.loadedModules == ["virtio", "virtio_blk"])
        #expect(entry.manifest.missingModules == ["virtio_net"])
        let image = "\(entry.path)/modules.img"
        #expect(try run("e2fsck", ["-fn", image]).status == 0)
        let list = try run("debugfs", ["-R", "ls -p /lib/modules/6.1.0-test/kernel", image]).output
        #expect(list.contains("/virtio.ko/") && list.contains("/virtio_blk.ko/"), "\(list)")
        let cpio = try DiskFile.reading("\(entry.path)/initramfs.cpio").readAll(
            limit: .mebibytes(1)
        )
        let text = String(decoding: cpio, as: UTF8.self)
        #expect(text.contains("/modules/000-virtio.ko\n/modules/001-virtio_blk.ko\n"))
        #expect(text.contains("the agent") && text.contains("TRAILER!!!"))
        let again = try kernels.importFile(
            "\(tree)/boot/vmlinuz-6.1.0-test",
            modules: "\(tree)/lib/modules/6.1.0-test",
            agent: agent,
            choice: choice
        )
        #expect(again == entry, "the same kernel from files is another one")
        let names = try HostFolder.names(entry.path)
        #expect(names == ["initramfs.cpio", "manifest.json", "modules.img", "vmlinuz"])
    }

    @Test func whatIsNoKernelIsRefusedAndLeavesNothing() throws {
        let text = folder.file("text")
        try HostFolder.write(Array("no kernel".utf8), to: text)
        let odd = folder.file("odd")
        try HostFolder.write(kernelFile(release: "../../etc"), to: odd)
        let bare = folder.file("bare")
        try HostFolder.write(kernelFile(), to: bare)
        let attempts: [() throws -> CatalogueEntry<KernelManifest>] = [
            { try kernels.importPackage(text, agent: agent) },
            { try kernels.importFile(text, modules: nil, agent: agent) },
            { try kernels.importFile(odd, modules: nil, agent: agent) },
            // It lacks every module that a guest needs.
            { try kernels.importFile(bare, modules: nil, agent: agent) },
        ]
        for attempt in attempts {
            let fault = #expect(throws: Fault.self) { try attempt() }
            #expect(fault?.reason == .kernelInvalid, "\(String(describing: fault))")
        }
        #expect(try HostFolder.names(kernels.directory).isEmpty)
    }
}
