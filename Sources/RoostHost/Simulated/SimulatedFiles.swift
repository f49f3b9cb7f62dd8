package import RoostModel

/// VM directories that exist on a ``SimulatedDisk`` only, with the promises of ``VMFiles``.
package struct SimulatedFiles: VMFiles {
    /// What is called, for whoever makes a call slow or fail.
    package enum Call: String, CaseIterable, Sendable {
        case prepare
        /// A disk is laid over a template.
        case lay
        case growRootDisk
        case launch
        case discard
        case restore
        case purge
        case inventory
        case sync
    }

    /// How long a call takes; asked at each point where a crash may fall.
    package typealias Latency = @Sendable (Call) -> Duration
    /// The fault of a call, or `nil` to let it be.
    package typealias Failing = @Sendable (Call) -> Fault?

    private let disk: SimulatedDisk
    private let clock: any Clock<Duration>
    private let latency: Latency
    private let failing: Failing

    package init(
        disk: SimulatedDisk,
        clock: any Clock<Duration>,
        latency: @escaping Latency = { _ in .zero },
        failing: @escaping Failing = { _ in nil }
    ) {
        self.disk = disk
        self.clock = clock
        self.latency = latency
        self.failing = failing
        // A former daemon may have died between a rename and its sync: what is seen must last.
        disk.syncAll()
    }

    package func prepare(_ id: VMID, spec: VMSpec) async throws(Fault) {
        await pause(.prepare)
        guard disk.content.live[id] == nil else { return }
        let (image, size) = (spec.image, spec.rootDiskGiB)
        disk.change(id) { content in
            content.staged[id] = SimulatedDisk.Directory(
                image: image,
                rootDiskGiB: size,
                isSynced: false
            )
        }
        await pause(.prepare)
        if let fault = failing(.prepare) {
            disk.change(id) { $0.staged[id] = nil }
            throw fault
        }
        disk.change(id) { $0.staged[id]?.isSynced = true }
        disk.sync(id)
        await pause(.prepare)
        disk.change(id) { content in
            guard let directory = content.staged.removeValue(forKey: id) else { return }
            content.live[id] = directory
        }
        await pause(.prepare)
        disk.sync(id)
    }

    package func growRootDisk(_ id: VMID, toGiB gibibytes: Int) async throws(Fault) {
        try await enter(.growRootDisk)
        guard disk.content.live[id] != nil else { throw incomplete(id) }
        disk.change(id) { content in
            guard var directory = content.live[id] else { return }
            directory.rootDiskGiB = max(directory.rootDiskGiB, gibibytes)
            content.live[id] = directory
        }
    }

    package func launch(
        _ id: VMID,
        name: String,
        spec: VMSpec,
        generation: Int
    ) async throws(Fault) -> VMPaths {
        try await enter(.launch)
        guard disk.content.live[id] != nil else { throw incomplete(id) }
        let directory = "/simulated/vms/\(id)"
        return VMPaths(
            directory: directory,
            kernel: "/simulated/kernels/\(spec.kernel)/vmlinuz",
            initramfs: "/simulated/kernels/\(spec.kernel)/initramfs",
            modules: nil,
            rootDisk: "\(directory)/root.qcow2",
            memoryDirectory: "/simulated/memory"
        )
    }

    package func discard(_ id: VMID) async throws(Fault) {
        try await enter(.discard)
        disk.change(id) { content in
            if let directory = content.live.removeValue(forKey: id) {
                content.trashed[id] = directory
            }
        }
        await pause(.discard)
        disk.sync(id)
    }

    package func restore(_ id: VMID) async throws(Fault) {
        try await enter(.restore)
        let content = disk.content
        guard content.live[id] != nil || content.trashed[id] != nil else {
            throw Fault(
                .vmNotFound,
                "VM \(id.short) is neither in place nor in the trash",
                metadata: ["vm": "\(id)"]
            )
        }
        disk.change(id) { content in
            guard content.live[id] == nil else { return }
            content.live[id] = content.trashed.removeValue(forKey: id)
        }
        await pause(.restore)
        disk.sync(id)
    }

    package func purge(_ id: VMID) async throws(Fault) {
        try await enter(.purge)
        disk.purge(id)
        await pause(.purge)
        disk.sync(id)
    }

    package func savedFolder(_ id: VMID, _ place: DisksPlace) -> String {
        "/simulated/vms/\(id)/saved"
    }

    package func prepareCopy(
        _ id: VMID,
        of template: String,
        disk path: String,
        spec: VMSpec
    ) async throws(Fault) {
        await pause(.prepare)
        guard disk.content.live[id] == nil else { return }
        if let fault = failing(.prepare) { throw fault }
        guard disk.content.templates.contains(template) else {
            throw Fault(
                .ioFailed,
                "there is no template \(template)",
                metadata: ["path": templateFolder(template)]
            )
        }
        let (image, size) = (spec.image, spec.rootDiskGiB)
        // Nobody sees it before it is whole: a template that goes meanwhile goes from under it.
        await pause(.lay)
        disk.change(id) { content in
            guard content.live[id] == nil else { return }
            content.live[id] = SimulatedDisk.Directory(
                image: image,
                rootDiskGiB: size,
                template: template,
                isUnrenewed: true,
                isSynced: false
            )
        }
        await pause(.prepare)
    }

    package func makeLasting(_ id: VMID) async throws(Fault) {
        try await enter(.sync)
        guard disk.content.live[id] != nil else { throw incomplete(id) }
        disk.change(id) { $0.live[id]?.isSynced = true }
        disk.sync(id)
        await pause(.sync)
    }

    package func prepareFork(
        _ id: VMID,
        from folder: String,
        spec: VMSpec
    ) async throws(Fault) {
        await pause(.prepare)
        guard disk.content.live[id] == nil else { return }
        if let fault = failing(.prepare) { throw fault }
        let (image, size) = (spec.image, spec.rootDiskGiB)
        disk.change(id) { content in
            content.live[id] = SimulatedDisk.Directory(
                image: image,
                rootDiskGiB: size,
                isUnrenewed: true,
                isSynced: true
            )
        }
        await pause(.prepare)
        disk.sync(id)
    }

    package func prepareWhole(
        _ id: VMID,
        from folder: String,
        spec: VMSpec
    ) async throws(Fault) { try await prepareFork(id, from: folder, spec: spec) }

    package func forkFolder(_ fork: OperationID) -> String { SimulatedDisk.forks + "\(fork)" }

    package func forks() async throws(Fault) -> [OperationID] {
        try await enter(.inventory)
        return disk.forks.compactMap { OperationID($0) }.sorted()
    }

    package func checkpointsFolder(_ id: VMID, _ place: DisksPlace) -> String {
        "/simulated/vms/\(id)/checkpoints"
    }

    package func isUnrenewed(_ id: VMID) async throws(Fault) -> Bool {
        let content = disk.content
        return (content.live[id] ?? content.trashed[id])?.isUnrenewed ?? false
    }

    package func markRenewed(_ id: VMID) async throws(Fault) {
        try await enter(.launch)
        disk.change(id) { $0.live[id]?.isUnrenewed = false }
    }

    package func templateFolder(_ template: String) -> String { SimulatedDisk.templates + template }

    package func templates() async throws(Fault) -> [String] {
        try await enter(.inventory)
        return disk.content.templates.sorted()
    }

    package func templatesInUse() async throws(Fault) -> Set<String> {
        try await enter(.inventory)
        let content = disk.content
        let all = Array(content.live.values) + Array(content.trashed.values)
        return Set(all.compactMap(\.template))
    }

    package func place(_ id: VMID) async throws(Fault) -> DisksPlace {
        try await enter(.inventory)
        let content = disk.content
        if content.live[id] != nil { return .live }
        return content.trashed[id] != nil ? .trashed : .missing
    }

    package func inventory() async throws(Fault) -> FileInventory {
        try await enter(.inventory)
        let content = disk.content
        return FileInventory(
            live: content.live.keys.sorted(),
            trashed: content.trashed.keys.sorted(),
            strange: content.staged.keys.sorted().map { ".staged-\($0)" }
        )
    }

    /// One file of a block for each directory: there are no others.
    package func stored() async throws(Fault) -> StoredFiles {
        try await enter(.inventory)
        let content = disk.content
        let folders =
            content.live.keys.sorted().map { "vms/\($0)" }
            + content.trashed.keys.sorted().map { "trash/\($0)" }
            + content.templates.sorted().map { "templates/\($0)" }
        return StoredFiles(
            files: folders.enumerated().map { index, folder in
                StoredFile(
                    place: .state,
                    path: folder,
                    identity: StoredFile.Identity(device: 1, inode: UInt64(index)),
                    names: 1,
                    bytes: 4096
                )
            },
            diskFree: .gibibytes(64),
            memoryFree: .gibibytes(64)
        )
    }

    package func readLog(
        _ id: VMID,
        _ source: LogSource,
        from offset: UInt64,
        follow: Bool
    ) async throws(Fault) -> LogChunk {
        while true {
            let log = source == .console ? disk.console(of: id) : SimulatedDisk.Log()
            let skipped = min(max(Int(clamping: offset) - log.start, 0), log.bytes.count)
            let bytes = Array(log.bytes[skipped...])
            if !bytes.isEmpty || !follow || Task.isCancelled {
                let end = UInt64(log.start + log.bytes.count)
                return LogChunk(bytes: bytes, nextOffset: end, isEnd: true)
            }
            try? await clock.sleep(for: .milliseconds(200))
        }
    }

    private func enter(_ call: Call) async throws(Fault) {
        await pause(call)
        if let fault = failing(call) { throw fault }
    }

    private func pause(_ call: Call) async {
        let duration = latency(call)
        guard duration > .zero else { return }
        // Cancelled: what was begun is done all the same, only sooner.
        try? await clock.sleep(for: duration)
    }

    private func incomplete(_ id: VMID) -> Fault {
        Fault(
            .stateUnreadable,
            "VM \(id.short) has no complete directory",
            metadata: ["path": "/simulated/vms/\(id)"]
        )
    }
}
