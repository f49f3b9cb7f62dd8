import RoostTestKit
import Testing

@Suite("The local link", .timeLimit(.minutes(1)))
struct LocalLinkTests {
    @Test("carries what a link must carry", arguments: NodeLinkConformance.all)
    func conforms(_ check: NodeLinkConformance) async throws {
        let scene = LinkScene()
        try await scene.run { try await check.run(scene.local, scene) }
    }
}
