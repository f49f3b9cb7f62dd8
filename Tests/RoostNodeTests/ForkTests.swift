import RoostDriver
import RoostHost
import RoostLink
import RoostModel
import RoostOperations
import RoostReconciler
import RoostStore
import Testing

@testable import RoostNode

@Suite("A fork on a node")
struct ForkTests {
    private static let fork = OperationID(bits: 99)
    private static let running = VMObservation(disks: .live, vmm: .running)

    private static func copy(_ number: Int) -> VMID { VMID(bits: UInt128(100 + number)) }

    private static func scene() async throws -> Scene {
        let scene = try await Scene(running)
        scene.hypervisor.work(scene.id, 5)
        return scene
    }

    @Test("makes copies that go on from where the source is, and keeps nothing")
    func copies() async throws {
        let scene = try await Self.scene()
        _ = try await scene.node.apply(scene.delta(.fork(Self.fork), 10, .running))
        for number in 1...3 {
            let id = Self.copy(number)
            let report = try await scene.node.apply(
                scene.delta(.become(Self.fork), 1, .running, of: id)
            )
            #expect(report.state == .running)
            #expect(report.steps.map(\.name) == ["copy-fork", "start-fork", "renew-guest"])
        }
        _ = try await scene.node.apply(scene.delta(.release(Self.fork), 10, .running))
        #expect(scene.hypervisor.savedFolders.isEmpty && scene.hypervisor.savedFiles.isEmpty)
        scene.hypervisor.work(scene.id)
        #expect(scene.hypervisor.said(scene.id) == [0, 1, 2, 3, 4, 5])
        for number in 1...3 {
            scene.hypervisor.work(Self.copy(number))
            #expect(scene.hypervisor.said(Self.copy(number)) == [5])
        }
    }

    @Test("that nobody asks for any more is swept, and one that somebody does is not")
    func swept() async throws {
        let scene = try await Self.scene()
        let forks = (1...3).map { OperationID(bits: 200 + UInt128($0)) }
        for (index, fork) in forks.enumerated() {
            _ = try await scene.node.apply(scene.delta(.fork(fork), 10 + index, .running))
        }
        // The second is the control side's, the third a copy's that was cut off.
        let copy = Self.copy(1)
        let begun = scene.delta(.become(forks[2]), 1, .running, of: copy)
        var batch = Batch()
        batch.put(AssignmentRow(assignment: begun.vm, epoch: 1, unfinished: begun, former: nil))
        _ = try MemoryStore(disk: scene.rows).commit(batch)
        #expect(scene.hypervisor.savedFolders.count == 3)
        await scene.node.sweepForks(except: [forks[1]])
        #expect(scene.hypervisor.savedFolders == forks[1...].map { "/simulated/forks/\($0)" })
        await scene.node.sweepForks(except: [forks[1]])
        #expect(scene.hypervisor.savedFolders.count == 2)
        #expect(scene.hypervisor.machines.count == 1)
    }

    @Test("goes on a fleet's node too, once no operation can be its own, and no day sooner")
    func old() async throws {
        let scene = try await Self.scene()
        let forks = [30, 32].map { (days: Int64) in
            let time = Noon().now().adding(seconds: -days * 24 * 3600)
            return OperationID(bits: UInt128(time.milliseconds) << 80 | 1)
        }
        for (index, fork) in forks.enumerated() {
            _ = try await scene.node.apply(scene.delta(.fork(fork), 10 + index, .running))
        }
        #expect(scene.hypervisor.savedFolders.count == 2)
        await scene.node.keepHouse()
        #expect(scene.hypervisor.savedFolders == ["/simulated/forks/\(forks[0])"])
    }

    @Test("of what does not run is refused, and leaves nothing")
    func refused() async throws {
        for seen in Scene.possible where seen.vmm != .running {
            let scene = try await Scene(seen)
            let (before, kept) = (try scene.inventory(), scene.hypervisor.savedFiles)
            let fault = await scene.fault(of: scene.delta(.fork(Self.fork), 10, .running))
            #expect(fault?.reason == .wrongState, "\(seen)")
            var after = try scene.inventory()
            after.assignments = before.assignments
            #expect(after == before && scene.hypervisor.savedFiles == kept, "\(seen)")
        }
    }

    @Test("that fails at any point lets the source go on and leaves nothing")
    func forkFails() async throws {
        let points = try await Self.points(of: .fork(Self.fork), before: [])
        for index in points.indices {
            let scene = try await Self.scene()
            let before = try scene.inventory().lasting
            scene.script.begin(failingAt: index)
            let fault = await scene.fault(of: scene.delta(.fork(Self.fork), 10, .running))
            scene.script.begin(failingAt: nil)
            var after = try scene.inventory().lasting
            // What fails after the commit is a fork that is there.
            if fault == nil { after.saved.removeAll { $0.contains("/forks/") } }
            #expect(after == before, "\(points[index])")
            scene.hypervisor.work(scene.id)
            #expect(scene.hypervisor.said(scene.id).last == 5, "\(points[index])")
            if fault != nil {
                #expect(scene.hypervisor.savedFiles.isEmpty, "\(points[index])")
            }
        }
    }

    @Test("that is cut off by the daemon's end has not ended: the next daemon goes on with it")
    func cutOff() async throws {
        let points = try await Self.points(of: .fork(Self.fork), before: [])
        for index in points.indices where points[index] == .afterAssign || index > 2 {
            let scene = try await Self.scene()
            let delta = scene.delta(.fork(Self.fork), 10, .running)
            scene.script.begin(failingAt: index, isCutOff: true)
            let fault = await Task { await scene.fault(of: delta) }.value
            let isRecorded = points[index] == .afterRecord
            let unfinished = try scene.inventory().unfinished
            #expect(fault?.reason == .nodeUnreachable || isRecorded, "\(points[index])")
            #expect(unfinished == (isRecorded ? 0 : 1), "\(points[index])")
            scene.script.begin(failingAt: nil)
            // Who asks again, or comes up anew, goes on with the same op id.
            let again = await scene.fault(of: delta)
            #expect(again == nil, "\(points[index])")
            #expect(try scene.inventory().unfinished == 0)
            #expect(scene.hypervisor.savedFolders == ["/simulated/forks/\(Self.fork)"])
        }
    }

    @Test(
        "is given up when somebody takes the VM down, though its agent does not answer",
        .timeLimit(.minutes(1)),
        arguments: [NodeAction.fork(fork), .checkpoint(CheckpointID(bits: 3))]
    )
    func preempted(_ action: NodeAction) async throws {
        let guest = MuteGuest()
        let scene = try await Scene(Self.running, guests: guest)
        let delta = scene.delta(action, 10, .running)
        async let fault = scene.fault(of: delta)
        await guest.isAsked.wait()
        scene.node.preempt(scene.id, operation: delta.operation)
        #expect(await fault?.reason == .opCancelled)
        // Its programs may stand still by then.
        #expect(guest.isLetGo.isSet)
        #expect(scene.hypervisor.savedFolders.isEmpty && scene.hypervisor.savedFiles.isEmpty)
    }

    @Test("has copies that, failing at any point, leave nothing and can be asked for again")
    func copyFails() async throws {
        let points = try await Self.points(of: .become(Self.fork), before: [.fork(Self.fork)])
        for index in points.indices {
            let scene = try await Self.scene()
            _ = try await scene.node.apply(scene.delta(.fork(Self.fork), 10, .running))
            let before = try scene.inventory()
            scene.script.begin(failingAt: index)
            let id = Self.copy(1)
            let fault = await scene.fault(of: scene.delta(.become(Self.fork), 1, .running, of: id))
            scene.script.begin(failingAt: nil)
            if fault != nil { #expect(try scene.inventory() == before, "\(points[index])") }
            let again = scene.delta(.become(Self.fork), 2, .running, of: id)
            #expect(await scene.fault(of: again) == nil, "\(points[index])")
            #expect(try scene.inventory().machines.count == 2, "\(points[index])")
        }
    }

    @Test("whose copy's VMM died before it was renewed makes its disk anew")
    func diedUnrenewed() async throws {
        let scene = try await Self.scene()
        _ = try await scene.node.apply(scene.delta(.fork(Self.fork), 10, .running))
        let id = Self.copy(1)
        let vm = scene.delta(.become(Self.fork), 1, .running, of: id).vm
        for step in [NodeStep.copyFork(Self.fork), .startFork(Self.fork)] {
            try await scene.node.act(step, on: vm, preemption: Signal())
        }
        scene.hypervisor.work(id, 3)
        try await scene.node.act(.killVMM, on: vm, preemption: Signal())
        let report = try await scene.node.apply(
            scene.delta(.become(Self.fork), 1, .running, of: id)
        )
        #expect(report.steps.map(\.name) == ["copy-fork", "start-fork", "renew-guest"])
        scene.hypervisor.work(id)
        #expect(scene.hypervisor.said(id) == [5, 6, 7, 5])
    }

    @Test("that was released makes no more copies")
    func released() async throws {
        let scene = try await Self.scene()
        _ = try await scene.node.apply(scene.delta(.fork(Self.fork), 10, .running))
        _ = try await scene.node.apply(scene.delta(.release(Self.fork), 10, .running))
        let late = scene.delta(.become(Self.fork), 1, .running, of: Self.copy(1))
        #expect(await scene.fault(of: late)?.reason == .savedStateDamaged)
        #expect(try scene.inventory().machines.count == 1)
    }

    /// The failpoints that `action` passes after the others.
    private static func points(
        of action: NodeAction,
        before: [NodeAction]
    ) async throws -> [Failpoint] {
        let scene = try await scene()
        for action in before { _ = try await scene.node.apply(scene.delta(action, 10, .running)) }
        scene.script.begin(failingAt: nil)
        let isCopy = action.kind == .become
        let delta = scene.delta(action, isCopy ? 1 : 10, .running, of: isCopy ? copy(1) : nil)
        _ = try await scene.node.apply(delta)
        let points = scene.script.passed
        #expect(points.count >= 6)
        return points
    }
}

/// Whose agent is asked to hold everything still, and does not answer.
private struct MuteGuest: GuestLinks {
    let isAsked = Signal()
    let isLetGo = Signal()

    func hold(_ vm: VMID) async throws(Fault) {
        isAsked.set()
        await Signal().wait()
        throw Fault(.opCancelled, "cancelled")
    }
    func letGo(_ vm: VMID) async throws(Fault) { isLetGo.set() }
    func awaitReady(_ vm: VMID) async throws(Fault) {}
    func shutDown(_ vm: VMID) async throws(Fault) {}
    func settle(_ vm: VMID) async throws(Fault) {}
    func renew(_ vm: VMID, _ identity: GuestIdentity) async throws(Fault) {}
    func freshen(_ vm: VMID, entropy: [UInt8]) async throws(Fault) {}
    func readers(of vm: VMID) async -> Int { 0 }
    func stepClock(_ vm: VMID) async {}
    func drop(_ vm: VMID) async {}
}
