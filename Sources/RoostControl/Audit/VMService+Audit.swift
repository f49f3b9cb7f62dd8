import Logging
package import RoostModel
import RoostStore
import Synchronization

/// Who did what. See README.md of this folder.
extension VMService {
    /// How long the trail is kept, in seconds.
    package static let keptAuditSeconds: Int64 = 90 * 24 * 3600
    /// How many rows may wait until the store takes them again.
    static let unwrittenAudit = 10_000
    /// The most rows that one page looks at.
    static let auditScan = 20_000

    // MARK: Writing

    /// A call of now. Set it as ``AuditedCall/current`` for as long as the call is served, and end it.
    ///
    /// - Throws: ``Reason/ioFailed`` while ``unwrittenAudit`` rows wait for a store that takes none.
    package func auditedCall(
        by principal: String,
        _ method: String,
        _ operation: OperationID
    ) throws(Fault) -> AuditedCall {
        guard untold.withLock({ $0.count }) < Self.unwrittenAudit else {
            throw Fault(
                .ioFailed,
                "nothing is done while \(Self.unwrittenAudit) rows of the audit trail cannot be written"
            )
        }
        let at = now
        return AuditedCall(
            AuditRow(
                key: eventKeys.next(at: at),
                at: at,
                principal: principal,
                method: method,
                operation: operation,
                subject: nil,
                detail: "",
                refusal: nil
            )
        )
    }

    /// Writes down a call that has ended, unless a commit has told of it; `refusal` is why nothing came of
    /// it. Nobody waits: it goes with one of the next commits.
    package func endAudit(_ call: AuditedCall, refusal: String? = nil) {
        if let row = call.take(refusal: refusal) { writeLater(row, alone: false) }
    }

    /// Writes down that somebody goes into the guest of `vm`: what is done there no commit tells.
    func auditEntry(_ vm: VM, _ detail: String) {
        guard let call = AuditedCall.current else { return }
        call.about(
            .init(kind: .vm, id: vm.id.description, name: vm.name, project: vm.project),
            detail: detail
        )
        endAudit(call)
    }

    /// `batch` with the row of the call that it carries out, if there is one and it has none yet.
    func withAudit(_ batch: Batch) -> (batch: Batch, call: AuditedCall?) {
        let nodes = parts.nodes
        guard let call = AuditedCall.current,
            let subject = batch.audited(names: { nodes.name($0) }),
            let row = call.take(about: subject)
        else { return (batch, nil) }
        var batch = batch
        batch.put(row)
        return (batch, call)
    }

    // MARK: Reading

    /// The part of the trail that `filter` means, from `token` of the page before on; at most `limit`
    /// (1 … 1000) rows.
    package func audit(
        _ filter: AuditFilter,
        token: String? = nil,
        limit: Int
    ) async throws(Fault) -> AuditPage {
        guard Limits.pageSize.contains(limit) else {
            throw .invalid("page_size", "\(limit) is outside 1 … 1000")
        }
        var page = AuditPage(rows: [], next: token ?? filter.since.map(EventKeys.first(at:)))
        var seen = 0
        while seen < Self.auditScan {
            let query = Query(after: page.next, limit: 1000)
            let rows = try await parts.store.list(AuditRow.self, query).rows
            for found in rows {
                if let end = filter.before, found.row.at >= end {
                    page.next = nil
                    return page
                }
                page.next = found.row.key
                if filter.admits(found.row) { page.rows.append(found.row) }
                if page.rows.count == limit { return page }
            }
            guard rows.count == 1000 else {
                page.next = nil
                return page
            }
            seen += rows.count
        }
        return page
    }

    // MARK: Forgetting

    /// Removes what is older than the trail is kept. What fails is logged, and is tried again the next time.
    package func forgetAudit() async {
        let cutoff = now.adding(seconds: -Self.keptAuditSeconds)
        do throws(Fault) {
            while true {
                let rows = try await parts.store.list(AuditRow.self, Query(limit: 1000)).rows
                var batch = Batch()
                for found in rows.prefix(while: { $0.row.at < cutoff }) {
                    batch.delete(AuditRow.self, found.row.key)
                }
                guard !batch.writes.isEmpty else { return }
                try await commit(batch)
            }
        } catch {
            parts.log.warning("could not shorten the audit trail", metadata: ["fault": "\(error)"])
        }
    }
}
