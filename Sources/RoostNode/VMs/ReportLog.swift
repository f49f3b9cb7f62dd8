package import RoostLink
import RoostOperations
import Synchronization

/// The latest changes that happened by themselves, for whoever asks from a cursor.
///
/// Bounded: who asks too late is told that it missed some, and looks at everything again.
package final class ReportLog: Sendable {
    private struct State {
        var reports: [VMReport] = []
        /// The cursor after the last report.
        var end: UInt64 = 0
        var changed = Signal()
    }

    private static let limit = 1024
    private let state: Mutex<State>

    /// An empty log whose cursors begin at `start`: a number that no former log of this node had, or
    /// a cursor of that one would be taken for one of this, and what came between be missed.
    package init(startingAt start: UInt64) {
        state = Mutex(State(end: start))
    }

    /// Adds a change and wakes everybody who waits.
    package func add(_ report: VMReport) {
        let waiting = state.withLock { state in
            state.reports.append(report)
            state.end += 1
            if state.reports.count > Self.limit { state.reports.removeFirst() }
            defer { state.changed = Signal() }
            return state.changed
        }
        waiting.set()
    }

    /// Where to begin reading so as to see only what comes from now on.
    package var cursor: UInt64 { state.withLock { $0.end } }

    /// The changes after `cursor`, waiting until there is one or this task is cancelled.
    package func after(_ cursor: UInt64) async -> ReportPage {
        while true {
            let (page, changed) = state.withLock { state in
                (Self.page(of: state, after: cursor), state.changed)
            }
            if let page { return page }
            await changed.wait()
            if Task.isCancelled {
                return ReportPage(vms: [], cursor: cursor, missedSome: false)
            }
        }
    }

    private static func page(of state: State, after cursor: UInt64) -> ReportPage? {
        let first = state.end - UInt64(state.reports.count)
        // A cursor from before a restart lies elsewhere: everything may have changed.
        if cursor > state.end || cursor < first {
            return ReportPage(vms: state.reports, cursor: state.end, missedSome: true)
        }
        guard cursor < state.end else { return nil }
        let reports = Array(state.reports[Int(cursor - first)...])
        return ReportPage(vms: reports, cursor: state.end, missedSome: false)
    }
}
