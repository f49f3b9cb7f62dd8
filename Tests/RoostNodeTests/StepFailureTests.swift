import RoostHost
import RoostLink
import RoostModel
import RoostOperations
import RoostReconciler
import Testing

@testable import RoostNode

/// One action on a VM as it is seen, generated from the actions' own definitions.
struct Trial: Sendable, CustomStringConvertible {
    let action: NodeAction
    let seen: VMObservation

    var description: String { "\(action) of disks \(seen.disks), VMM \(seen.vmm)" }

    /// Forks concern several VMs, and checkpoints what was kept before: they have suites of their own.
    private static let others: Set<NodeAction.Kind> = [
        .fork, .become, .release, .checkpoint, .revert, .forget, .branch, .freeze, .derive,
    ]

    /// Every action on everything that a node can be left with, unless the plan refuses it.
    static let all: [Trial] = NodeAction.examples.filter { !others.contains($0.kind) }.flatMap {
        action in
        Scene.possible.compactMap { seen in
            (try? plan(action, for: seen)).map { _ in Trial(action: action, seen: seen) }
        }
    }

    func delta(_ scene: Scene, _ generation: Int = 10) -> AssignmentDelta {
        scene.delta(action, generation, Scene.aim(action, seen))
    }
}

@Suite("A node's operation")
struct StepFailureTests {
    @Test("that fails at any point leaves what was there, and can be asked for again")
    func failures() async throws {
        for trial in Trial.all {
            let whole = try await Scene(trial.seen)
            whole.script.begin(failingAt: nil)
            _ = try await whole.node.apply(trial.delta(whole))
            let wanted = try whole.inventory().lasting
            let points = whole.script.passed
            #expect(points.count >= 4, "\(trial) passes too few failpoints")
            for index in points.indices {
                let what = "\(trial) failing at \(points[index])"
                let scene = try await Scene(trial.seen)
                let before = try scene.inventory()
                scene.script.begin(failingAt: index)
                let fault = await scene.fault(of: trial.delta(scene))
                let after = try scene.inventory()
                #expect(after.unfinished == 0 && after.content.staged.isEmpty, "\(what)")
                if fault == nil {
                    // Written down a second time, or so although a step failed.
                    #expect(after.lasting == wanted, "\(what)")
                } else if !isPastReturn(points[..<index], trial) {
                    #expect(after == before, "\(what)")
                }
                scene.script.begin(failingAt: nil)
                // A reboot or pause whose VMM had to go has nothing to work on.
                guard await scene.fault(of: trial.delta(scene, 11)) == nil else {
                    #expect(isPastReturn(points[..<index], trial), "\(what), again")
                    continue
                }
                #expect(try scene.inventory().lasting == wanted, "\(what), again")
            }
        }
    }

    /// Whether a step that nothing takes back was begun: then what was there cannot come back.
    private func isPastReturn(_ passed: ArraySlice<Failpoint>, _ trial: Trial) -> Bool {
        let steps = (try? plan(trial.action, for: trial.seen)) ?? []
        return steps.contains { $0.isPointOfNoReturn && passed.contains(.beforeStep($0.name)) }
    }

    @Test("done twice is done once: by its op id, and by itself unless it is one-shot")
    func twice() async throws {
        for trial in Trial.all {
            let scene = try await Scene(trial.seen)
            let delta = trial.delta(scene)
            let first = try await scene.node.apply(delta)
            let once = try scene.inventory()
            var again = try await scene.node.apply(delta)
            again.steps = first.steps
            #expect(again == first, "\(trial)")
            #expect(try scene.inventory() == once, "\(trial), sent twice")
            guard !trial.action.isOneShot else { continue }
            guard await scene.fault(of: trial.delta(scene, 11)) == nil else {
                #expect(trial.action == .restore, "\(trial) is refused once it is done")
                continue
            }
            #expect(try scene.inventory().lasting == once.lasting, "\(trial), asked for twice")
        }
    }

    @Test("has steps that are taken back, once or twice, change nothing, or cannot go back")
    func undo() async throws {
        for trial in Trial.all {
            let steps = try plan(trial.action, for: trial.seen)
            for (index, step) in steps.enumerated() {
                let scene = try await Scene(trial.seen)
                let vm = trial.delta(scene).vm
                for earlier in steps[..<index] { try await scene.act(earlier, vm) }
                let before = try scene.inventory()
                try await scene.act(step, vm)
                let done = try scene.inventory()
                try await scene.act(step, vm)
                #expect(try scene.inventory() == done, "\(step) of \(trial), twice")
                guard let inverse = step.inverse else {
                    #expect(done == before || step.isPointOfNoReturn, "\(step) has no undo")
                    continue
                }
                try await scene.act(inverse, vm)
                #expect(try scene.inventory() == before, "\(inverse) after \(step) of \(trial)")
                try await scene.act(inverse, vm)
                #expect(try scene.inventory() == before, "\(inverse) of \(trial), twice")
            }
        }
    }

    @Test("of an older generation is refused, also when the newer one's VM is gone")
    func older() async throws {
        for last in [NodeAction.stop(graceSeconds: 0), .purge] {
            let scene = try await Scene(VMObservation(disks: .missing, vmm: .absent))
            let create = scene.delta(.start, 1, .running)
            _ = try await scene.node.apply(create)
            _ = try await scene.node.apply(scene.delta(.stop(graceSeconds: 0), 2, .stopped))
            _ = try await scene.node.apply(scene.delta(last, 3, .stopped))
            let before = try scene.inventory()
            // Its own result is no longer kept: only the newest says that it is old.
            #expect(await scene.fault(of: create)?.reason == .staleEpoch)
            #expect(try scene.inventory() == before)
        }
    }
}

extension Scene {
    func fault(of delta: AssignmentDelta) async -> Fault? {
        do throws(Fault) {
            _ = try await node.apply(delta)
            return nil
        } catch { return error }
    }

    fileprivate func act(_ step: NodeStep, _ vm: VMAssignment) async throws(Fault) {
        try await node.act(step, on: vm, preemption: Signal())
    }
}
