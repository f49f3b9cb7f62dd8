import Crypto
package import RoostModel

/// What a kernel is: its id is the digest of this.
package struct KernelManifest: CatalogueManifest {
    /// The version of this form and of the writer.
    package var formatVersion: Int
    /// What `uname -r` says in the guest.
    package var release: String
    /// SHA-256 of `vmlinuz`, 64 hexadecimal digits.
    package var kernelDigest: String
    /// SHA-256 over the tree in `modules.img`.
    package var modulesDigest: String
    /// SHA-256 of the agent that is `/init`.
    package var agentDigest: String
    /// The modules in the initramfs, in the order of loading.
    package var loadedModules: [String]
    /// Wanted modules that this kernel neither has nor has built in.
    package var missingModules: [String]
    /// Whether `modules.dep.bin` and its kin are there: without them only busybox's modprobe works.
    package var hasModuleIndex: Bool

    package static let files = ["vmlinuz", "initramfs.cpio", "modules.img"]
    package static let noun = "kernel"
    package static let missing = Reason.kernelNotFound
}

/// The kernels of a host: `DIGEST/{vmlinuz, initramfs.cpio, modules.img}`. `modules.img` is an
/// ext4 image without a journal, to be mounted read-only, that holds `lib/modules/RELEASE`.
package typealias KernelCatalogue = Catalogue<KernelManifest>

extension Catalogue<KernelManifest> {
    /// Imports a Debian kernel package. Blocking, for some seconds.
    ///
    /// - Parameters:
    ///   - package: The path of the `.deb`.
    ///   - agent: The path of the static agent.
    ///   - choice: Which modules the initramfs gets.
    /// - Returns: The entry, which may have been there before.
    /// - Throws: `kernelInvalid` for anything but a kernel package, `hostNotReady` without
    ///   `dpkg-deb`, `diskFull`.
    package func importPackage(
        _ package: String,
        agent: String,
        choice: ModuleChoice = ModuleChoice()
    ) throws(Fault) -> CatalogueEntry<KernelManifest> {
        _ = try DiskFile.reading(package)
        return try make { folder throws(Fault) in
            let tool = try Tool.require("dpkg-deb", package: "dpkg")
            let work = try KernelFolder(folder)
            let archive = "\(work.scratch)/package.tar"
            try tool.run(
                ["--fsys-tarfile", "--", package],
                output: archive,
                seconds: 300,
                failure: .kernelInvalid
            )
            try work.extract(archive, of: package)
            return try work.finish(agent: agent, choice: choice)
        }
    }

    /// Imports a kernel file, with its modules if there are any. Blocking.
    ///
    /// - Parameters:
    ///   - file: The path of a bzImage.
    ///   - modules: The path of its `lib/modules/RELEASE`; nil if all it needs is built in.
    ///   - agent: The path of the static agent.
    ///   - choice: Which modules the initramfs gets; nothing may be required without `modules`.
    /// - Returns: The entry, which may have been there before.
    /// - Throws: as ``importPackage(_:agent:choice:)``.
    package func importFile(
        _ file: String,
        modules: String?,
        agent: String,
        choice: ModuleChoice = ModuleChoice()
    ) throws(Fault) -> CatalogueEntry<KernelManifest> {
        try make { folder throws(Fault) in
            let work = try KernelFolder(folder)
            try work.copyKernel(file)
            if let modules { try work.copyModules(modules) }
            return try work.finish(agent: agent, choice: choice)
        }
    }
}

/// Which modules a guest needs before it can see its disk.
package struct ModuleChoice: Hashable, Sendable {
    /// Without these no guest can boot: an import fails if the kernel lacks one.
    package var required: [String]
    /// These are taken where the kernel has them.
    package var wanted: [String]

    /// Makes a choice; by default what a q35 guest with virtio devices needs.
    package init(
        required: [String] = ["virtio_pci", "virtio_blk", "virtio_console", "ext4"],
        wanted: [String] = ["virtio_net", "virtio_rng", "af_packet", "pvpanic_pci"]
    ) {
        self.required = required
        self.wanted = wanted
    }
}
