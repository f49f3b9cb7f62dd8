package import RoostModel
import RoostOperations
package import RoostStore

/// One thing that a watch sees.
package struct VMEvent: Sendable {
    package enum Kind: Sendable {
        case added
        case modified
        case deleted
        /// Nothing happened to what is watched; the revision moved on.
        case bookmark
    }

    package var kind: Kind
    /// Where a later watch can go on from.
    package var revision: Revision
    /// The VM as it is now; `nil` for deletions and bookmarks.
    package var vm: Versioned<VM>?
    /// Set for deletions.
    package var id: VMID?
}

extension VMService {
    /// Sends what is there, then every change, until cancelled.
    ///
    /// With `from`, only what came after that revision. Changes of one VM that follow each other
    /// quickly may be seen as one, with the latest contents; none is missed.
    /// - Throws: ``Reason/revisionCompacted`` when `from` is older than what is kept,
    ///   ``Reason/watchTooSlow`` when something was not taken in time.
    package func watch(
        _ filter: VMFilter,
        only: VMID?,
        from: Revision?,
        send: @escaping @Sendable (VMEvent) async throws -> Void
    ) async throws {
        let reader = SlowReader(clock: parts.surroundings.clock)
        try await reader.run(send) { send in
            try await self.watchAll(filter, only: only, from: from, send: send)
        }
    }

    private func watchAll(
        _ filter: VMFilter,
        only: VMID?,
        from: Revision?,
        send: @Sendable (VMEvent) async throws -> Void
    ) async throws {
        var seen: Set<VMID> = []
        var cursor: Revision
        if let from {
            parts.failpoints.mark(.watchResumed)
            cursor = from
        } else {
            cursor = try await parts.store.revision()
            var token: PageToken?
            repeat {
                let page = try await list(filter, size: 1000, token: token)
                for found in page.vms where only == nil || found.row.id == only {
                    seen.insert(found.row.id)
                    try await send(VMEvent(kind: .added, revision: cursor, vm: found))
                }
                token = page.next
            } while token != nil
            try await send(VMEvent(kind: .bookmark, revision: cursor))
        }
        while !Task.isCancelled {
            var commit = nextCommit
            let page = try await parts.store.changes(after: cursor, limit: 1000)
            guard !page.changes.isEmpty else {
                if parts.failpoints.skips(.watchBell) { commit = nextCommit }
                parts.failpoints.mark(.watchWaited)
                await commit.wait()
                continue
            }
            for change in page.changes where change.table == VM.table {
                guard let id = VMID(change.key), only == nil || id == only else { continue }
                let found = try await parts.store.get(VM.self, change.key)
                if let found, filter.admits(found.row) {
                    let kind: VMEvent.Kind = seen.insert(id).inserted ? .added : .modified
                    try await send(VMEvent(kind: kind, revision: change.revision, vm: found))
                } else if seen.remove(id) != nil || (from != nil && filter.mayHaveHeld(found?.row))
                {
                    try await send(VMEvent(kind: .deleted, revision: change.revision, id: id))
                }
            }
            cursor = page.revision
            if parts.failpoints.skips(.watchCursor) { cursor = try await parts.store.revision() }
            try await send(VMEvent(kind: .bookmark, revision: cursor))
        }
    }
}
