import Foundation
import RoostDriverQEMU
import RoostHost
import RoostImages
import RoostLinux
import RoostModel
import RoostOperations
import RoostRegistry

/// The images and kernels of this host, with their names: what ``RoostImages`` keeps by digest, and
/// `names.json` beside it.
///
/// ```text
///  <state>/images/<digest>/…    <state>/kernels/<digest>/…    <state>/names.json
/// ```
/// Entries never change; a name moves by writing `names.json` anew.
final class HostCatalogue: CatalogueEditor {
    /// What `names.json` holds: names without the digests that they mean would be nothing.
    struct Names: Codable, Equatable {
        var images: [String: String] = [:]
        /// What was pulled as `host/name@sha256:…`; nil in files of before there were registries.
        var origins: [String: String]?
        var kernels: [String: String] = [:]
        var defaultImage = ""
        var defaultKernel = ""
        var created: [String: Int64] = [:]
    }

    /// The virtual size of an imported root disk. Sparse: unused blocks cost nothing.
    static let rootDisk = ByteCount.gibibytes(4)

    private let stateDirectory: String
    private let agentPath: String
    let wall: any WallClock
    private let agents: AgentInitramfs
    let images: ImageCatalogue
    private let kernels: KernelCatalogue
    let puller: Puller
    private let blobs: BlobCache
    /// Pulls of one image, one at a time; those behind the first find it there.
    let pulls = KeyedQueue<String>()
    /// Changes of the credentials, one at a time.
    let logins = KeyedQueue<String>()
    /// Changes of `names.json`, one at a time.
    private let turns = KeyedQueue<String>()

    init(stateDirectory: String, agentPath: String, surroundings: Surroundings) {
        self.stateDirectory = stateDirectory
        self.agentPath = agentPath
        wall = surroundings.wall
        blobs = BlobCache(directory: "\(stateDirectory)/blobs")
        puller = Puller(
            cache: blobs,
            credentials: CredentialFile(path: "\(stateDirectory)/registries.json"),
            environment: ProcessInfo.processInfo.environment,
            clock: surroundings.clock
        )
        agents = AgentInitramfs(
            directory: "\(stateDirectory)/initramfs",
            agentPath: agentPath
        )
        images = ImageCatalogue(directory: "\(stateDirectory)/images")
        kernels = KernelCatalogue(directory: "\(stateDirectory)/kernels")
    }

    /// Removes what interrupted imports left. Only for the holder of the state directory's lock.
    func removeLeftovers() async throws(Fault) {
        let (images, kernels, blobs) = (images, kernels, blobs)
        try await onItsOwnThread { () throws(Fault) in
            blobs.removeLeftovers()
            _ = try images.removeLeftovers()
            _ = try kernels.removeLeftovers()
        }
    }

    // MARK: Looking

    func image(_ reference: String) async throws(Fault) -> ImageEntry {
        let names = try await names()
        let digest = try await resolve(
            known(reference, names),
            names.images,
            names.defaultImage,
            .imageNotFound,
            "image"
        ) { () async throws(Fault) in try await self.images().map(\.digest) }
        let images = images
        let entry = try await onItsOwnThread { () throws(Fault) in try images.find(digest) }
        return self.entry(entry, names)
    }

    func kernel(_ reference: String) async throws(Fault) -> KernelEntry {
        let names = try await names()
        let digest = try await resolve(
            reference,
            names.kernels,
            names.defaultKernel,
            .kernelNotFound,
            "kernel"
        ) { () async throws(Fault) in try await self.kernels().map(\.digest) }
        let kernels = kernels
        let entry = try await onItsOwnThread { () throws(Fault) in try kernels.find(digest) }
        return self.entry(entry, names)
    }

    func images() async throws(Fault) -> [ImageEntry] {
        let (images, names) = (images, try await names())
        let found = try await onItsOwnThread { () throws(Fault) in try images.list() }
        return found.entries.map { entry($0, names) }
    }

    func kernels() async throws(Fault) -> [KernelEntry] {
        let (kernels, names) = (kernels, try await names())
        let found = try await onItsOwnThread { () throws(Fault) in try kernels.list() }
        return found.entries.map { entry($0, names) }
    }

    func defaults() async throws(Fault) -> CatalogueDefaults {
        let names = try await names()
        return CatalogueDefaults(
            image: prefixed(names.defaultImage),
            kernel: prefixed(names.defaultKernel)
        )
    }

    /// The root disk of an image, by digest.
    func imagePath(_ digest: String) async throws(Fault) -> String {
        let images = images
        let bare = bare(digest)
        return try await onItsOwnThread { () throws(Fault) in
            ImageCatalogue.rootDisk(try images.find(bare))
        }
    }

    /// The parts of a kernel, by digest.
    func kernelPaths(_ digest: String) async throws(Fault) -> KernelPaths {
        let (kernels, agents) = (kernels, agents)
        let bare = bare(digest)
        return try await onItsOwnThread { () throws(Fault) in
            let entry = try kernels.find(bare)
            return KernelPaths(
                kernel: "\(entry.path)/vmlinuz",
                initramfs: try agents.initramfs(of: entry),
                modules: "\(entry.path)/modules.img"
            )
        }
    }

    // MARK: Taking in

    func importImage(
        _ name: String,
        from path: String,
        kind: ImportKind
    ) async throws(Fault) -> ImageEntry {
        let images = images
        let entry = try await onItsOwnThread { () throws(Fault) in
            switch try kind == .detect
                ? Self.detect(path) : (kind == .directory ? .directory : .tar)
            {
            case .directory: return try images.importDirectory(path, size: Self.rootDisk)
            case .program: return try images.importTinyRoot(busybox: path, size: Self.rootDisk)
            case .tar:
                let file = try DiskFile.reading(path)
                do throws(Fault) {
                    return try images.importArchive(.file(file), size: Self.rootDisk)
                } catch  where error.reason == .archiveInvalid {
                    throw Fault(error.reason, "'\(shown(path))': \(error.message)", cause: error)
                }
            }
        }
        return self.entry(entry, try await remember(name, entry.digest, \Names.images))
    }

    func importKernel(
        _ name: String,
        from path: String,
        modules: String?
    ) async throws(Fault) -> KernelEntry {
        let (kernels, agent) = (kernels, agentPath)
        let entry = try await onItsOwnThread { () throws(Fault) in
            path.hasSuffix(".deb")
                ? try kernels.importPackage(path, agent: agent)
                : try kernels.importFile(path, modules: modules, agent: agent)
        }
        return self.entry(entry, try await remember(name, entry.digest, \Names.kernels))
    }

    func removeImage(_ reference: String, inUse: Set<String>) async throws(Fault) -> ImageEntry {
        let entry = try await image(reference)
        try refuse(entry.digest, inUse, "image")
        _ = try await change { names in
            names.images = names.images.filter { prefixed($0.value) != entry.digest }
            names.origins = names.origins?.filter { prefixed($0.value) != entry.digest }
            if prefixed(names.defaultImage) == entry.digest { names.defaultImage = "" }
        }
        let (images, bare) = (images, bare(entry.digest))
        try await onItsOwnThread { () throws(Fault) in try images.delete(bare) }
        return entry
    }

    func removeKernel(_ reference: String, inUse: Set<String>) async throws(Fault) -> KernelEntry {
        let entry = try await kernel(reference)
        try refuse(entry.digest, inUse, "kernel")
        _ = try await change { names in
            names.kernels = names.kernels.filter { prefixed($0.value) != entry.digest }
            if prefixed(names.defaultKernel) == entry.digest { names.defaultKernel = "" }
        }
        let (kernels, bare) = (kernels, bare(entry.digest))
        try await onItsOwnThread { () throws(Fault) in try kernels.delete(bare) }
        return entry
    }

    func setDefault(image: String?, kernel: String?) async throws(Fault) -> CatalogueDefaults {
        _ = try await change { names in
            if let image { names.defaultImage = bare(image) }
            if let kernel { names.defaultKernel = bare(kernel) }
        }
        return try await defaults()
    }

    // MARK: Names

    private enum Found {
        case directory
        case program
        case tar
    }

    /// What is at `path`: a directory, a program (the tiny root's busybox) or a tar.
    private static func detect(_ path: String) throws(Fault) -> Found {
        var facts = stat()
        guard stat(path, &facts) == 0 else {
            throw Fault(.pathNotFound, "no '\(shown(path))' on this host")
        }
        if facts.st_mode & S_IFMT == S_IFDIR { return .directory }
        let magic = try DiskFile.reading(path).read(4, at: 0)
        return magic == [0x7F, 0x45, 0x4C, 0x46] ? .program : .tar
    }

    private func resolve(
        _ reference: String,
        _ names: [String: String],
        _ fallback: String,
        _ missing: Reason,
        _ noun: String,
        digests: () async throws(Fault) -> [String]
    ) async throws(Fault) -> String {
        if reference.isEmpty {
            guard !fallback.isEmpty else {
                throw Fault(missing, "there is no default \(noun): import one with --default")
            }
            return fallback
        }
        if let named = names[reference] { return named }
        let wanted = bare(reference)
        guard wanted.utf8.count >= 6, wanted.allSatisfy(\.isHexDigit) else {
            throw Fault(missing, "no \(noun) '\(shown(reference))'")
        }
        let matches = try await digests().map { bare($0) }.filter { $0.hasPrefix(wanted) }
        guard matches.count < 2 else {
            throw Fault(
                .ambiguousName,
                "'\(shown(reference))' begins the digests of several \(noun)s"
            )
        }
        guard let match = matches.first else {
            throw Fault(missing, "no \(noun) '\(shown(reference))'")
        }
        return match
    }

    private func remember(
        _ name: String,
        _ digest: String,
        _ table: any WritableKeyPath<Names, [String: String]> & Sendable
    ) async throws(Fault) -> Names {
        let now = wall.now().milliseconds
        return try await change { names in
            names[keyPath: table][name] = digest
            if names.created[digest] == nil { names.created[digest] = now }
            if names.defaultImage.isEmpty, table == \.images { names.defaultImage = digest }
            if names.defaultKernel.isEmpty, table == \.kernels { names.defaultKernel = digest }
        }
    }

    func names() async throws(Fault) -> Names {
        let path = "\(stateDirectory)/names.json"
        let bytes = try await onItsOwnThread { () throws(Fault) in
            try DurableFile.read(path, limit: 4 << 20)
        }
        guard let bytes else { return Names() }
        do {
            return try JSONDecoder().decode(Names.self, from: Data(bytes))
        } catch {
            throw Fault(
                .stateUnreadable,
                "'\(path)' is not a names file",
                metadata: ["path": path],
                cause: error
            )
        }
    }

    func change(_ edit: @Sendable (inout Names) -> Void) async throws(Fault) -> Names {
        try await turns.withTurn("names") { () async throws(Fault) in
            var names = try await self.names()
            edit(&names)
            let bytes: [UInt8]
            do {
                let encoder = JSONEncoder()
                encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
                bytes = Array(try encoder.encode(names))
            } catch {
                throw Fault(.bug, "cannot encode the names", cause: error)
            }
            let path = "\(self.stateDirectory)/names.json"
            try await onItsOwnThread { () throws(Fault) in
                try DurableFile.write(path, bytes, mode: 0o600)
            }
            return names
        }
    }

    private func refuse(_ digest: String, _ inUse: Set<String>, _ noun: String) throws(Fault) {
        guard inUse.contains(digest) else { return }
        throw Fault(
            .inUse,
            "\(noun) \(digest.prefix(19)) is in use by a VM, perhaps one in the trash",
            metadata: ["users": "roost ls -a, roost purge VM"]
        )
    }

    func entry(
        _ entry: CatalogueEntry<ImageManifest>,
        _ names: Names
    ) -> ImageEntry {
        ImageEntry(
            digest: prefixed(entry.digest),
            names: names.images.filter { $0.value == entry.digest }.keys.sorted(),
            size: ByteCount(bytes: entry.manifest.diskBytes),
            createdAt: Timestamp(milliseconds: names.created[entry.digest] ?? 0),
            origins: (names.origins ?? [:]).filter { $0.value == entry.digest }.keys.sorted(),
            launch: launch(entry.manifest.configuration)
        )
    }

    private func entry(
        _ entry: CatalogueEntry<KernelManifest>,
        _ names: Names
    ) -> KernelEntry {
        KernelEntry(
            digest: prefixed(entry.digest),
            names: names.kernels.filter { $0.value == entry.digest }.keys.sorted(),
            release: entry.manifest.release,
            memoryFloorMiB: Limits.memoryFloorMiB
        )
    }
}

/// A digest without its algorithm.
private func bare(_ digest: String) -> String {
    digest.hasPrefix("sha256:") ? String(digest.dropFirst(7)) : digest
}

/// A digest with its algorithm; empty stays empty.
private func prefixed(_ digest: String) -> String {
    digest.isEmpty || digest.hasPrefix("sha256:") ? digest : "sha256:\(digest)"
}
