import GRPCCore
import Glibc
import Logging
import RoostAPI
import RoostConnect
import RoostControl
import RoostDriver
import RoostDriverQEMU
import RoostHost
import RoostImages
import RoostLink
import RoostLinux
import RoostModel
import RoostNode
import RoostOperations
import RoostServices
import RoostStore
import RoostTrust

/// The adapters that touch this host.
struct Host {
    /// `nil` where no VM runs; then there are no files either.
    let driver: (any Driver)?
    let qemu: QEMUDriver?
    let files: (any VMFiles)?
    let catalogue: any CatalogueEditor
    let memoryDirectory: String
    let surroundings: Surroundings

    init(
        _ settings: Settings,
        _ driverName: String,
        _ surroundings: Surroundings
    ) async throws(Fault) {
        self.surroundings = surroundings
        if driverName == Self.noDriver {
            memoryDirectory = "/"
            driver = nil
            qemu = nil
            files = nil
            catalogue = AbsentCatalogue()
            return
        }
        let runtime = Settings.environment("XDG_RUNTIME_DIR")
        guard let tmpfs = HostFacts.memoryDirectory(runtimeDirectory: runtime) else {
            throw Fault(.hostNotReady, "no tmpfs for guest memory: mount one on /dev/shm")
        }
        if driverName == "simulated" {
            memoryDirectory = tmpfs
            let (machines, disk) = (SimulatedHypervisor(), SimulatedDisk())
            disk.whenPurged { machines.removeSaves(of: $0) }
            driver = SimulatedDriver(host: machines, clock: surroundings.clock)
            qemu = nil
            files = SimulatedFiles(disk: disk, clock: surroundings.clock)
            catalogue = FixedCatalogue(
                base: try settings.daemonRole() == .node
                    ? SimulatedCatalogue.small(and: "\(settings.name ?? hostName())-only")
                    : SimulatedCatalogue.small()
            )
            return
        }
        guard let state = settings.stateDirectory else {
            throw .invalid("--state-dir", "the qemu driver needs one")
        }
        // A directory for each state directory: nobody takes another daemon's files for leaks.
        let memory = "\(tmpfs)/roost-\(getuid())-\(fingerprint(state))"
        try makeDirectories(memory)
        memoryDirectory = memory
        let choice = Settings.environment("ROOST_ACCEL").map { AccelerationChoice(rawValue: $0) }
        if case .some(.none) = choice {
            throw .invalid("ROOST_ACCEL", "is none of auto, tcg, kvm")
        }
        let qemu = QEMUDriver(
            QEMUSettings(
                stateDirectory: state,
                memoryDirectory: memory,
                acceleration: (choice ?? nil) ?? .auto
            )
        )
        self.qemu = qemu
        driver = qemu
        let catalogue = HostCatalogue(
            stateDirectory: state,
            agentPath: try Self.agentPath(),
            surroundings: surroundings
        )
        try await catalogue.removeLeftovers()
        self.catalogue = catalogue
        files = try NodeFiles(
            stateDirectory: state,
            memoryDirectory: memory,
            tools: Self.tools(catalogue)
        )
    }

    /// The name of no driver: what a control plane without a node has.
    static let noDriver = "none"

    private static func tools(_ catalogue: HostCatalogue) -> NodeFileTools {
        NodeFileTools(
            makeOverlay: { path, backing, format, gibibytes throws(Fault) in
                try await onItsOwnThread { () throws(Fault) in
                    let file = try DiskFile.creating(path, mode: 0o600)
                    try Qcow2Overlay.create(
                        in: file,
                        backing: backing,
                        format: format,
                        size: .gibibytes(UInt64(gibibytes))
                    )
                }
            },
            flattenDisk: { source, path throws(Fault) in
                try await DiskTool().flatten(source, to: path)
            },
            growDisk: { path, gibibytes throws(Fault) in
                // A look at the header spares two processes a start.
                let size = try await onItsOwnThread { () throws(Fault) in
                    try Qcow2Overlay.virtualSize(of: try DiskFile.reading(path))
                }
                guard size < .gibibytes(UInt64(gibibytes)) else { return }
                try await DiskTool().grow(path, toGiB: gibibytes)
            },
            imagePath: { digest throws(Fault) in try await catalogue.imagePath(digest) },
            kernelPaths: { digest throws(Fault) in try await catalogue.kernelPaths(digest) }
        )
    }

    /// The guest's agent: beside this program, or in the library directory of a package.
    private static func agentPath() throws(Fault) -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &buffer, buffer.count)
        let program = String(
            decoding: buffer[..<max(length, 0)].map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
        let folder = program.lastIndex(of: "/").map { String(program[..<$0]) } ?? "."
        let candidates = ["\(folder)/roost-agent", "/usr/lib/roost/roost-agent"]
        guard let found = candidates.first(where: { access($0, R_OK) == 0 }) else {
            throw Fault(
                .hostNotReady,
                "the guest's agent is in none of \(candidates.joined(separator: ", ")): make build"
            )
        }
        return found
    }
}

/// Both sides, joined.
struct World: Sendable {
    let spawner = Spawner()
    let stop = Signal()
    let meter = CallMeter()
    /// One, but for a daemon that simulates several; none in a control plane for others.
    let sites: [NodeSite]
    /// The nodes in other processes, if this is their control plane.
    let membership: Membership?
    let reach: PooledReach?
    let authority: Authority?
    let vms: VMService
    let guests: GuestService
    let fleet: FleetService
    let desired: DesiredStateService
    let facts: Facts
    let doctor: Doctor
    let catalogue: any CatalogueEditor
    let pages: Pages
    let surroundings: Surroundings
    let nodes: NodeDirectory
    let log: Logger

    init(_ settings: Settings, _ stores: Stores, _ host: Host, _ log: Logger) async throws(Fault) {
        let surroundings = host.surroundings
        self.surroundings = surroundings
        self.log = log
        let failpoints = try NodeSite.failpoints()
        let nodes = NodeDirectory(strategy: try settings.strategy()) { fullImageName($0) }
        self.nodes = nodes
        var sites: [NodeSite] = []
        if let driver = host.driver, let files = host.files {
            let means = NodeSite.Means(
                host: host,
                driver: driver,
                files: files,
                failpoints: failpoints,
                spawner: spawner,
                log: log
            )
            for (index, own) in stores.nodes.enumerated() {
                let site = try NodeSite(index, of: stores.nodes.count, own, means)
                nodes.join(
                    site.link,
                    name: site.name,
                    capacity: site.capacity,
                    policy: site.policy
                )
                sites.append(site)
            }
        }
        self.sites = sites
        let nodeID = sites.first?.link.node.description ?? ""
        let isControl = sites.isEmpty
        // A node of its own knows one control plane only; others may have known an earlier one.
        let epoch = isControl ? try await ControlEpochRow.next(in: stores.control) : 1
        vms = VMService(
            ControlParts(
                store: stores.control,
                nodes: nodes,
                surroundings: surroundings,
                failpoints: failpoints,
                spawner: spawner,
                log: log,
                epoch: epoch
            )
        )
        if isControl {
            let fleet = try ControlSide(settings, surroundings, spawner, log)
            (authority, reach) = (fleet.authority, fleet.reach)
            let timing = HeartbeatTiming(interval: .milliseconds(Int(settings.heartbeat * 1000)))
            membership = Membership(vms, reach: fleet.reach, timing: timing)
        } else {
            (authority, reach, membership) = (nil, nil, nil)
        }
        guests = GuestService(vms)
        fleet = FleetService(vms)
        desired = DesiredStateService(fleet)
        catalogue = host.catalogue
        let startedAt = ContinuousClock.now
        var sockets: [String] = []
        if let path = settings.socketPath { sockets.append(path) }
        if isControl {
            let listen = try settings.fleetListen()
            sockets.append("\(listen.host):\(listen.port) (nodes)")
            if let api = try settings.usersListen() {
                sockets.append("\(api.host):\(api.port) (users)")
            }
        } else if let tcp = try settings.tcp() {
            sockets.append("\(tcp.host):\(tcp.port)")
        }
        facts = Facts(
            driver: host.driver?.name ?? Host.noDriver,
            sockets: sockets,
            stateDirectory: settings.stateDirectory ?? "(memory)",
            store: stores.name,
            nodeID: nodeID,
            role: isControl ? "control" : "standalone",
            startedAt: startedAt,
            hypervisor: host.driver,
            vms: vms,
            meter: meter,
            stop: stop
        )
        doctor = Doctor(
            driver: host.driver,
            qemu: host.qemu,
            files: host.files,
            catalogue: host.catalogue,
            stateDirectory: settings.stateDirectory,
            memoryDirectory: host.memoryDirectory,
            store: { await stores.finding() }
        )
        pages = Pages(
            vms: vms,
            store: stores.control,
            fleet: fleet,
            tallies: [meter.tally] + (reach.map { [$0.tally] } ?? []),
            startedAt: startedAt
        )
    }

    /// Finds everything again: the node what runs, the control side what it had accepted.
    func recover() async throws(Fault) {
        for site in sites { try await site.vms.recover() }
        // Alone, every fork is this control side's, and nobody begins one before somebody can ask.
        let known = try await vms.unfinishedOperations()
        for site in sites { await site.vms.sweepForks(except: known) }
        try await membership?.recover()
        try await vms.recover()
        try await fleet.recover()
        try await guests.recover()
        let (vms, fleet, sites, clock) = (vms, fleet, sites, surroundings.clock)
        spawner.spawn {
            await followTime(of: clock) { for site in sites { await site.sessions.stepClocks() } }
        }
        if sites.count > 1 { try await followHoldings() }
        spawner.spawn { [desired] in await desired.run() }
        spawner.spawn {
            while !Task.isCancelled {
                await vms.keepHouse()
                await vms.forgetAudit()
                await fleet.keepHouse()
                for site in sites { await site.vms.keepHouse() }
                try? await clock.sleep(for: .seconds(3600))
            }
        }
    }

    /// Ends an idle daemon that nobody asked to stay, after `seconds` without a VM that runs, an
    /// operation or a call; never with 0.
    func watchIdleness(_ seconds: Int, _ stop: Signal) async {
        guard seconds > 0 else { return }
        var (idle, begun) = (0, meter.begun)
        let step = min(max(seconds / 4, 1), 30)
        while !Task.isCancelled {
            do { try await surroundings.clock.sleep(for: .seconds(step)) } catch { return }
            let now = meter.begun
            idle = now == begun ? (await isIdle() ? idle + step : 0) : 0
            begun = now
            if idle >= seconds {
                stop.set()
                return
            }
        }
    }

    private func isIdle() async -> Bool {
        guard meter.open == 0, await facts.busyWith().isEmpty else { return false }
        do throws(Fault) {
            // Whoever published a fleet wants it kept by somebody.
            if try await desired.keepsSomething() { return false }
            let page = try await vms.list(
                VMFilter(states: [.starting, .running, .stopping, .paused]),
                size: 1,
                token: nil
            )
            return page.vms.isEmpty
        } catch { return false }
    }
}

/// Calls `step` when guests no longer know the time.
func followTime(
    of clock: any Clock<Duration>,
    step: @Sendable () async -> Void
) async {
    var watch = ClockWatch(hostTime())
    while !Task.isCancelled {
        do { try await clock.sleep(for: .seconds(15)) } catch { return }
        if watch.isOff(at: hostTime()) { await step() }
    }
}

/// What this host's clocks say.
private func hostTime() -> ClockWatch.Reading {
    var awake = timespec()
    clock_gettime(CLOCK_MONOTONIC, &awake)
    return ClockWatch.Reading(
        wall: SystemWallClock().now(),
        awake: .seconds(awake.tv_sec) + .nanoseconds(awake.tv_nsec)
    )
}

/// Eight digits that differ for different texts (FNV-1a).
private func fingerprint(_ text: String) -> String {
    var hash: UInt32 = 0x811c_9dc5
    for byte in text.utf8 { hash = (hash ^ UInt32(byte)) &* 0x0100_0193 }
    let digits = String(hash, radix: 16)
    return String(repeating: "0", count: 8 - digits.utf8.count) + digits
}
