import RoostModel
import RoostStore

/// A process's way to its durable rows: the disk survives it, its answers may not.
///
/// Every commit takes time before and after it takes effect, so that a crash in between leaves an
/// outcome that nobody knows. Failures are drawn from the seed.
final class SimulatedStore: Store {
    let store: MemoryStore
    /// The node whose own it is; `nil`: the control plane's.
    let host: NodeHost?
    let world: World
    /// Sees each batch that took effect.
    let committed: @Sendable (Batch, Revision) -> Void

    init(
        store: MemoryStore,
        host: NodeHost?,
        world: World,
        committed: @escaping @Sendable (Batch, Revision) -> Void
    ) {
        self.store = store
        self.host = host
        self.world = world
        self.committed = committed
    }

    func get<R: Row>(_ type: R.Type, _ key: String) async throws(Fault) -> Versioned<R>? {
        if let fault = await read() { throw fault }
        let found = try store.get(type, key)
        await answer()
        return found
    }

    func list<R: Row>(_ type: R.Type, _ query: Query) async throws(Fault) -> Listing<R> {
        if let fault = await read() { throw fault }
        let found = try store.list(type, query)
        await answer()
        return found
    }

    @discardableResult
    func commit(_ batch: Batch) async throws(Fault) -> Revision {
        await world.pause(upTo: .milliseconds(1))
        if host?.isFull == true { throw world.noSpace("node.db") }
        if host?.isStoreBroken == true { throw Fault(.ioFailed, "node.db could not be written") }
        let failure = world.drawCommitFailure()
        switch failure {
        case .diskFull: throw Fault(.diskFull, "no space", metadata: ["path": "simulated"])
        case .ioFailed: throw Fault(.ioFailed, "the disk could not be written")
        case .unknownNotApplied: throw Fault.unknownOutcome("the disk did not answer")
        case nil, .unknownApplied: break
        }
        let revision = try store.commit(batch)
        world.scheduler.mix(UInt64(revision.number))
        committed(batch, revision)
        await world.pause(upTo: .milliseconds(1))
        if failure != nil { throw Fault.unknownOutcome("the disk did not answer") }
        return revision
    }

    func changes(after revision: Revision, limit: Int) async throws(Fault) -> ChangePage {
        if let fault = await read() { throw fault }
        let found = try store.changes(after: revision, limit: limit)
        await answer()
        return found
    }

    func revision() async throws(Fault) -> Revision {
        if let fault = await read() { throw fault }
        let found = store.revision()
        await answer()
        return found
    }

    func compact(upTo revision: Revision) async throws(Fault) {
        if let fault = await read() { throw fault }
        store.compact(upTo: revision)
    }

    /// What was read is on its way, and may be old when it comes.
    private func answer() async {
        let delay = world.readDelay()
        if delay > .zero { try? await world.clock.sleep(for: delay) }
    }

    /// Takes its time. The fault is a value, not a throw: see ``Network``.
    private func read() async -> Fault? {
        await Task.yield()
        if host?.isStoreBroken == true { return Fault(.ioFailed, "node.db could not be read") }
        guard world.fault(.read, world.profile.fileFailures / 4) else { return nil }
        world.mark("world.read-failed")
        return Fault(.ioFailed, "the disk could not be read")
    }
}
