package import RoostModel
import Synchronization

/// What a ``MemoryStore`` writes to. It outlives the store, as a disk outlives a process: a
/// simulated crash throws the store away and opens another on the same disk.
package final class MemoryDisk: Sendable {
    fileprivate let tables: Mutex<MemoryTables>

    /// An empty disk.
    package init() { tables = Mutex(MemoryTables()) }

    private init(_ tables: MemoryTables) { self.tables = Mutex(tables) }

    /// Another disk with the same content, which then goes its own way: a backup.
    package func copy() -> MemoryDisk { MemoryDisk(tables.withLock { $0 }) }
}

/// How a commit to a ``MemoryStore`` goes wrong when its owner wants it to.
package enum MemoryCommitFailure: Hashable, Sendable, CaseIterable {
    /// Nothing is written; the caller is told so: `diskFull`.
    case diskFull
    /// Nothing is written; the caller is told so: `ioFailed`.
    case ioFailed
    /// Nothing is written, and the caller cannot know: `ioFailed`, outcome unknown.
    case unknownNotApplied
    /// Everything is written, and the caller cannot know: `ioFailed`, outcome unknown.
    case unknownApplied
}

/// A ``Store`` in memory: the reference for what the contract means, and the simulator's store.
///
/// No call ever suspends, and nothing depends on a hash's order, so that a seed replays.
/// Rows are kept as values; nothing is encoded.
package struct MemoryStore: Store {
    /// Asked at each commit whether it shall fail, and how. `nil` lets it be.
    package typealias Failing = @Sendable (Batch) -> MemoryCommitFailure?

    private let disk: MemoryDisk
    private let failing: Failing

    /// Opens what `disk` holds. `failing` is asked once for each commit, outside every lock and
    /// before the conditions are checked. A conflict goes before `unknownApplied`: what does not
    /// hold is not applied, and is answered as the conflict that it is.
    package init(
        disk: MemoryDisk = MemoryDisk(),
        failing: @escaping Failing = { _ in nil }
    ) {
        self.disk = disk
        self.failing = failing
    }

    package func get<R: Row>(_ type: R.Type, _ key: String) throws(Fault) -> Versioned<R>? {
        try disk.tables.withLock { (tables) throws(Fault) in try tables.get(type, key) }
    }

    package func list<R: Row>(_ type: R.Type, _ query: Query) throws(Fault) -> Listing<R> {
        try disk.tables.withLock { (tables) throws(Fault) in try tables.list(type, query) }
    }

    @discardableResult
    package func commit(_ batch: Batch) throws(Fault) -> Revision {
        switch failing(batch) {
        case nil:
            return try apply(batch)
        case .diskFull:
            throw Fault(.diskFull, "the memory disk is full", metadata: ["path": "memory"])
        case .ioFailed:
            throw Fault(.ioFailed, "the memory disk could not be written")
        case .unknownNotApplied:
            throw Fault.unknownOutcome("the memory disk did not answer")
        case .unknownApplied:
            _ = try apply(batch)
            throw Fault.unknownOutcome("the memory disk did not answer")
        }
    }

    package func changes(after revision: Revision, limit: Int) throws(Fault) -> ChangePage {
        try disk.tables.withLock { (tables) throws(Fault) in
            try tables.changes(after: revision, limit: limit)
        }
    }

    package func revision() -> Revision {
        disk.tables.withLock { $0.revision }
    }

    package func compact(upTo revision: Revision) {
        disk.tables.withLock { $0.compact(upTo: revision) }
    }

    private func apply(_ batch: Batch) throws(Fault) -> Revision {
        try disk.tables.withLock { (tables) throws(Fault) in try tables.commit(batch) }
    }
}
