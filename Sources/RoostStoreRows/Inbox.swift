import Dispatch
import Synchronization

/// Where threads of our own wait for work from tasks.
///
/// A blocking call must not run on Swift's pool, which has as many threads as the machine has
/// cores: two slow disks would stop everything.
package final class Inbox<Element: Sendable>: Sendable {
    private struct State {
        var elements: [Element] = []
        var waiting = 0
        var isClosed = false
    }

    private let state = Mutex(State())
    private let wake = DispatchSemaphore(value: 0)

    /// An open inbox with nothing in it.
    package init() {}

    /// Adds `element`, unless the inbox is closed: then answers `false`.
    package func send(_ element: Element) -> Bool {
        let (accepted, wakes) = state.withLock { state -> (Bool, Bool) in
            guard !state.isClosed else { return (false, false) }
            state.elements.append(element)
            guard state.waiting > 0 else { return (true, false) }
            state.waiting -= 1
            return (true, true)
        }
        if wakes { wake.signal() }
        return accepted
    }

    /// Waits for elements and takes the oldest, at most `most`; none once closed and empty.
    package func take(_ most: Int) -> [Element] {
        while true {
            let taken = state.withLock { state -> [Element]? in
                if state.elements.isEmpty {
                    if state.isClosed { return [] }
                    state.waiting += 1
                    return nil
                }
                let taken = Array(state.elements.prefix(most))
                state.elements.removeFirst(taken.count)
                return taken
            }
            if let taken { return taken }
            wake.wait()
        }
    }

    /// Takes the oldest elements, at most `most`, of those that are there; waits for nothing.
    package func takeNow(_ most: Int) -> [Element] {
        state.withLock { state in
            let taken = Array(state.elements.prefix(most))
            state.elements.removeFirst(taken.count)
            return taken
        }
    }

    /// Accepts nothing more. What was accepted is still handed out.
    package func close() {
        let waiting = state.withLock { state -> Int in
            state.isClosed = true
            defer { state.waiting = 0 }
            return state.waiting
        }
        for _ in 0..<waiting { wake.signal() }
    }
}
