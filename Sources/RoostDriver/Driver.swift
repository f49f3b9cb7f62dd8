package import RoostModel

/// What a driver can do beyond the core of ``Driver``. Asked before, never discovered by failing.
package struct Capabilities: OptionSet, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// ``Driver/pause(_:)`` and ``Driver/resume(_:)`` work.
    package static let pause = Capabilities(rawValue: 1 << 0)
    /// Guests carry the agent: ``Driver/guestChannel(_:)`` works, and ready means it answers.
    package static let guestAgent = Capabilities(rawValue: 1 << 1)
    /// ``Driver/reset(_:)`` works.
    package static let reset = Capabilities(rawValue: 1 << 2)
    /// The driver is ``Forking``: saved machines can be made and started.
    package static let fork = Capabilities(rawValue: 1 << 3)
}

/// A hypervisor. One process or one simulated machine a VM; everything is addressed by the VM's id.
///
/// The driver owns what is *currently true* of its VMMs (pid, sockets): it finds them again by
/// looking at the host, and keeps at most a scratch file in the VM's directory. No call blocks
/// another VM's calls. All calls may be repeated.
package protocol Driver: Sendable {
    /// `qemu`, `simulated`. Constant.
    var name: String { get }
    var capabilities: Capabilities { get }

    /// Everything that this host lacks for running VMs; empty when it is ready. No side effect.
    func preflight() async -> [Fault]

    /// How guests are run, in words for people, such as `tcg (kvm probe: hung for 10 s)`.
    func acceleration() async -> Acceleration

    /// Starts the VMM and returns once its CPUs run. A VM that runs already is left as it is.
    ///
    /// After a throw no process of this VM is left.
    func start(_ launch: VMLaunch) async throws(Fault)

    /// What is true of this VM's VMM now; `nil` when there is none. Finds processes that an
    /// earlier daemon started.
    func inspect(_ id: VMID) async throws(Fault) -> VMMStatus?

    /// The ids of all VMMs on this host that belong to this state directory, found by looking at
    /// processes, not at files.
    func running() async throws(Fault) -> [VMID]

    /// Waits until this VM's VMM has ended; returns at once when there is none.
    func waitForExit(_ id: VMID) async -> VMMExit

    /// Asks the guest's firmware or kernel to power off (ACPI). Returns at once.
    func powerButton(_ id: VMID) async throws(Fault)
    /// Resets the guest as the reset button does.
    func reset(_ id: VMID) async throws(Fault)
    /// Ends the VMM with SIGKILL and returns when it is reaped. No VMM: succeeds.
    func kill(_ id: VMID) async throws(Fault)
    /// Holds the guest's CPUs still.
    func pause(_ id: VMID) async throws(Fault)
    /// Lets them run again.
    func resume(_ id: VMID) async throws(Fault)

    /// Connects to the guest's agent port. One connection at a time; the latest wins.
    func guestChannel(_ id: VMID) async throws(Fault) -> any ByteStream
}

/// Everything a driver needs to start one VM. Paths are absolute and exist.
package struct VMLaunch: Sendable, Hashable, Codable {
    package var id: VMID
    package var name: String
    package var cores: Int
    package var memoryMiB: Int
    /// The VM's own directory; the driver may put its sockets, logs and scratch files there.
    package var directory: String
    package var kernelPath: String
    package var initramfsPath: String
    /// Read-only ext4 image with the kernel's other modules; `nil` when the kernel has none.
    package var modulesPath: String?
    /// The root disk, `qcow2`.
    package var rootDiskPath: String
    package var network: NetworkMode
    package var ports: [PublishedPort]
    /// Where guest memory files go; on tmpfs.
    package var memoryDirectory: String
    package var generation: Int

    package init(
        id: VMID,
        name: String,
        cores: Int,
        memoryMiB: Int,
        directory: String,
        kernelPath: String,
        initramfsPath: String,
        modulesPath: String?,
        rootDiskPath: String,
        network: NetworkMode,
        ports: [PublishedPort],
        memoryDirectory: String,
        generation: Int
    ) {
        self.id = id
        self.name = name
        self.cores = cores
        self.memoryMiB = memoryMiB
        self.directory = directory
        self.kernelPath = kernelPath
        self.initramfsPath = initramfsPath
        self.modulesPath = modulesPath
        self.rootDiskPath = rootDiskPath
        self.network = network
        self.ports = ports
        self.memoryDirectory = memoryDirectory
        self.generation = generation
    }
}

/// What is true of one VMM.
package struct VMMStatus: Sendable, Hashable {
    package enum Phase: String, Sendable {
        case running
        case paused
        /// The guest has powered itself off and the VMM is ending.
        case shutDown
    }

    package var phase: Phase
    /// For people and logs. Never stored in a database.
    package var pid: Int32
    /// The spec's generation that it was started with, when known.
    package var generation: Int?
    /// Host CPU time used, and resident bytes, when known.
    package var cpuTime: Duration
    package var resident: ByteCount

    package init(
        phase: Phase,
        pid: Int32,
        generation: Int?,
        cpuTime: Duration = .zero,
        resident: ByteCount = ByteCount(bytes: 0)
    ) {
        self.phase = phase
        self.pid = pid
        self.generation = generation
        self.cpuTime = cpuTime
        self.resident = resident
    }
}

/// How a VMM ended.
package struct VMMExit: Sendable, Hashable {
    package enum Cause: Sendable, Hashable {
        /// The guest powered itself off.
        case guestPoweredOff
        /// The VMM ended by itself with this exit code.
        case exited(code: Int32)
        /// The VMM died of this signal.
        case killed(signal: Int32)
        /// It was not our child (an earlier daemon's), so nobody knows.
        case unknown
    }

    package var cause: Cause
    /// The VMM's last output, at most 4 KiB, printable; empty when it said nothing.
    package var lastWords: String

    package init(cause: Cause, lastWords: String) {
        self.cause = cause
        self.lastWords = lastWords
    }
}

/// How guests are run on this host, and why so.
package struct Acceleration: Sendable, Hashable, Codable {
    /// `kvm`, `tcg` or `simulated`.
    package var kind: String
    /// One sentence: what the probe saw.
    package var why: String

    package init(kind: String, why: String) {
        self.kind = kind
        self.why = why
    }
}
