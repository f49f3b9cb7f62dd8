import RoostDriver
import RoostHost
import RoostLink
import RoostModel
import RoostOperations
import RoostReconciler
import Testing

@testable import RoostNode

@Suite("A checkpoint on a node")
struct CheckpointTests {
    private static let first = CheckpointID(bits: 1)
    private static let second = CheckpointID(bits: 2)
    private static let fork = OperationID(bits: 99)
    private static let running = VMObservation(disks: .live, vmm: .running)
    private static let stopped = VMObservation(disks: .live, vmm: .absent)

    private static func scene(_ seen: VMObservation = running) async throws -> Scene {
        let scene = try await Scene(seen)
        if seen.vmm == .running { scene.hypervisor.work(scene.id, 5) }
        return scene
    }

    private static func back(_ id: CheckpointID, memory: Bool = true) -> NodeAction {
        .revert(RevertOrder(checkpoint: id, hasMemory: memory, force: false))
    }

    @Test("says what it keeps: memory and disk of what runs, else the disk alone")
    func kept() async throws {
        for seen in [Self.running, Self.stopped] {
            let scene = try await Self.scene(seen)
            let runs = seen.vmm == .running
            let report = try await scene.node.apply(
                scene.delta(.checkpoint(Self.first), 10, runs ? .running : .stopped)
            )
            #expect(report.steps.map(\.name) == ["keep-checkpoint"])
            #expect(report.state == (runs ? .running : .stopped))
            let kept = try #require(report.kept)
            let roles = ["devices", "memory", "rootDisk"]
            #expect(kept.hasMemory == runs)
            #expect(kept.files.map(\.role) == (runs ? roles : ["rootDisk"]))
            #expect(kept.files.allSatisfy { $0.digest.hasPrefix("sha256:") })
        }
    }

    @Test("of a VM that stands still has its memory, and it stands still")
    func paused() async throws {
        let scene = try await Self.scene()
        _ = try await scene.node.apply(scene.delta(.pause, 10, .paused))
        let report = try await scene.node.apply(scene.delta(.checkpoint(Self.first), 11, .paused))
        #expect(report.state == .paused && report.kept?.hasMemory == true)
        #expect(scene.hypervisor.machines.map(\.isPaused) == [true])
        _ = try await scene.node.apply(scene.delta(.resume, 12, .running))
        scene.hypervisor.work(scene.id, 2)
        _ = try await scene.node.apply(scene.delta(Self.back(Self.first), 13, .running))
        scene.hypervisor.work(scene.id)
        #expect(scene.hypervisor.said(scene.id) == [0, 1, 2, 3, 4, 5, 6, 5])
    }

    @Test("is what the VM goes back to, running, stopped or standing still")
    func wayBack() async throws {
        for power in [NodeAction.resume, .pause, .stop(graceSeconds: 0)] {
            let scene = try await Self.scene()
            _ = try await scene.node.apply(scene.delta(.checkpoint(Self.first), 10, .running))
            scene.hypervisor.work(scene.id, 3)
            _ = try await scene.node.apply(scene.delta(power, 11, Scene.aim(power, Self.running)))
            let report = try await scene.node.apply(
                scene.delta(Self.back(Self.first), 12, .running)
            )
            #expect(report.state == .running, "\(power)")
            scene.hypervisor.work(scene.id)
            #expect(scene.hypervisor.said(scene.id) == [0, 1, 2, 3, 4, 5, 6, 7, 5], "\(power)")
            #expect(scene.hypervisor.machines.count == 1)
        }
    }

    @Test("of a disk alone stops what runs and goes back")
    func diskAlone() async throws {
        let scene = try await Self.scene(Self.stopped)
        _ = try await scene.node.apply(scene.delta(.checkpoint(Self.first), 10, .stopped))
        _ = try await scene.node.apply(scene.delta(.start, 11, .running))
        scene.hypervisor.work(scene.id, 3)
        let report = try await scene.node.apply(
            scene.delta(Self.back(Self.first, memory: false), 12, .stopped)
        )
        #expect(report.state == .stopped && scene.hypervisor.machines.isEmpty)
        #expect(scene.hypervisor.diskCount(of: scene.id) == -1)
    }

    @Test("that is damaged is refused, and the VM goes on")
    func damaged() async throws {
        let scene = try await Self.scene()
        _ = try await scene.node.apply(scene.delta(.checkpoint(Self.first), 10, .running))
        for (index, path) in scene.hypervisor.savedFiles.enumerated() {
            scene.hypervisor.damage(path, isMissing: index == 0, shortened: index == 1)
            let before = try scene.inventory().lasting
            let fault = await scene.fault(
                of: scene.delta(Self.back(Self.first), 11 + index, .running)
            )
            #expect(fault?.reason == .checkpointDamaged, "\(path)")
            #expect(fault?.metadata["vm"] == "box" && fault?.metadata["path"] != nil)
            #expect(try scene.inventory().lasting == before)
        }
        scene.hypervisor.work(scene.id)
        #expect(scene.hypervisor.said(scene.id).last == 5)
    }

    @Test("cannot be made of, or gone back to by, what is suspended or in the trash")
    func refused() async throws {
        for seen in Scene.possible where seen.disks != .live || seen.vmm == .saved {
            let scene = try await Scene(seen)
            for action in [NodeAction.checkpoint(Self.first), Self.back(Self.first)] {
                let fault = await scene.fault(of: scene.delta(action, 10, .stopped))
                #expect(fault?.reason == .wrongState, "\(action) of \(seen)")
            }
        }
    }

    @Test("leaves, made or gone back to or removed and failing at any point, what was there")
    func failures() async throws {
        let trials: [(VMObservation, [NodeAction], NodeAction)] = [
            (Self.running, [], .checkpoint(Self.first)),
            (Self.stopped, [], .checkpoint(Self.first)),
            (VMObservation(disks: .live, vmm: .paused), [], .checkpoint(Self.first)),
            (Self.running, [.checkpoint(Self.first)], Self.back(Self.first)),
            (Self.running, [.checkpoint(Self.first)], .branch(Self.fork, Self.first)),
            (Self.running, [.checkpoint(Self.first)], .checkpoint(Self.second)),
            (Self.running, [.checkpoint(Self.first)], .forget(Self.first)),
        ]
        for (seen, before, action) in trials {
            let points = try await Self.points(of: action, after: before, seen)
            #expect(points.count >= 6, "\(action)")
            for index in points.indices {
                let what = "\(action) of \(seen) failing at \(points[index])"
                let scene = try await Self.prepared(before, seen)
                let was = try scene.inventory().lasting
                scene.script.begin(failingAt: index)
                let delta = Self.delta(scene, action, seen)
                let fault = await scene.fault(of: delta)
                scene.script.begin(failingAt: nil)
                let isPast = points[..<index].contains { point in
                    ["go-back", "drop-checkpoint"].contains { point == .afterStep($0) }
                        || point == .beforeRecord
                }
                if fault != nil, !isPast, points[index] != .afterStep("go-back"),
                    points[index] != .afterStep("drop-checkpoint")
                {
                    #expect(try scene.inventory().lasting == was, "\(what)")
                }
                // Asked for again it is done, and the VM runs if it ran.
                _ = await scene.fault(of: Self.delta(scene, action, seen, 20))
                let now = try scene.inventory()
                #expect(now.unfinished == 0 && now.content.staged.isEmpty, "\(what)")
                #expect(now.machines.count == (seen.vmm == .absent ? 0 : 1), "\(what)")
                #expect(now.machines.values.allSatisfy { $0 == (seen.vmm == .paused) }, "\(what)")
                scene.hypervisor.work(scene.id)
                let said = scene.hypervisor.said(scene.id)
                #expect(said.last == (seen.vmm == .running ? 5 : nil), "\(what)")
            }
        }
    }

    @Test("has steps that, done twice or taken back twice, are done or taken back once")
    func twice() async throws {
        for seen in [Self.running, Self.stopped] {
            for (before, step) in [
                ([NodeAction](), NodeStep.keepCheckpoint(Self.first)),
                ([.checkpoint(Self.first)], .lendCheckpoint(Self.fork, Self.first)),
                ([.checkpoint(Self.first)], .dropCheckpoint(Self.first)),
            ] {
                let scene = try await Self.prepared(before, seen)
                let vm = Self.delta(scene, .checkpoint(Self.first), seen).vm
                let was = try scene.inventory().lasting
                try await scene.node.act(step, on: vm, preemption: Signal())
                let done = try scene.inventory()
                try await scene.node.act(step, on: vm, preemption: Signal())
                #expect(try scene.inventory() == done, "\(step), twice")
                #expect(done.saved != was.saved, "\(step) does nothing")
                guard let inverse = step.inverse else { continue }
                for _ in 0..<2 {
                    try await scene.node.act(inverse, on: vm, preemption: Signal())
                    #expect(try scene.inventory().lasting == was, "\(inverse)")
                }
            }
        }
    }

    @Test("may be removed while others stand on what it has, and copies begin from any")
    func tree() async throws {
        let scene = try await Self.scene()
        _ = try await scene.node.apply(scene.delta(.checkpoint(Self.first), 10, .running))
        scene.hypervisor.work(scene.id, 2)
        _ = try await scene.node.apply(scene.delta(.checkpoint(Self.second), 11, .running))
        _ = try await scene.node.apply(
            scene.delta(.branch(Self.fork, Self.second), 12, .running)
        )
        _ = try await scene.node.apply(scene.delta(.forget(Self.second), 13, .running))
        let copy = VMID(bits: 100)
        _ = try await scene.node.apply(scene.delta(.become(Self.fork), 1, .running, of: copy))
        _ = try await scene.node.apply(scene.delta(.release(Self.fork), 14, .running))
        scene.hypervisor.work(copy)
        #expect(scene.hypervisor.said(copy) == [7])
        let late = await scene.fault(of: scene.delta(Self.back(Self.second), 15, .running))
        #expect(late?.reason == .checkpointDamaged)
        _ = try await scene.node.apply(scene.delta(Self.back(Self.first), 16, .running))
        scene.hypervisor.work(scene.id)
        #expect(scene.hypervisor.said(scene.id).last == 5)
    }

    @Test("of a disk alone makes copies that boot")
    func coldCopy() async throws {
        let scene = try await Self.scene(Self.stopped)
        _ = try await scene.node.apply(scene.delta(.checkpoint(Self.first), 10, .stopped))
        _ = try await scene.node.apply(scene.delta(.branch(Self.fork, Self.first), 11, .stopped))
        let copy = VMID(bits: 100)
        let report = try await scene.node.apply(
            scene.delta(.become(Self.fork), 1, .running, of: copy)
        )
        #expect(report.state == .running)
        #expect(report.steps.map(\.name) == ["copy-fork", "start-fork", "renew-guest"])
        scene.hypervisor.work(copy)
        #expect(scene.hypervisor.said(copy) == [0])
    }

    @Test("goes with its VM's last byte, and not to the trash before")
    func purged() async throws {
        let scene = try await Self.scene()
        _ = try await scene.node.apply(scene.delta(.checkpoint(Self.first), 10, .running))
        _ = try await scene.node.apply(scene.delta(.discard, 11, .stopped))
        #expect(scene.hypervisor.savedFolders.count == 1)
        _ = try await scene.node.apply(scene.delta(.purge, 12, .stopped))
        #expect(scene.hypervisor.savedFolders.isEmpty && scene.hypervisor.savedFiles.isEmpty)
    }

    private static func delta(
        _ scene: Scene,
        _ action: NodeAction,
        _ seen: VMObservation,
        _ generation: Int = 15
    ) -> AssignmentDelta {
        scene.delta(action, generation, Scene.wish(for: seen))
    }

    private static func prepared(
        _ actions: [NodeAction],
        _ seen: VMObservation
    ) async throws -> Scene {
        let scene = try await scene(seen)
        for (index, action) in actions.enumerated() {
            _ = try await scene.node.apply(delta(scene, action, seen, 10 + index))
        }
        return scene
    }

    /// The failpoints that `action` passes after the others.
    private static func points(
        of action: NodeAction,
        after before: [NodeAction],
        _ seen: VMObservation
    ) async throws -> [Failpoint] {
        let scene = try await prepared(before, seen)
        scene.script.begin(failingAt: nil)
        _ = try await scene.node.apply(delta(scene, action, seen))
        return scene.script.passed
    }
}
