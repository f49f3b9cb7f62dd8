package import RoostModel

/// A driver that can keep a machine's memory: suspend, checkpoint, fork.
///
/// A *saved machine* is a folder: devices, memory and (unless it stays in place) root disk of one
/// instant, with a manifest that is written last. Without its manifest a folder is nothing; with it
/// the saved machine is whole. Nothing ever writes to a saved machine's memory or disk again, so any
/// number of machines may be started from one.
package protocol Forking: Driver {
    /// Keeps the machine of `launch` as it is now in `order.folder`, which need not exist.
    ///
    /// May be repeated with the same order, also by another daemon: a whole folder of this order is
    /// answered as it is, after what was left of the machine's own part is finished. After a throw
    /// the machine runs (or stands paused) as before and the folder is gone; the one exception is a
    /// ``Reason/vmmFailed`` after the VMM itself died.
    ///
    /// A running machine that goes on has its `guest` held from just before the instant that is kept
    /// until its CPUs run again; what takes its time is done before and after that. What `guest` throws
    /// is thrown, and it is its owner's to let go then.
    ///
    /// Throws ``Reason/wrongState`` without a VMM (for an order without memory: with one), ``Reason/memoryFull`` or ``Reason/diskFull`` before
    /// anything is touched, ``Reason/inUse`` when the folder is another save's.
    func save(
        _ launch: VMLaunch,
        _ order: SaveOrder,
        holding guest: (any GuestHold)?
    ) async throws(Fault) -> SavedMachine

    /// The saved machine in `folder`; `nil` when there is none or it was never finished. Reads the
    /// manifest only. Throws ``Reason/savedStateDamaged`` when that cannot be understood.
    func savedMachine(in folder: String) async throws(Fault) -> SavedMachine?

    /// Compares every part with its digest. Throws ``Reason/savedStateDamaged`` naming the part that
    /// is missing, too short or different. Nothing is removed.
    func verify(_ saved: SavedMachine) async throws(Fault)

    /// Starts the VMM of `launch` from a saved machine and returns once its CPUs run, where those of
    /// the saved machine stood. A VM that runs already is left as it is.
    ///
    /// The saved machine is verified first (at most once a daemon while its files do not change) and
    /// its shape compared. `launch.rootDiskPath` holds the saved disk's content: that disk itself when
    /// it stayed in place, else a fresh overlay over ``SavedMachine/rootDiskPath``. The guest still
    /// believes to be the saved one: whoever starts a *copy* renews its identity through the agent.
    ///
    /// A machine that was saved in place is used up by this, before its CPUs run: memory that is older
    /// than its disk is never found again. Others stay as they are.
    ///
    /// Throws ``Reason/savedStateDamaged``, ``Reason/shapeDiffers`` naming what differs, and as
    /// ``Driver/start(_:)`` does. After a throw no process of this VM is left.
    func start(_ launch: VMLaunch, from saved: SavedMachine) async throws(Fault)

    /// Makes the machine of `launch` what it was when `saved` was made, in place, and returns once its
    /// CPUs run (with memory), or once it is stopped with that disk (without). Whatever it is and does
    /// now is lost. Network and host ports are those of `launch`.
    ///
    /// Everything of `saved` is verified, and its shape compared, before anything is touched; it stays
    /// as it is. May be repeated, also by another daemon: whatever a crash left is the machine as it
    /// was, or the saved one, perhaps standing still. The guest believes that no time has passed.
    ///
    /// Throws as ``start(_:from:)`` does; then the machine is as it was, running or not.
    func revert(_ launch: VMLaunch, to saved: SavedMachine) async throws(Fault)

    /// Gives a saved machine that lies in its folder as a whole the further folder `folder`, in which
    /// it is the same. Neither needs the other. May be repeated.
    func share(_ saved: SavedMachine, in folder: String) async throws(Fault)

    /// Removes what is in `folder`, whole or not, manifest first; fine when there is nothing.
    /// Machines that were started from it run on.
    func discard(savedIn folder: String) async throws(Fault)
}

extension Forking {
    /// Keeps a machine whose guest needs no holding.
    package func save(
        _ launch: VMLaunch,
        _ order: SaveOrder
    ) async throws(Fault) -> SavedMachine { try await save(launch, order, holding: nil) }
}

/// The processes of a guest, for the moment in which its machine is saved and goes on.
package protocol GuestHold: Sendable {
    /// Makes them stand still. Called at most once a save, while the machine runs.
    func hold() async throws(Fault)
    /// Lets them go on. Called once after ``hold()``, when the machine runs again; not after a throw.
    func letGo() async throws(Fault)
}

/// What to keep, where, and what becomes of the machine.
package struct SaveOrder: Sendable, Hashable, Codable {
    /// Where the memory is kept.
    package enum Memory: String, Sendable, Hashable, Codable {
        /// In the memory directory: nothing is copied. Gone when the host stops.
        case onHost
        /// In the folder, copied and synced: survives the host.
        case onDisk
        /// There is none: the machine does not run, and only its disk is kept. Goes with
        /// ``Afterwards/goesOn``: the machine's disk is a fresh overlay then.
        case absent
    }

    /// What becomes of the machine, and of its root disk.
    package enum Afterwards: String, Sendable, Hashable, Codable {
        /// It ends; its disk stays where it is, to be resumed on. A suspended VM.
        case endsInPlace
        /// It ends; its disk moves into the folder. A template.
        case ends
        /// It goes on, over a fresh overlay of the disk that is kept. A fork's parent, or a
        /// checkpoint of a running VM. The VMM's pid changes and connections through user-mode
        /// networking break; the guest sees a pause.
        case goesOn
    }

    /// Absolute, on the file system of the VM's disks.
    package var folder: String
    package var memory: Memory
    package var afterwards: Afterwards

    package init(folder: String, memory: Memory, afterwards: Afterwards) {
        self.folder = folder
        self.memory = memory
        self.afterwards = afterwards
    }
}

/// One machine at one instant, kept in a folder. The manifest holds just this.
package struct SavedMachine: Sendable, Hashable, Codable {
    /// One file of it.
    package struct Part: Sendable, Hashable, Codable {
        /// What it holds.
        package enum Role: String, Sendable, Hashable, Codable, CaseIterable {
            case memory
            case devices
            case rootDisk
            /// A disk that the root disk stands on, and that is of this folder too; any number.
            case diskLayer
        }

        package var role: Role
        /// Absolute.
        package var path: String
        package var bytes: UInt64
        /// `sha256:` and 64 hex digits, over the content whatever holes the file has.
        package var digest: String
        /// Bytes that it took on its file system besides what was there already, when it was saved;
        /// `nil`: not known.
        package var taken: UInt64?

        package init(
            role: Role,
            path: String,
            bytes: UInt64,
            digest: String,
            taken: UInt64? = nil
        ) {
            self.role = role
            self.path = path
            self.bytes = bytes
            self.digest = digest
            self.taken = taken
        }
    }

    /// The machine that it was.
    package var vm: VMID
    /// What was ordered, with the folder where it is.
    package var order: SaveOrder
    package var shape: MachineShape
    /// Sorted by role's name, then by path; one of each but the layers.
    package var parts: [Part]

    package init(vm: VMID, order: SaveOrder, shape: MachineShape, parts: [Part]) {
        self.vm = vm
        self.order = order
        self.shape = shape
        self.parts = parts.sorted { ($0.role.rawValue, $0.path) < ($1.role.rawValue, $1.path) }
    }

    /// Whether memory and devices were kept: it ran.
    package var hasMemory: Bool { order.memory != .absent }
    /// The roles of the parts that it must have.
    package var requiredRoles: [Part.Role] {
        hasMemory ? [.devices, .memory, .rootDisk] : [.rootDisk]
    }

    /// The part of that role, if it has one; the first layer.
    package func part(_ role: Part.Role) -> Part? { parts.first { $0.role == role } }

    /// The disk that copies put their overlay over, `qcow2`; empty when a manifest has none.
    package var rootDiskPath: String { part(.rootDisk)?.path ?? "" }
}

/// Everything that shaped a machine's memory and devices: it only fits a machine of the same shape.
package struct MachineShape: Sendable, Hashable, Codable {
    /// Such as `-cpu` → `max` or `vmm` → `7.2.22 (…)`. No paths, ids, names or host ports.
    package var facts: [String: String]

    package init(_ facts: [String: String]) { self.facts = facts }

    /// What differs, in words such as `-cpu was 'max', is 'host'`; sorted, empty when it fits.
    package func differences(from other: MachineShape) -> [String] {
        Set(facts.keys).union(other.facts.keys).sorted().compactMap { key in
            let (was, now) = (facts[key], other.facts[key])
            if was == now { return nil }
            return "\(key) was \(quoted(was)), is \(quoted(now))"
        }
    }

    /// Throws ``Reason/shapeDiffers``, naming each difference, unless `other` is the same.
    package func check(fits other: MachineShape, vm: String) throws(Fault) {
        let differing = differences(from: other)
        guard !differing.isEmpty else { return }
        let text = differing.joined(separator: "; ")
        throw Fault(
            .shapeDiffers,
            "the saved memory does not fit: \(text)",
            metadata: ["vm": vm, "differences": text]
        )
    }

    private func quoted(_ value: String?) -> String { value.map { "'\($0)'" } ?? "missing" }
}
