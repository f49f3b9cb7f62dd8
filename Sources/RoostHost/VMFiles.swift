package import RoostModel

/// The directories of VMs on this node: made, found, moved to the trash, purged.
///
/// `vms/<id>/` exists exactly while the node holds the VM; `trash/<id>/` while it can be undeleted.
/// A directory appears complete (staged, fsynced, renamed) or not at all. All calls may be repeated.
package protocol VMFiles: LogFiles {
    /// Makes the VM's directory with its root disk over the image. Does nothing if it exists.
    func prepare(_ id: VMID, spec: VMSpec) async throws(Fault)
    /// Makes the root disk's virtual size at least `gibibytes`. Never shrinks.
    func growRootDisk(_ id: VMID, toGiB gibibytes: Int) async throws(Fault)
    /// The paths a driver needs. Throws ``Reason/stateUnreadable`` when the directory is incomplete.
    func launch(
        _ id: VMID,
        name: String,
        spec: VMSpec,
        generation: Int
    ) async throws(Fault) -> VMPaths
    /// Moves the directory to the trash. A missing one is fine.
    func discard(_ id: VMID) async throws(Fault)
    /// Moves it back. Throws ``Reason/vmNotFound`` when it is in neither place.
    func restore(_ id: VMID) async throws(Fault)
    /// Removes every byte of the VM, in the trash or not. Missing is fine.
    func purge(_ id: VMID) async throws(Fault)
    /// Makes the directory in place durable with all that is in it: one of ``prepareCopy(_:of:disk:spec:)``
    /// is not before, and may be gone or cut short after a cut of the power.
    ///
    /// Throws ``Reason/stateUnreadable`` when the directory is incomplete, ``Reason/ioFailed``.
    func makeLasting(_ id: VMID) async throws(Fault)
    /// Where a VM's own saved memory is kept when its directory is at `place`; need not exist.
    func savedFolder(_ id: VMID, _ place: DisksPlace) -> String
    /// As ``prepare(_:spec:)``, but with the root disk over `disk`, the disk of a template, and
    /// marked as a copy of it that was not renewed yet.
    func prepareCopy(
        _ id: VMID,
        of template: String,
        disk: String,
        spec: VMSpec
    ) async throws(Fault)
    /// As ``prepare(_:spec:)``, but with the root disk over the one in `folder`, that of a saved
    /// machine which went on. Needs nothing of the folder afterwards. Marked as a copy that was not
    /// renewed yet.
    func prepareFork(_ id: VMID, from folder: String, spec: VMSpec) async throws(Fault)
    /// As ``prepareFork(_:from:spec:)``, but with every byte of the disk in the VM's own, which stands on
    /// nothing. May take minutes; ends early when cancelled, and then there is no directory.
    func prepareWhole(_ id: VMID, from folder: String, spec: VMSpec) async throws(Fault)
    /// Where the fork of that name is kept; need not exist.
    func forkFolder(_ fork: OperationID) -> String
    /// The forks that have a folder, whole or not, sorted.
    func forks() async throws(Fault) -> [OperationID]
    /// Where the checkpoints of the VM are, each in a folder of its own, when its directory is at
    /// `place`; need not exist.
    func checkpointsFolder(_ id: VMID, _ place: DisksPlace) -> String
    /// Whether the VM is a copy that still believes to be its template.
    func isUnrenewed(_ id: VMID) async throws(Fault) -> Bool
    /// Takes that mark away.
    func markRenewed(_ id: VMID) async throws(Fault)
    /// Where the template of that name is kept; need not exist. Names are file names.
    func templateFolder(_ template: String) -> String
    /// The names of all templates, whole or not, sorted.
    func templates() async throws(Fault) -> [String]
    /// The templates that the disks of VMs are made over, in the trash or not.
    func templatesInUse() async throws(Fault) -> Set<String>
    /// Where one VM's directory is: as cheap with a thousand VMs as with one.
    func place(_ id: VMID) async throws(Fault) -> DisksPlace
    /// Everything that is kept, by looking: each name of each file and directory, and what is free.
    /// What comes or goes meanwhile may be missing.
    func stored() async throws(Fault) -> StoredFiles
    /// The VMs that have a directory, and those in the trash.
    func inventory() async throws(Fault) -> FileInventory
}

/// The logs of VMs, as files of bytes.
package protocol LogFiles: Sendable {
    /// Bytes of a log from `offset`; waits for more when `follow` and there is nothing yet.
    func readLog(
        _ id: VMID,
        _ source: LogSource,
        from offset: UInt64,
        follow: Bool
    ) async throws(Fault) -> LogChunk
}

/// Where a VM's parts are.
package struct VMPaths: Sendable, Hashable {
    package var directory: String
    package var kernel: String
    package var initramfs: String
    package var modules: String?
    package var rootDisk: String
    package var memoryDirectory: String

    package init(
        directory: String,
        kernel: String,
        initramfs: String,
        modules: String?,
        rootDisk: String,
        memoryDirectory: String
    ) {
        self.directory = directory
        self.kernel = kernel
        self.initramfs = initramfs
        self.modules = modules
        self.rootDisk = rootDisk
        self.memoryDirectory = memoryDirectory
    }
}

/// What is on disk, by VM. Each list is sorted.
package struct FileInventory: Sendable, Hashable {
    package var live: [VMID]
    package var trashed: [VMID]
    /// Entries that are no VM's: shown by doctor, never deleted.
    package var strange: [String]

    package init(live: [VMID], trashed: [VMID], strange: [String]) {
        self.live = live
        self.trashed = trashed
        self.strange = strange
    }
}

/// Which of a VM's logs.
package enum LogSource: String, CaseIterable, Sendable, Codable {
    /// What the guest's kernel and console said.
    case console
    /// What the VMM itself said.
    case vmm
    /// The records of the guest's agent, kernel and commands (`GuestLogRecord`).
    case guest
}

/// A piece of a log.
package struct LogChunk: Sendable, Hashable {
    package var bytes: [UInt8]
    /// Where the next piece begins. Larger than asked for when rotation dropped older bytes.
    package var nextOffset: UInt64
    /// Whether there is nothing after it now.
    package var isEnd: Bool

    package init(bytes: [UInt8], nextOffset: UInt64, isEnd: Bool) {
        self.bytes = bytes
        self.nextOffset = nextOffset
        self.isEnd = isEnd
    }
}
