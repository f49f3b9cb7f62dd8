import RoostControl
import RoostDriver
import RoostHost
import RoostModel
import RoostStore

/// What happens to hosts and networks, and not to one call.
enum Disaster: String, CaseIterable {
    case machineKilled = "machine-killed"
    case partition
    /// Requests do not arrive, answers would.
    case deafNode = "deaf-node"
    /// Requests arrive, answers do not.
    case muteNode = "mute-node"
    case clockJump = "clock-jump"
    case crash
    /// A host is without power: its processes end, what was not synced is lost or torn.
    case powerCut = "power-cut"
    /// A VMM of a VM that nobody names runs when a node comes up.
    case orphan
    /// A file of a saved machine is not what it was.
    case damagedSave = "damaged-save"
    /// Nothing can be written to a node's disk for a while.
    case fullDisk = "full-disk"
    /// A node's own store can be neither read nor written for a while.
    case brokenStore = "broken-store"
    /// Old changes are forgotten: a watch that is behind must begin anew.
    case compaction
}

extension World {
    func scheduleDisaster() {
        guard let every = profile.disasterEvery else { return }
        scheduler.after(latency(upTo: every * 3)) { [unowned self] in
            guard self.faults.areOn else { return }
            if var details = self.strike(.disaster, 10_000) { self.befall(&details) }
            self.scheduleDisaster()
        }
    }

    private func befall(_ details: inout Chance) {
        let disaster = details.pick(Disaster.allCases)
        let node = nodes[details.below(nodes.count)]
        scheduler.note("disaster: \(disaster.rawValue) of \(node.name)")
        switch disaster {
        case .machineKilled:
            let machines = node.hypervisor.machines
            guard !machines.isEmpty else { return }
            node.hypervisor.end(machines[details.below(machines.count)].pid, .killed(signal: 9))
        case .partition, .deafNode, .muteNode:
            guard !isStandalone else { return }
            cut(node, disaster, for: details.duration(upTo: .seconds(10)))
        case .fullDisk:
            node.isFull = true
            later(details.duration(upTo: .seconds(30)), "\(node.name) has room again") {
                node.isFull = false
            }
        case .brokenStore:
            node.isStoreBroken = true
            later(details.duration(upTo: .seconds(10)), "\(node.name) has its store again") {
                node.isStoreBroken = false
            }
        case .clockJump:
            let wall = details.hits(5_000) ? controlWall : node.wall
            wall.offset += Int64(details.below(7_200_000)) - 3_600_000
        case .crash:
            let process = details.hits(5_000) ? control?.process : node.server?.process
            process?.crash()
        case .powerCut:
            guard let process = node.server?.process else { return }
            process.crash()
            for machine in node.hypervisor.machines { node.hypervisor.end(machine.pid, .unknown) }
            node.disk.cutPower { details.hits(5_000) }
            loseSaves(with: node)
        case .orphan:
            guard let process = node.server?.process else { return }
            process.crash()
            node.hypervisor.place(newStranger(details.next()))
        case .damagedSave:
            guard damageSave(on: node, &details) else { return }
        case .compaction:
            let rows = MemoryStore(disk: controlRows)
            rows.compact(upTo: rows.revision())
        }
        mark("world.disaster-\(disaster.rawValue)")
        invariants.look()
    }

    /// What lay in directories that are gone is gone with them.
    private func loseSaves(with node: NodeHost) {
        let content = node.disk.content
        node.hypervisor.loseSaves { folder in
            guard let id = World.owner(ofSave: folder) else { return false }
            return content.live[id] == nil && content.trashed[id] == nil
        }
    }

    /// The VM that the saved machine at that path is kept of, suspended or as a checkpoint; `nil` when
    /// it is a template's or a fork's.
    static func owner(ofSave path: String) -> VMID? {
        let words = path.split(separator: "/")
        guard words.count >= 4, words[1] == "vms", ["saved", "checkpoints"].contains(words[3])
        else { return nil }
        return VMID(String(words[2]))
    }

    private func damageSave(on node: NodeHost, _ details: inout Chance) -> Bool {
        let files =
            node.hypervisor.savedFiles.filter { !$0.hasPrefix("/simulated/vms/") }
            + node.hypervisor.savedFiles.filter { Self.owner(ofSave: $0) != nil }
        guard !files.isEmpty else { return false }
        let path = files[details.below(files.count)]
        let kind = details.below(4)
        scheduler.note("\(path) is damaged in way \(kind)")
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? path
        damagedSaves.insert(folder)
        if kind == 3 {
            node.hypervisor.damageManifest(folder)
        } else {
            node.hypervisor.damage(path, isMissing: kind == 0, shortened: kind == 1)
        }
        return true
    }

    // MARK: What guests do

    /// Every guest counts, so that one that goes back in time is noticed.
    func scheduleWork() {
        scheduler.after(.milliseconds(500)) { [unowned self] in
            for node in self.nodes { self.invariants.work(node) }
            self.scheduleWork()
        }
    }

    /// The node is about to do what it was told to make way for: a good moment to crash.
    func crashAboutNow(_ id: NodeID?, within limit: Duration) {
        guard var details = strike(.untimely, profile.untimelyCrashes) else { return }
        scheduler.after(details.duration(upTo: limit)) { [unowned self] in
            self.nodes.first { $0.id == id }?.server?.process.crash()
        }
    }

    private func cut(_ node: NodeHost, _ disaster: Disaster, for time: Duration) {
        node.isDeaf = node.isDeaf || disaster != .muteNode
        node.isMute = node.isMute || disaster != .deafNode
        later(time, "\(node.name) is reached again") {
            node.isDeaf = false
            node.isMute = false
        }
    }

    /// Calls `work` after `time`, and says so.
    private func later(_ time: Duration, _ text: String, _ work: @escaping () -> Void) {
        scheduler.after(time) { [unowned self] in
            self.scheduler.note(text)
            work()
        }
    }

    /// The name of a VM of a former life of a host.
    static let stranger = "stranger"

    private func newStranger(_ bits: UInt64) -> VMLaunch {
        VMLaunch(
            id: Identifier(bits: UInt128(bits)),
            name: Self.stranger,
            cores: 1,
            memoryMiB: 128,
            directory: "/simulated/vms/stranger",
            kernelPath: "/simulated/vmlinuz",
            initramfsPath: "/simulated/initramfs",
            modulesPath: nil,
            rootDiskPath: "/simulated/root.qcow2",
            network: .none,
            ports: [],
            memoryDirectory: "/simulated/memory",
            generation: 1
        )
    }

    /// Nothing goes wrong any more: what is cut is joined, what was to crash does not.
    func endFaults() {
        scheduler.note("the faults end")
        calmDown()
        for node in nodes {
            node.isDeaf = false
            node.isMute = false
            node.isFull = false
            node.isStoreBroken = false
            node.server?.process.crashesAtJob = nil
        }
        control?.process.crashesAtJob = nil
    }
}
