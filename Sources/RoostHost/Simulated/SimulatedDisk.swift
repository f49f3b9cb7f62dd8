package import RoostModel
import Synchronization

/// What a ``SimulatedFiles`` writes to. It outlives the daemon: what was renamed into place stays,
/// and what was only staged is found as a strange entry.
package final class SimulatedDisk: Sendable {
    /// The parts of one VM's directory.
    package struct Directory: Sendable, Hashable {
        package var image: String
        package var rootDiskGiB: Int
        /// The template that it was copied from.
        package var template: String?
        /// Whether it still believes to be its template.
        package var isUnrenewed = false
    }

    /// Everything on it.
    package struct Content: Sendable, Hashable {
        package var live: [VMID: Directory] = [:]
        package var trashed: [VMID: Directory] = [:]
        /// Directories that were begun and not renamed into place.
        package var staged: Set<VMID> = []
        /// Names of templates that have a folder.
        package var templates: Set<String> = []
    }

    /// What a console said, without what was dropped.
    struct Log {
        var bytes: [UInt8] = []
        /// The offset of the first byte that is kept.
        var start = 0
    }

    private struct State {
        var content = Content()
        var logs: [VMID: Log] = [:]
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

    func console(of id: VMID) -> Log {
        state.withLock { $0.logs[id] ?? Log() }
    }

    func change<T: Sendable>(_ body: (inout Content) -> T) -> T {
        state.withLock { body(&$0.content) }
    }

    func forgetLogs(of id: VMID) {
        state.withLock { $0.logs[id] = nil }
    }
}
