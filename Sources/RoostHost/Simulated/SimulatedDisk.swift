package import RoostModel
import Synchronization

/// What a ``SimulatedFiles`` writes to. It outlives the daemon: what was renamed into place stays,
/// and what was only staged is found as a strange entry.
///
/// It has a page cache: what was not synced outlives the daemon and not a cut of the power.
package final class SimulatedDisk: Sendable {
    /// The parts of one VM's directory.
    package struct Directory: Sendable, Hashable {
        package var image: String
        package var rootDiskGiB: Int
        /// The template that it was copied from.
        package var template: String?
        /// Whether it still believes to be its template.
        package var isUnrenewed = false
        /// Whether its bytes were synced. One that was not may be torn after a cut of the power.
        package var isSynced: Bool
    }

    /// Everything on it.
    package struct Content: Sendable, Hashable {
        package var live: [VMID: Directory] = [:]
        package var trashed: [VMID: Directory] = [:]
        /// Directories that were begun and not renamed into place.
        package var staged: [VMID: Directory] = [:]
        /// Names of templates that have a folder, whole or not.
        package var templates: Set<String> = []
    }

    /// What a console said, without what was dropped.
    struct Log {
        var bytes: [UInt8] = []
        /// The offset of the first byte that is kept.
        var start = 0
    }

    /// One change of what is on it.
    typealias Change = @Sendable (inout Content) -> Void

    private struct State {
        var content = Content()
        /// What a cut of the power leaves for sure.
        var durable = Content()
        /// What has happened since, in order; each may or may not have reached the platter.
        var unsynced: [(id: VMID, change: Change)] = []
        var logs: [VMID: Log] = [:]
        /// Names of forks that have a folder, whole or not.
        var forks: Set<String> = []
        var purged: @Sendable (VMID) -> Void = { _ in }
    }

    /// The most bytes kept of one log; the older half is dropped when it is full.
    private static let logLimit = 64 << 10

    private let state = Mutex(State())

    package init() {}

    /// What is on it now.
    package var content: Content { state.withLock { $0.content } }

    /// Adds a line to the console log of `id`.
    package func say(_ id: VMID, _ line: String) {
        state.withLock { state in
            var log = state.logs[id] ?? Log()
            log.bytes += Array(line.utf8) + [10]
            if log.bytes.count > Self.logLimit {
                let excess = log.bytes.count - Self.logLimit / 2
                log.bytes.removeFirst(excess)
                log.start += excess
            }
            state.logs[id] = log
        }
    }

    /// Says that the folder at `path` has come to be, or is gone; a driver's saved machines are not
    /// written through here. At once durable. Only folders of templates and forks matter.
    package func folder(_ path: String, exists: Bool) {
        if path.hasPrefix(Self.forks) {
            let name = String(path.dropFirst(Self.forks.count))
            state.withLock { state in
                if exists { state.forks.insert(name) } else { state.forks.remove(name) }
            }
            return
        }
        guard path.hasPrefix(Self.templates) else { return }
        let name = String(path.dropFirst(Self.templates.count))
        state.withLock { state in
            if exists {
                state.content.templates.insert(name)
                state.durable.templates.insert(name)
            } else {
                state.content.templates.remove(name)
                state.durable.templates.remove(name)
            }
        }
    }

    /// From now on `hear` hears of each VM whose directory is purged: what a driver kept in it goes
    /// with it.
    package func whenPurged(_ hear: @escaping @Sendable (VMID) -> Void) {
        state.withLock { $0.purged = hear }
    }

    func purge(_ id: VMID) {
        change(id) { content in
            content.live[id] = nil
            content.trashed[id] = nil
            content.staged[id] = nil
        }
        forgetLogs(of: id)
        state.withLock { $0.purged }(id)
    }

    static let templates = "/simulated/templates/"
    static let forks = "/simulated/forks/"

    /// Names of forks that have a folder.
    var forks: Set<String> { state.withLock { $0.forks } }

    func console(of id: VMID) -> Log {
        state.withLock { $0.logs[id] ?? Log() }
    }

    /// Changes what is on it. Until it is synced, a cut of the power may take it back.
    func change(_ id: VMID, _ body: @escaping Change) {
        state.withLock { state in
            body(&state.content)
            state.unsynced.append((id, body))
        }
    }

    /// Makes every change of `id`'s entries durable, as `fsync` of their directories does.
    func sync(_ id: VMID) {
        state.withLock { state in
            for entry in state.unsynced where entry.id == id { entry.change(&state.durable) }
            state.unsynced.removeAll { $0.id == id }
        }
    }

    /// Makes everything durable, as `sync` does.
    func syncAll() {
        state.withLock { state in
            state.durable = state.content
            state.unsynced = []
        }
    }

    /// Loses what was not synced, but for the changes that `keeps` says had reached the platter.
    package func cutPower(keeps: () -> Bool) {
        state.withLock { state in
            for entry in state.unsynced where keeps() { entry.change(&state.durable) }
            state.unsynced = []
            state.content = state.durable
        }
    }

    private func forgetLogs(of id: VMID) {
        state.withLock { $0.logs[id] = nil }
    }
}
