import RoostControl
import RoostModel
import RoostOperations

/// What clients ask about the place of their VMs, and operators of nodes.
extension Client {
    /// Labels and rules that get in each other's way on up to three nodes in two racks.
    func addTastes(to draft: inout VMDraft) {
        if tastes.chance.hits(5_000) { draft.labels["app"] = tastes.chance.pick(["web", "db"]) }
        switch tastes.chance.below(20) {
        case 0..<4: draft.placement.affinities = [.init(.apart, selector: "app=web")]
        case 4:
            draft.labels["app"] = "db"
            draft.placement.affinities = [.init(.together, selector: "app=db")]
        case 5: draft.placement.affinities = [.init(.apart, selector: "app", weight: 60)]
        case 6: draft.placement.spreads = [.init(over: "rack", selector: "app=web", maxSkew: 2)]
        case 7: draft.node = tastes.chance.pick(world.nodes).name
        default: break
        }
    }

    /// Cordons or uncordons a node, also one that is being drained. Whoever gave up asking may have
    /// been heard all the same.
    func speakOfANode() async {
        let node = tastes.chance.pick(world.nodes)
        let cordons = tastes.chance.hits(3_000)
        let request = requestToUncordon(node)
        world.scheduler.note("client\(number) says of \(node.name): \(cordons ? "" : "un")cordon")
        let gone = Fault(.daemonUnreachable, "the daemon does not answer")
        let world = world
        let name = node.name
        do throws(Fault) {
            let server: @Sendable () -> Server<Controller>? = { world.control }
            let answer = try await Network(world: world).call(
                server,
                mayDouble: false,
                gone: gone
            ) { (control: Controller) in
                await attempt { () async throws(Fault) in
                    let change = FleetService.Change.cordon(reason: "a whim")
                    return cordons
                        ? try await control.fleet.change(name, change).node
                        : try await control.fleet.uncordon(name, request).node
                }
            }
            world.mark("node.\(answer.facts.state.rawValue)")
            world.invariants.answered(of: node, answer)
        } catch {
            world.mark("node.not-answered")
        }
    }

    private func requestToUncordon(_ node: NodeHost) -> RequestContext {
        let surroundings = Surroundings(
            clock: world.clock,
            wall: world.controlWall,
            entropy: tastes
        )
        return RequestContext(
            operation: surroundings.operationID(),
            principal: "uid:\(1000 + number)",
            method: "UncordonNode",
            digest: node.name,
            answersWhenAccepted: true
        )
    }
}
