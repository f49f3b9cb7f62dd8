import RoostLink
package import RoostModel
package import RoostOperations
package import RoostStore

/// Which VMs to list.
package struct VMFilter: Sendable, Hashable {
    /// Empty: every project.
    package var project: String
    package var node: NodeID?
    /// Empty: every state.
    package var states: Set<VMState>
    package var selector: Selector
    /// Whether those in the trash are listed too.
    package var showsTrash: Bool

    package init(
        project: String = "",
        node: NodeID? = nil,
        states: Set<VMState> = [],
        selector: Selector = .all,
        showsTrash: Bool = false
    ) {
        self.project = project
        self.node = node
        self.states = states
        self.selector = selector
        self.showsTrash = showsTrash
    }

    /// Whether what became `vm` (`nil`: gone) may have been meant: projects never change.
    func mayHaveHeld(_ vm: VM?) -> Bool {
        guard let vm, !project.isEmpty else { return true }
        return vm.project == project
    }

    /// Whether `vm` is meant.
    package func admits(_ vm: VM) -> Bool {
        vm.seal == nil && (project.isEmpty || vm.project == project)
            && (node == nil || vm.status.node == node)
            && (states.isEmpty || states.contains(vm.status.state)) && selector.matches(vm.labels)
            && (showsTrash || vm.deletedAt == nil)
    }
}

/// One page of a list.
package struct VMPage: Sendable {
    package var vms: [Versioned<VM>]
    /// The revision of the first page.
    package var revision: Revision
    /// Where the next page begins; `nil` on the last.
    package var next: PageToken?
}

/// Where a list goes on: after this id, as of that revision.
package struct PageToken: Sendable, Hashable, CustomStringConvertible {
    package var after: VMID
    package var revision: Revision

    package init(after: VMID, revision: Revision) {
        self.after = after
        self.revision = revision
    }

    /// Reads what ``description`` wrote.
    package init(_ text: String) throws(Fault) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let number = Int64(parts[0]), number >= 0, let id = VMID(parts[1])
        else { throw .invalid("page_token", "'\(shown(text))' is not from an earlier page") }
        self.init(after: id, revision: Revision(number))
    }

    package var description: String { "\(revision.number).\(after)" }
}

extension VMService {
    /// The node that `reference` means; `nil` for none.
    ///
    /// - Throws: as ``NodeDirectory/find(_:field:)``.
    package func findNode(_ reference: String) throws(Fault) -> NodeID? {
        reference.isEmpty ? nil : try parts.nodes.find(reference)
    }

    /// One VM, also from the trash.
    package func get(_ reference: String, project: ProjectView) async throws(Fault) -> Versioned<VM>
    {
        try await find(reference, project: project, trashed: true)
    }

    /// A page of VMs in id order: every VM that existed at the first page is seen exactly once.
    package func list(
        _ filter: VMFilter,
        size: Int,
        token: PageToken?
    ) async throws(Fault) -> VMPage {
        guard Limits.pageSize.contains(size) else {
            throw .invalid("page_size", "\(size) is outside 1 … 1000")
        }
        var found: [Versioned<VM>] = []
        var after = token?.after.description
        var revision = token?.revision
        while true {
            let listing = try await parts.store.list(VM.self, Query(after: after, limit: 1000))
            if revision == nil { revision = listing.revision }
            for row in listing.rows where filter.admits(row.row) {
                if found.count == size, let last = found.last, let revision {
                    let next = PageToken(after: last.row.id, revision: revision)
                    return VMPage(vms: found, revision: revision, next: next)
                }
                found.append(row)
            }
            guard listing.rows.count == 1000, let last = listing.rows.last else {
                return VMPage(vms: found, revision: revision ?? listing.revision, next: nil)
            }
            after = last.row.key
        }
    }

    /// Waits until `isReached` says so of the VM, or it is gone, or `limit` has passed.
    ///
    /// - Returns: the VM as it is then (`nil`: gone), and whether it got there.
    package func wait(
        _ id: VMID,
        until isReached: @escaping @Sendable (VM) -> Bool,
        limit: Duration
    ) async throws(Fault) -> (vm: Versioned<VM>?, reached: Bool) {
        do throws(Fault) {
            let timeout = Fault(.deadline, "waited", metadata: ["op": ""])
            return try await within(limit, on: parts.surroundings.clock, onTimeout: timeout) {
                () async throws(Fault) in
                while true {
                    let commit = self.nextCommit
                    let found = try await self.parts.store.get(VM.self, id.description)
                    guard let found else { return (nil, false) }
                    if isReached(found.row) { return (found, true) }
                    await commit.wait()
                    if Task.isCancelled { throw Fault(.opCancelled, "nobody waits any more") }
                }
            }
        } catch  where error.reason == .deadline {
            return (try await parts.store.get(VM.self, id.description), false)
        }
    }

    /// One operation.
    package func operation(_ id: OperationID) async throws(Fault) -> OperationRow {
        guard let found = try await parts.store.get(OperationRow.self, id.description) else {
            throw Fault(.operationNotFound, "no operation \(id)", metadata: ["op": id.description])
        }
        return found.row
    }

    /// Operations, the latest first, at most `limit`; of one VM when `vm` is given.
    ///
    /// `before` is where a page goes on: only older operations than that. Ids rise with time, so what
    /// begins meanwhile is on no later page.
    ///
    /// - Returns: the page, and where the next one goes on; `nil` behind the last.
    package func operations(
        of vm: VMID?,
        before: OperationID? = nil,
        limit: Int
    ) async throws(Fault) -> (rows: [OperationRow], next: OperationID?) {
        guard Limits.pageSize.contains(limit) else {
            throw .invalid("page_size", "\(limit) is outside 1 … 1000")
        }
        let matching = vm.map { [IndexEntry("vm", $0.description)] } ?? []
        let rows = try await parts.store.list(OperationRow.self, Query(matching: matching)).rows
        let older = before.map { before in rows.filter { $0.row.id < before } } ?? rows
        let page = older.suffix(limit).reversed().map(\.row)
        return (page, older.count > limit ? page.last?.id : nil)
    }

    /// The operations whose id, as it is written, ends in `ending`.
    package func operations(endingIn ending: String) async throws(Fault) -> [OperationRow] {
        let rows = try await parts.store.list(OperationRow.self, Query()).rows
        return rows.map(\.row).filter { $0.id.description.hasSuffix(ending) }
    }

    /// Those of `rows` that are there for `project`'s asker: for one who is confined, operations on the
    /// project's VMs that still have a row.
    package func operations(
        _ rows: [OperationRow],
        admittedTo project: ProjectView
    ) async throws(Fault) -> [OperationRow] {
        guard project.isConfined else { return rows }
        let query = Query(matching: [IndexEntry("project", project.name)])
        let vms = Set(try await parts.store.list(VM.self, query).rows.map(\.row.id))
        return rows.filter { vms.contains($0.vm) }
    }
}

extension VMService {
    /// Waits until `id` has ended or `limit` has passed; its record as it is then.
    package func waitForOperation(
        _ id: OperationID,
        limit: Duration
    ) async throws(Fault) -> OperationRow {
        do throws(Fault) {
            let timeout = Fault(.deadline, "waited", metadata: ["op": id.description])
            return try await within(limit, on: parts.surroundings.clock, onTimeout: timeout) {
                () async throws(Fault) in try await self.ledger.ending(of: id)
            }
        } catch  where error.reason == .deadline {
            return try await operation(id)
        }
    }

    /// Makes `id` stop at its next step boundary, and waits for its end. Fine when it has ended.
    package func cancelOperation(_ id: OperationID) async throws(Fault) -> OperationRow {
        let row = try await operation(id)
        guard !row.state.isTerminal else { return row }
        ledger.preempt(id)
        if let vm = try await parts.store.get(VM.self, row.vm.description)?.row {
            try await parts.nodes.link(vm.status.node).preempt(row.vm, operation: id)
        }
        return try await ledger.ending(of: id)
    }
}
