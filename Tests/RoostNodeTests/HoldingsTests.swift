import RoostHost
import RoostModel
import RoostReconciler
import Testing

@testable import RoostNode

@Suite("What a node says that it has")
struct HoldingsTests {
    @Test("its images with names and the default, and the templates that serve")
    func all() async throws {
        let scene = try await Scene(VMObservation(disks: .missing, vmm: .absent))
        let images = try await SimulatedCatalogue.small().images()
        let wanted = images.map {
            NodeHoldings.Image(digest: $0.digest, names: $0.names, isDefault: true)
        }
        #expect(try await scene.node.holdings() == NodeHoldings(images: wanted))
        let spec = VMSpec(
            cores: 1,
            memoryMiB: 512,
            image: wanted[0].digest,
            kernel: "sha256:b",
            disposable: true
        )
        await scene.node.templates.make(for: spec)
        let name = TemplateShape(spec).name
        let holdings = try await scene.node.holdings()
        #expect(holdings == NodeHoldings(images: wanted, templates: [name]))
        #expect(holdings.violations() == [])
        // One that did not serve stays while a disk lies over it, and is none to count on.
        try await scene.node.templates.parts.files.prepareCopy(
            scene.id,
            of: name,
            disk: "",
            spec: spec
        )
        await scene.node.templates.drop(spec, because: Fault(.savedStateDamaged, "no"))
        #expect(scene.disk.content.templates == [name])
        #expect(try await scene.node.holdings().templates == [])
    }
}
