import Logging
package import RoostModel
import RoostOperations
package import RoostStore
import Synchronization

/// The events of some commits that somebody asked for.
package struct EventPage: Sendable {
    /// In order; may be empty. A commit's come together.
    package var events: [PlacedEvent]
    /// Whoever goes on after this has missed none and sees none twice.
    package var revision: Revision

    package init(events: [PlacedEvent], revision: Revision) {
        self.events = events
        self.revision = revision
    }
}

/// Telling what happens. See README.md of this folder.
extension VMService {
    /// How long events are kept, in seconds.
    package static let keptEventSeconds: Int64 = 7 * 24 * 3600

    // MARK: Reading

    /// The latest events that `filter` means, at most `limit` (1 … 1000), and where to go on.
    package func events(_ filter: EventFilter, limit: Int) async throws(Fault) -> EventPage {
        try Self.check(limit)
        let revision = try await parts.store.revision()
        // Most ask for the last few: what is older is read only when that is not enough.
        for seconds: Int64 in [600, 6 * 3600] {
            let found = try await events(
                filter,
                upTo: revision,
                since: now.adding(seconds: -seconds)
            )
            if found.count >= limit {
                return EventPage(events: found.suffix(limit), revision: revision)
            }
        }
        let found = try await events(filter, upTo: revision, since: nil)
        return EventPage(events: found.suffix(limit), revision: revision)
    }

    /// The first events after `revision` that `filter` means: `limit` (1 … 1000) or a few more, for a
    /// commit's come together; and where to go on.
    ///
    /// - Throws: ``Reason/revisionCompacted`` when some of them may not be kept any more.
    package func events(
        _ filter: EventFilter,
        after revision: Revision,
        limit: Int
    ) async throws(Fault) -> EventPage {
        try Self.check(limit)
        var found = EventPage(events: [], revision: revision)
        while found.events.count < limit {
            let page = try await parts.store.changes(after: found.revision, limit: limit)
            guard !page.changes.isEmpty else { return found }
            for each in try await events(of: page, filter) {
                found.events += each.events
                found.revision = each.revision
                if found.events.count >= limit { return found }
            }
            found.revision = page.revision
        }
        return found
    }

    private static func check(_ limit: Int) throws(Fault) {
        guard Limits.pageSize.contains(limit) else {
            throw .invalid("page_size", "\(limit) is outside 1 … 1000")
        }
    }

    private func events(
        _ filter: EventFilter,
        upTo revision: Revision,
        since time: Timestamp?
    ) async throws(Fault) -> [PlacedEvent] {
        var found: [PlacedEvent] = []
        var after = time.map(EventKeys.first(at:))
        while true {
            let query = Query(after: after, limit: StoreLimits.page)
            let rows = try await parts.store.list(EventRow.self, query).rows
            for row in rows where row.version <= revision {
                found += row.placed.filter { filter.admits($0.event) }
            }
            guard rows.count == StoreLimits.page, let last = rows.last else { break }
            after = last.row.key
        }
        // Clocks are set back now and then; commits are not.
        return found.sorted { ($0.revision, $0.ordinal) < ($1.revision, $1.ordinal) }
    }

    // MARK: Following

    /// Sends what happens after `since`, or from now on, until cancelled: the events of each commit
    /// together, and now and then an empty page that only says how far it is.
    ///
    /// - Throws: ``Reason/revisionCompacted`` when events after the last page that was sent are not kept
    ///   any more, ``Reason/watchTooSlow`` when a page was not taken in time; and what `send` throws.
    package func followEvents(
        _ filter: EventFilter,
        since: Revision?,
        patience: Duration = SlowReader.patience,
        send: @escaping @Sendable (EventPage) async throws -> Void
    ) async throws {
        let reader = SlowReader(patience: patience, clock: parts.surroundings.clock)
        try await reader.run(send) { send in
            try await self.follow(filter, since, send)
        }
    }

    private func follow(
        _ filter: EventFilter,
        _ since: Revision?,
        _ send: @Sendable (EventPage) async throws -> Void
    ) async throws {
        var cursor: Revision
        if let since { cursor = since } else { cursor = try await parts.store.revision() }
        // Before it waits: a revision that is gone, or never was, is refused at once.
        _ = try await parts.store.changes(after: cursor, limit: 1)
        try await send(EventPage(events: [], revision: cursor))
        while !Task.isCancelled {
            let commit = nextCommit
            let page = try await parts.store.changes(after: cursor, limit: 1000)
            guard !page.changes.isEmpty else {
                await commit.wait()
                continue
            }
            for each in try await events(of: page, filter) { try await send(each) }
            cursor = page.revision
            if parts.failpoints.skips(.eventCursor) { cursor = try await parts.store.revision() }
            try await send(EventPage(events: [], revision: cursor))
        }
    }

    /// The events among some changes, commit by commit.
    private func events(
        of page: ChangePage,
        _ filter: EventFilter
    ) async throws(Fault) -> [EventPage] {
        var pages: [EventPage] = []
        for change in page.changes where change.table == EventRow.table && !change.isDeletion {
            guard let found = try await parts.store.get(EventRow.self, change.key) else {
                throw Fault(
                    .revisionCompacted,
                    "the events of revision \(change.revision.number) are not kept any more",
                    metadata: ["latest": "\(page.revision.number)"]
                )
            }
            let events = found.placed.filter { filter.admits($0.event) }
            if !events.isEmpty {
                pages.append(EventPage(events: events, revision: change.revision))
            }
        }
        return pages
    }

    // MARK: Writing

    /// `batch` with the row of the events that belong in its commit.
    func withEvents(_ batch: Batch) -> Batch {
        let nodes = parts.nodes
        let events = batch.events(
            names: { nodes.name($0) },
            silence: { nodes.silence(of: $0) }
        )
        guard !events.isEmpty else { return batch }
        let at = now
        let row = EventRow(key: eventKeys.next(at: at), at: at, events: events)
        if parts.failpoints.skips(.eventCommit) {
            writeLater(row, alone: true)
            return batch
        }
        var batch = batch
        batch.put(row)
        return batch
    }

    /// Writes down that a node is in another state, by what is seen of it and by nobody's commit. In the
    /// order of the calls; tries until it is written, or this process ends: the next one sees for itself.
    func tell(_ node: NodeID, is to: String, reason: String) {
        let at = now
        let subject = Event.Subject(
            kind: .node,
            id: node.description,
            name: parts.nodes.name(node)
        )
        let event = Event(kind: .nodeState, subject: subject, to: to, reason: reason)
        let row = EventRow(key: eventKeys.next(at: at), at: at, events: [event])
        writeLater(row, alone: true)
    }

    /// Writes `row` as soon as it can, in the order of the calls; `alone`: in a commit of its own, as events
    /// must be, since whoever follows them goes on after a commit.
    func writeLater(_ row: some Row, alone: Bool) {
        guard untold.withLock({ $0.add(row, alone: alone) }) else { return }
        parts.spawner.spawn { [self] in await writeUntold() }
    }

    private func writeUntold() async {
        var pause = Duration.milliseconds(50)
        while !Task.isCancelled, let next = untold.withLock({ $0.next() }) {
            do throws(Fault) {
                try await commit(next)
            } catch  where error.reason == .storeConflict {
                // It was written by a commit whose answer was lost.
            } catch {
                parts.log.warning(
                    "cannot write down what happened",
                    metadata: ["fault": "\(error)"]
                )
                try? await parts.surroundings.clock.sleep(for: pause)
                pause = min(pause * 2, .seconds(2))
                continue
            }
            untold.withLock { $0.written() }
            pause = .milliseconds(50)
        }
    }

    // MARK: Forgetting

    /// Removes the rows that are older than what is kept, and those of commits up to `revision`; at most
    /// 1,000 a call. Says how many.
    func forgetEvents(upTo revision: Revision) async throws(Fault) -> Int {
        let cutoff = now.adding(seconds: -Self.keptEventSeconds)
        var batch = Batch()
        for found in try await parts.store.list(EventRow.self, Query(limit: 1000)).rows {
            guard found.row.at < cutoff || found.version <= revision else { break }
            batch.delete(EventRow.self, found.row.key)
        }
        if !batch.writes.isEmpty { try await commit(batch) }
        return batch.writes.count
    }
}
