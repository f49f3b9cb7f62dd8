package import Logging
package import RoostModel
package import RoostOperations
package import RoostStore
import Synchronization

/// What the control side's VM service is made of.
package struct ControlParts: Sendable {
    package var store: any Store
    package var nodes: NodeDirectory
    package var surroundings: Surroundings
    package var failpoints: any Failpoints
    package var spawner: Spawner
    package var log: Logger
    /// This control plane's lease epoch.
    package var epoch: Int64
    /// How long a deleted VM can be undeleted, in seconds.
    package var trashSeconds: Int64

    package init(
        store: any Store,
        nodes: NodeDirectory,
        surroundings: Surroundings,
        failpoints: any Failpoints,
        spawner: Spawner,
        log: Logger,
        epoch: Int64 = 1,
        trashSeconds: Int64 = 7 * 24 * 3600
    ) {
        self.store = store
        self.nodes = nodes
        self.surroundings = surroundings
        self.failpoints = failpoints
        self.spawner = spawner
        self.log = log
        self.epoch = epoch
        self.trashSeconds = trashSeconds
    }
}

/// The answer to a change.
package struct VMOutcome: Sendable {
    package var vm: VM
    package var etag: Revision?
    /// `false` when what was asked for held already.
    package var changed: Bool
    package var operation: OperationID

    package init(vm: VM, etag: Revision?, changed: Bool, operation: OperationID) {
        self.vm = vm
        self.etag = etag
        self.changed = changed
        self.operation = operation
    }
}

/// The VMs as users have them: every verb of the API, over durable operations.
///
/// See README.md: a request is accepted by one commit, driven on the node, and settled by another.
package final class VMService: Sendable {
    let parts: ControlParts
    package let ledger: OperationLedger
    /// Rung after each commit; whoever watches waits for it.
    private let bell = Mutex(Signal())
    /// VMs whose node spoke up while an operation held them.
    let noted = Mutex<Set<VMID>>([])
    /// VMs that their policy is about to start again.
    let restarting = Mutex<Set<VMID>>([])
    /// Names the rows of events.
    let eventKeys: EventKeys
    /// What is nobody's commit, such as an event that is only seen.
    let untold = Mutex(Outbox())

    package init(_ parts: ControlParts) {
        self.parts = parts
        eventKeys = EventKeys(parts.surroundings.entropy)
        ledger = OperationLedger(
            store: parts.store,
            wall: parts.surroundings.wall,
            failpoints: parts.failpoints
        )
    }

    var now: Timestamp { parts.surroundings.wall.now() }

    /// The epoch under which this control plane gives its orders.
    package var epoch: Int64 { parts.epoch }

    // MARK: Accepting, once

    /// Answers a repeated op id from its record; else runs `accept` as the only one of this id.
    ///
    /// `accept` makes the operation durable and returns it, or returns an outcome that needed none.
    func once(
        _ context: RequestContext,
        _ accept: (OperationLedger.Live) async throws(Fault) -> Accepted
    ) async throws(Fault) -> VMOutcome {
        while true {
            if !parts.failpoints.skips(.once),
                let earlier = try await ledger.earlier(context)
            {
                parts.failpoints.mark(.answeredAgain)
                return try await replay(earlier)
            }
            guard let live = ledger.begin(context.operation) else {
                // The same request is on its way in: its end is this one's answer too.
                parts.failpoints.mark(.sameIDWaited)
                await waitForLive(context.operation)
                try unlessCallerLeft()
                continue
            }
            // Between the look and the beginning it may have come and gone.
            if try await isKnown(context.operation) {
                ledger.end(context.operation)
                continue
            }
            let accepted: Accepted
            do throws(Fault) {
                accepted = try await accept(live)
            } catch {
                ledger.end(context.operation)
                throw error
            }
            return try await carryOut(accepted, context, live)
        }
    }

    /// What accepting led to.
    enum Accepted: Sendable {
        /// Nothing is to be done on a node; the answer stands.
        case settled(VMOutcome)
        /// This operation is durable now and must be driven.
        case toDrive(OperationRow, VM)
    }

    private func carryOut(
        _ accepted: Accepted,
        _ context: RequestContext,
        _ live: OperationLedger.Live
    ) async throws(Fault) -> VMOutcome {
        switch accepted {
        case .settled(let outcome):
            ledger.end(context.operation)
            return outcome
        case .toDrive(let row, let vm):
            try await failAfterAccept(row)
            parts.spawner.spawn { await self.drive(row, live) }
            if context.answersWhenAccepted {
                return VMOutcome(vm: vm, etag: nil, changed: true, operation: row.id)
            }
            return try await replay(try await ledger.ending(of: row.id))
        }
    }

    private func failAfterAccept(_ row: OperationRow) async throws(Fault) {
        do throws(Fault) {
            try await parts.failpoints.pass(.afterAccept)
        } catch {
            // Accepted is accepted: it goes on as it would after a crash here.
            parts.log.warning("failpoint after accept", metadata: ["op_id": "\(row.id)"])
        }
    }

    /// Throws once the caller is gone: nobody waits for what was not accepted, and every wait of a
    /// cancelled task ends at once, so that trying again would go on without a pause.
    func unlessCallerLeft() throws(Fault) {
        if Task.isCancelled { throw Fault(.opCancelled, "the caller has gone") }
    }

    private func waitForLive(_ id: OperationID) async {
        do throws(Fault) { _ = try await ledger.ending(of: id) } catch {
            // It was refused before it was accepted; the caller tries by itself.
        }
    }

    /// The answer that the operation gave, or gives now.
    func replay(_ row: OperationRow) async throws(Fault) -> VMOutcome {
        switch row.state {
        case .failed, .cancelled:
            throw row.fault?.fault ?? Fault(.bug, "operation \(row.id) failed without a fault")
        case .running, .done:
            let current = try await parts.store.get(VM.self, row.vm.description)
            guard let vm = row.result ?? current?.row else {
                throw Fault(.vmNotFound, "\(row.vmName) is gone")
            }
            // The etag belongs to the row as it is; an old answer has none.
            let etag = current?.row == vm ? current?.version : nil
            return VMOutcome(vm: vm, etag: etag, changed: row.changed, operation: row.id)
        }
    }

    private func isKnown(_ id: OperationID) async throws(Fault) -> Bool {
        if parts.failpoints.skips(.once) { return false }
        do throws(Fault) {
            return try await parts.store.get(OperationRow.self, id.description) != nil
        } catch {
            ledger.end(id)
            throw error
        }
    }

    /// Commits what is in `batch`, and the events and the call that belong to it, and wakes whoever watches.
    @discardableResult
    func commit(_ batch: Batch) async throws(Fault) -> Revision {
        let (batch, call) = withAudit(withEvents(batch))
        let revision: Revision
        do throws(Fault) {
            revision = try await parts.store.commit(batch)
        } catch {
            guard error.outcomeIsUnknown, !parts.failpoints.skips(.unknown),
                let written = try await written(batch)
            else {
                if error.outcomeIsUnknown {
                    parts.failpoints.mark(.commitLost)
                    // It may have been written all the same, and nobody else would wake a watch.
                    ring()
                }
                call?.giveBack()
                throw error
            }
            parts.failpoints.mark(.commitFound)
            revision = written
        }
        parts.nodes.note(revision)
        ring()
        return revision
    }

    /// The revision at which the operation of `batch` was written, if it was: of a commit without an
    /// answer nobody knows. An accepted operation that is taken for a refused one holds its VM for
    /// ever, so that this asks until it is told.
    private func written(_ batch: Batch) async throws(Fault) -> Revision? {
        let rows = batch.writes.compactMap { write -> OperationRow? in
            guard case .put(let row) = write else { return nil }
            return row as? OperationRow
        }
        guard let row = rows.first else { return nil }
        while true {
            do throws(Fault) {
                let found = try await parts.store.get(OperationRow.self, row.key)
                return found?.row == row ? found?.version : nil
            } catch {
                guard !Task.isCancelled else { throw error }
                try? await parts.surroundings.clock.sleep(for: .milliseconds(50))
            }
        }
    }

    private func ring() {
        let old = bell.withLock { signal in
            defer { signal = Signal() }
            return signal
        }
        old.set()
    }

    /// What is set at the next commit. Take it before reading, so that nothing is missed.
    package var nextCommit: Signal { bell.withLock { $0 } }

    // MARK: Finding

    /// The VM that `reference` means: an id, a unique prefix of one (4 digits or more), or a name.
    ///
    /// - Throws: ``Reason/invalidFields`` without one, ``Reason/vmNotFound``, also for a template, or
    ///   ``Reason/ambiguousName`` for a prefix of several.
    package func find(
        _ reference: String,
        project: ProjectView,
        trashed: Bool = false
    ) async throws(Fault) -> Versioned<VM> {
        let found = try await findAny(reference, project: project, trashed: trashed)
        guard found.row.seal != nil else { return found }
        throw Fault(
            .vmNotFound,
            "\(found.row.name) is a template, which is never started or changed; VMs are made from it: "
                + "roost run --template \(found.row.name)",
            metadata: ["vm": found.row.name]
        )
    }

    /// Likewise, or a template by its id.
    func findAny(
        _ reference: String,
        project: ProjectView,
        trashed: Bool = false
    ) async throws(Fault) -> Versioned<VM> {
        guard !reference.isEmpty else {
            throw .invalid("id", "is required: a VM's name, its id, or a unique prefix of that")
        }
        // Names win over prefixes: "cafe" is both.
        if let id = VMID(reference),
            let found = try await parts.store.get(VM.self, id.description),
            project.admits(found.row.project)
        {
            return found
        }
        if let name = try await parts.store.get(NameRow.self, NameRow.key(project.name, reference)),
            let found = try await parts.store.get(VM.self, name.row.vm.description)
        {
            return found
        }
        if let found = try await byPrefix(reference, project) { return found }
        if trashed, let found = try await lastDeleted(reference, project) { return found }
        throw Fault(
            .vmNotFound,
            "no VM '\(shown(reference))' in project \(shown(project.name))",
            metadata: ["vm": shown(reference)]
        )
    }

    /// The VM of that name that was deleted last: the one that people mean.
    func lastDeleted(_ name: String, _ project: ProjectView) async throws(Fault) -> Versioned<VM>? {
        let entry = IndexEntry("trashed", "\(project.name)/\(name)")
        let rows = try await parts.store.list(VM.self, Query(matching: [entry])).rows
        let deletedAt = { (found: Versioned<VM>) in found.row.deletedAt?.milliseconds ?? .min }
        return rows.max { (deletedAt($0), $0.row.id) < (deletedAt($1), $1.row.id) }
    }

    private func byPrefix(
        _ text: String,
        _ project: ProjectView
    ) async throws(Fault) -> Versioned<VM>? {
        guard (4...31).contains(text.utf8.count),
            text.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) })
        else { return nil }
        var found: [Versioned<VM>] = []
        var after = text
        while true {
            let limit = project.isConfined ? 1000 : 2
            let page = try await parts.store.list(VM.self, Query(after: after, limit: limit)).rows
            let rows = page.filter { $0.row.key.hasPrefix(text) }
            // What is not there for the asker makes nothing ambiguous.
            found += rows.filter { project.admits($0.row.project) }
            guard found.count < 2 else {
                throw Fault(.ambiguousName, "'\(text)' begins the ids of several VMs")
            }
            guard project.isConfined, rows.count == limit, let last = rows.last else {
                return found.first
            }
            after = last.row.key
        }
    }
}
