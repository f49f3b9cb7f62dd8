import RoostLink
import RoostModel
import RoostOperations
import RoostStore
import RoostTestKit
import Synchronization
import Testing

@testable import RoostNode

@Suite("A node's fence", .timeLimit(.minutes(1)))
struct FencedLinkTests {
    /// How the node's own store fails.
    enum Failure: String, CaseIterable {
        case cannotRead
        case cannotWrite
        case isFull
        case unknownAndWritten
        case unknownAndNotWritten
    }

    /// Under its first epoch the order was carried out. A control plane that came up anew asks again, and
    /// took a disk that was full just then for the end of the operation.
    @Test(
        "answers a fault of its own store with an unknown outcome, and the repeat with what was done",
        arguments: Failure.allCases
    )
    func unknown(failure: Failure) async throws {
        let scene = LinkScene()
        try await scene.run {
            let store = FailingStore()
            let fence = FencedLink(scene.local, store: store, failpoints: NoFailpoints())
            try await fence.recover()
            var order = scene.delta(.provision, 1)
            let done = try await fence.apply(order)
            order.epoch = 2
            store.failure.withLock { $0 = failure }
            await #expect(
                performing: {
                    _ = try await fence.apply(order)
                },
                throws: { error in
                    guard let fault = error as? Fault else { return false }
                    return fault.reason == .nodeUnreachable
                        && fault.metadata["op"] == order.operation.description
                }
            )
            store.failure.withLock { $0 = nil }
            var again = try await fence.apply(order)
            again.steps = done.steps
            #expect(again == done)
            #expect(fence.epoch == 2)
        }
    }

    @Test("refuses orders of an older epoch, also after it came up anew")
    func older() async throws {
        let scene = LinkScene()
        try await scene.run {
            let store = FailingStore()
            let fence = FencedLink(scene.local, store: store, failpoints: NoFailpoints())
            try await fence.recover()
            _ = try await fence.apply(scene.delta(.provision, 1, epoch: 7))
            let next = FencedLink(scene.local, store: store, failpoints: NoFailpoints())
            try await next.recover()
            await #expect(throws: Fault(.staleEpoch, "epoch 6 is older than 7")) {
                _ = try await next.apply(scene.delta(.provision, 2, epoch: 6))
            }
        }
    }
}

/// A store of memory that fails for as long as it is told to.
private final class FailingStore: Store {
    let failure = Mutex<FencedLinkTests.Failure?>(nil)
    private let base = MemoryStore(disk: MemoryDisk())

    func get<R: Row>(_ type: R.Type, _ key: String) async throws(Fault) -> Versioned<R>? {
        if failure.withLock({ $0 == .cannotRead }) { throw Fault(.ioFailed, "it cannot be read") }
        return try base.get(type, key)
    }

    func list<R: Row>(_ type: R.Type, _ query: Query) async throws(Fault) -> Listing<R> {
        try base.list(type, query)
    }

    @discardableResult
    func commit(_ batch: Batch) async throws(Fault) -> Revision {
        switch failure.withLock(\.self) {
        case .cannotWrite: throw Fault(.ioFailed, "it cannot be written")
        case .isFull: throw Fault(.diskFull, "no space", metadata: ["path": "node.db"])
        case .unknownAndWritten:
            _ = try base.commit(batch)
            throw Fault.unknownOutcome("the disk did not answer")
        case .unknownAndNotWritten: throw Fault.unknownOutcome("the disk did not answer")
        case .cannotRead, nil: return try base.commit(batch)
        }
    }

    func changes(after revision: Revision, limit: Int) async throws(Fault) -> ChangePage {
        try base.changes(after: revision, limit: limit)
    }

    func revision() async throws(Fault) -> Revision { base.revision() }

    func compact(upTo revision: Revision) async throws(Fault) { base.compact(upTo: revision) }
}
