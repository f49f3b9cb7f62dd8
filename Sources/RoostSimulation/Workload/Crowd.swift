import RoostModel
import RoostOperations
import RoostStore

/// All clients of a run, in one process that never dies.
final class Crowd: @unchecked Sendable {
    private let world: World
    private let process: SimulatedProcess
    private let clients: [Client]
    private let watchers: [Watcher]
    private let reader: EventReader
    private let publishers: [Publisher]
    private let nodesOperator: Operator?
    private let wishes: Int
    private var running = 0

    init(world: World, wishes: Int) {
        self.world = world
        self.wishes = wishes
        process = world.newProcess("clients")
        clients = (0..<3).map { Client(world: world, number: $0) }
        watchers = (0..<2).map { Watcher(world: world, number: $0) }
        reader = EventReader(world: world)
        publishers = Publisher.all(of: world)
        nodesOperator = Operator.any(of: world)
    }

    func start() {
        for watcher in watchers { process.run { await watcher.run() } }
        process.run { await self.reader.run() }
        for client in clients {
            running += 1
            process.run {
                await client.run(wishes: self.wishes)
                self.running -= 1
            }
        }
        if let nodesOperator {
            running += 1
            process.run {
                await nodesOperator.run()
                self.running -= 1
            }
        }
        for publisher in publishers {
            running += 1
            process.run {
                await publisher.run(publications: self.wishes / 2)
                self.running -= 1
            }
        }
    }

    /// What keeps the run from being over.
    var unfinished: [String] {
        (running == 0 ? [] : ["\(running) clients have no answer"])
            + watchers.flatMap(\.unfinished) + reader.unfinished
    }

    /// Who hears and has not heard of a change for too long.
    var lagging: [String] { watchers.compactMap(\.lag) }

    /// Sends every request that was answered once more: the answer must be the same.
    func askAgain() {
        for (request, first) in world.invariants.repeatable {
            running += 1
            let client = clients[0]
            process.run {
                let again = await client.answer(first.wish, request)
                self.world.invariants.answeredAgain(request, first.answer, again)
                self.running -= 1
            }
        }
    }
}
