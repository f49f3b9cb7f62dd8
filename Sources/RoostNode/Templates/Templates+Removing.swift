import Logging
import RoostDriver
import RoostHost
import RoostModel
import RoostOperations
import Synchronization

/// Which templates go, and when: never from under a disk that lies over one.
extension Templates {
    /// Removes what is not wanted any more, if something could not be removed before.
    func sweepIfOwed() async {
        guard state.withLock({ $0.owesSweep }) else { return }
        await sweep()
    }

    /// Removes what did not serve, and the least lately used of what is too much. What a VM's disk
    /// lies over stays until that is gone.
    func sweep() async {
        await insist("cannot clear away templates; trying again") { () async throws(Fault) in
            state.withLock { $0.owesSweep = false }
            do throws(Fault) {
                try await sweepOnce()
            } catch {
                state.withLock { $0.owesSweep = true }
                throw error
            }
        }
    }

    private func sweepOnce() async throws(Fault) {
        let all = try await parts.files.templates()
        let (used, unfit) = state.withLock { ($0.used, $0.unfit) }
        let order = all.filter { !unfit.contains($0) }
            .sorted { (used[$0] ?? 0, $0) < (used[$1] ?? 0, $1) }
        var tooMany = order.count - parts.templateLimit
        for name in all where unfit.contains(name) { _ = try await remove(name) }
        for name in order where tooMany > 0 {
            if try await remove(name) { tooMany -= 1 }
        }
    }

    /// Removes the template `name` unless a VM's disk lies over it, or is about to.
    ///
    /// - Returns: whether it is gone.
    private func remove(_ name: String) async throws(Fault) -> Bool {
        guard let driver = parts.driver as? any Forking else { return false }
        let isFree = state.withLock { state in
            let isLent = state.lent[name] != nil && !parts.failpoints.skips(.lending)
            guard !isLent, !state.making.contains(name), !state.removing.contains(name) else {
                state.owesSweep = true
                return false
            }
            state.removing.insert(name)
            return true
        }
        guard isFree else { return false }
        defer { state.withLock { _ = $0.removing.remove(name) } }
        // Nobody lends it any more, so that what lies over it can be seen.
        if try await parts.files.templatesInUse().contains(name),
            !parts.failpoints.skips(.templateInUse)
        {
            parts.failpoints.mark(.templateKept)
            state.withLock { $0.owesSweep = true }
            return false
        }
        try await driver.discard(savedIn: parts.files.templateFolder(name))
        parts.failpoints.mark(.templateRemoved)
        state.withLock { _ = $0.unfit.remove(name) }
        return true
    }
}
