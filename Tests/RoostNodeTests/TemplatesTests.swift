import Logging
import RoostDriver
import RoostHost
import RoostLink
import RoostModel
import RoostOperations
import RoostReconciler
import RoostStore
import Testing

@testable import RoostNode

@Suite("A node's templates")
struct TemplatesTests {
    private let spec = VMSpec(
        cores: 1,
        memoryMiB: 512,
        image: "sha256:a",
        kernel: "sha256:b",
        disposable: true
    )
    private let fault = Fault(.savedStateDamaged, "it does not serve")

    @Test("stay where a disk lies over them, and go with the last one")
    func inUse() async throws {
        let scene = try await Scene(VMObservation(disks: .missing, vmm: .absent))
        let templates = scene.node.templates
        await templates.make(for: spec)
        let name = TemplateShape(spec).name
        #expect(scene.disk.content.templates == [name])
        try await templates.parts.files.prepareCopy(scene.id, of: name, disk: "", spec: spec)
        await templates.drop(spec, because: fault)
        // It is not used any more, and its disk is still there.
        #expect(try await templates.find(spec) == nil)
        #expect(scene.disk.content.templates == [name])
        try await templates.parts.files.purge(scene.id)
        await templates.sweepIfOwed()
        #expect(scene.disk.content.templates.isEmpty)
    }

    @Test("stay while a disk is being laid over them")
    func lent() async throws {
        let scene = try await Scene(VMObservation(disks: .missing, vmm: .absent))
        let templates = scene.node.templates
        await templates.make(for: spec)
        let name = TemplateShape(spec).name
        try templates.lend(name)
        await templates.drop(spec, because: fault)
        #expect(scene.disk.content.templates == [name])
        templates.giveBack(name)
        await templates.sweepIfOwed()
        #expect(scene.disk.content.templates.isEmpty)
    }

    @Test(
        "whose manifest nobody understands do not keep a node from coming up, nor a VM from booting"
    )
    func unreadable() async throws {
        let scene = try await Scene(VMObservation(disks: .missing, vmm: .absent))
        let templates = scene.node.templates
        await templates.make(for: spec)
        for folder in scene.hypervisor.savedFolders { scene.hypervisor.damageManifest(folder) }
        try await templates.recover()
        #expect(try await templates.find(spec) == nil)
        #expect(scene.disk.content.templates.isEmpty)
    }

    @Test("leave nothing of the VM that they are made with")
    func builder() async throws {
        let scene = try await Scene(VMObservation(disks: .missing, vmm: .absent))
        await scene.node.templates.make(for: spec)
        #expect(scene.hypervisor.machines.isEmpty && scene.disk.content.live.isEmpty)
        #expect(try await scene.node.templates.builders().isEmpty)
    }
}

@Suite("A suspended VM whose memory cannot be read")
struct UnreadableMemoryTests {
    @Test("is still suspended, refuses to start, and can be killed and purged")
    func unreadable() async throws {
        for action in [NodeAction.stop(graceSeconds: 0), .purge] {
            let scene = try await Scene(VMObservation(disks: .live, vmm: .saved))
            for folder in scene.hypervisor.savedFolders { scene.hypervisor.damageManifest(folder) }
            #expect(try await scene.node.observe().vms.map(\.state) == [.suspended])
            let start = scene.delta(.start, 10, .running)
            await #expect(throws: Fault.self) { try await scene.node.apply(start) }
            #expect(try await scene.node.observe().vms.map(\.state) == [.suspended])
            _ = try await scene.node.apply(scene.delta(action, 11, .stopped))
            #expect(scene.hypervisor.savedFolders.isEmpty)
        }
    }
}
