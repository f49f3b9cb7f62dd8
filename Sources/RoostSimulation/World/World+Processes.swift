import RoostControl
import RoostDriver
import RoostHost
import RoostLink
import RoostModel
import RoostNode
import RoostOperations
import RoostStore

/// What a control process offers once it is up.
struct Controller: Sendable {
    let vms: VMService
    let nodes: NodeDirectory
    let fleet: FleetService
    let desired: DesiredStateService
}

/// Coming up, in the order of the composition root, and coming up again after a crash.
extension World {
    func start() {
        if isStandalone {
            startStandalone()
        } else {
            for node in nodes { startNode(node) }
            startControl()
        }
        scheduleDisaster()
        scheduleWork()
    }

    // MARK: The three kinds of process

    private func startStandalone() {
        let node = nodes[0]
        let (process, spawner) = launch("roostd") { [unowned self] in
            self.nodes[0].server?.breakConnections()
            self.nodes[0].server = nil
            self.control?.breakConnections()
            self.control = nil
        } again: { [unowned self] in
            self.startStandalone()
        }
        let nodeServer = Server<any NodeLink>(process, spawner)
        let controlServer = Server<Controller>(process, spawner)
        node.server = nodeServer
        control = controlServer
        epoch += 1
        let epoch = epoch
        process.run {
            await self.orDie(process) { () async throws(Fault) in
                let local = try await self.bringUp(node, process, spawner)
                nodeServer.service = local
                let nodes = NodeDirectory()
                nodes.join(
                    local,
                    name: node.name,
                    capacity: self.capacity,
                    labels: ["rack": node.rack]
                )
                controlServer.service = try await self.bringUpControl(
                    nodes,
                    process,
                    spawner,
                    epoch: epoch
                )
            }
        }
    }

    private func startNode(_ node: NodeHost) {
        let (process, spawner) = launch(node.name) {
            node.server?.breakConnections()
            node.server = nil
        } again: { [unowned self] in
            self.startNode(node)
        }
        let server = Server<any NodeLink>(process, spawner)
        node.server = server
        process.run {
            await self.orDie(process) { () async throws(Fault) in
                server.service = try await self.bringUp(node, process, spawner)
            }
        }
    }

    private func startControl() {
        let (process, spawner) = launch("control") { [unowned self] in
            self.control?.breakConnections()
            self.control = nil
        } again: { [unowned self] in
            self.startControl()
        }
        let server = Server<Controller>(process, spawner)
        control = server
        epoch += 1
        let epoch = epoch
        process.run {
            await self.orDie(process) { () async throws(Fault) in
                let directory = NodeDirectory()
                let network = Network(world: self)
                for node in self.nodes {
                    directory.join(
                        SimulatedLink(host: node, network: network),
                        name: node.name,
                        capacity: self.capacity,
                        labels: ["rack": node.rack]
                    )
                }
                server.service = try await self.bringUpControl(
                    directory,
                    process,
                    spawner,
                    epoch: epoch
                )
            }
        }
    }

    // MARK: Composition

    private func bringUp(
        _ node: NodeHost,
        _ process: SimulatedProcess,
        _ spawner: Spawner
    ) async throws(Fault) -> any NodeLink {
        let files = SimulatedFiles(
            disk: node.disk,
            clock: clock,
            latency: { call in
                // Laying a disk over a template may wait for the host's disk. What was laid is seen at
                // once: not for long, if the template is gone.
                if call == .prepare { self.invariants.look() }
                return self.latency(upTo: call == .lay ? .seconds(3) : .milliseconds(2))
            },
            failing: { self.drawFileFault($0, on: node) }
        )
        let driver = SimulatedDriver(
            host: node.hypervisor,
            clock: clock,
            hasAgents: true,
            // Writing and removing some GiB of memory takes its time.
            latency: { call in
                let isLong = [.save, .seal, .discard].contains(call)
                return self.latency(upTo: .milliseconds(isLong ? 200 : 2))
            },
            failing: { call in
                // Where memory is written the disk is soonest full.
                let writesMemory = [.save, .seal].contains(call)
                if writesMemory, node.isFull { return self.noSpace("a saved machine") }
                let rate = self.profile.driverFailures * (writesMemory ? 4 : 1)
                guard self.fault(.driver, rate) else { return nil }
                self.scheduler.note("  the monitor fails at \(call.rawValue)")
                self.mark("world.monitor-silent")
                return Fault(.vmmFailed, "the simulated monitor does not answer")
            }
        )
        let store = SimulatedStore(
            store: MemoryStore(disk: node.rows),
            host: node,
            world: self,
            committed: { _, _ in self.invariants.look() }
        )
        let catalogue = SimulatedCatalogue.small()
        let failpoints = SeededFailpoints(world: self, process: process)
        let vms = NodeVMs(
            NodeParts(
                driver: driver,
                files: files,
                catalogue: catalogue,
                store: store,
                guests: SimulatedGuests(world: self, host: node),
                surroundings: Surroundings(clock: clock, wall: node.wall, entropy: entropy),
                failpoints: failpoints,
                spawner: spawner,
                log: log,
                capacity: capacity,
                templateLimit: 1
            )
        )
        try await vms.recover()
        let local = LocalLink(
            node: node.id,
            vms: vms,
            guests: NoGuests(),
            files: files,
            catalogue: catalogue
        )
        if isStandalone { return local }
        let fence = FencedLink(local, store: store, failpoints: failpoints)
        try await fence.recover()
        return fence
    }

    private func bringUpControl(
        _ nodes: NodeDirectory,
        _ process: SimulatedProcess,
        _ spawner: Spawner,
        epoch: Int64
    ) async throws(Fault) -> Controller {
        let vms = VMService(
            ControlParts(
                store: SimulatedStore(
                    store: MemoryStore(disk: controlRows),
                    host: nil,
                    world: self,
                    committed: { self.invariants.committed($0, $1) }
                ),
                nodes: nodes,
                surroundings: Surroundings(clock: clock, wall: controlWall, entropy: entropy),
                failpoints: SeededFailpoints(world: self, process: process),
                spawner: spawner,
                log: log,
                epoch: epoch,
                trashSeconds: 600
            )
        )
        try await vms.recover()
        let fleet = FleetService(vms)
        try await fleet.recover()
        let desired = DesiredStateService(fleet)
        if keepsFleets { spawner.spawn { await desired.run() } }
        return Controller(vms: vms, nodes: nodes, fleet: fleet, desired: desired)
    }

    private func drawFileFault(_ call: SimulatedFiles.Call, on node: NodeHost) -> Fault? {
        if node.isFull, [.prepare, .lay, .growRootDisk].contains(call) {
            return noSpace(call.rawValue)
        }
        guard var details = strike(.file, profile.fileFailures) else { return nil }
        scheduler.note("  the disk fails at \(call.rawValue)")
        let isFull = details.hits(5_000)
        mark(isFull ? "world.disk-full" : "world.disk-error")
        return isFull
            ? noSpace(call.rawValue)
            : Fault(.ioFailed, "the disk could not be written")
    }

    /// What a full disk says to whoever writes `what`.
    func noSpace(_ what: String) -> Fault {
        Fault(.diskFull, "no space for \(what)", metadata: ["path": "simulated"])
    }

    // MARK: Ends and beginnings

    private func launch(
        _ name: String,
        dies: @escaping () -> Void,
        again: @escaping () -> Void
    ) -> (SimulatedProcess, Spawner) {
        let process = newProcess(name)
        let spawner = Spawner()
        if var details = strike(.crash, profile.crashes) {
            process.crashesAtJob = 1 + details.below(profile.crashWithinJobs)
        }
        process.whenDead { [unowned self] in
            self.mark("world.crash-of-\(name.hasPrefix("node") ? "node" : name)")
            dies()
            self.scheduler.after(.milliseconds(50) + self.latency(upTo: .seconds(3)), again)
        }
        process.run { await spawner.run() }
        return (process, spawner)
    }

    /// A daemon that cannot come up ends, and is started again by whoever watches over it.
    private func orDie(
        _ process: SimulatedProcess,
        _ work: () async throws(Fault) -> Void
    ) async {
        do throws(Fault) {
            try await work()
        } catch {
            mark("world.could-not-come-up")
            await process.kill()
        }
    }
}
