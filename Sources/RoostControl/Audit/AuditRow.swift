package import RoostModel
package import RoostStore

/// One call that was allowed and is more than reading: who made it, of what, and when.
package struct AuditRow: Row {
    package static let table = "audit"

    /// Begins with the time, so that the oldest come first, and never comes again.
    package var key: String
    /// When the call came.
    package var at: Timestamp
    /// `uid:1000`, `token:` and its id, or `dev`.
    package var principal: String
    /// The full name, such as `roost.compute.v1.VMService/StartVM`.
    package var method: String
    package var operation: OperationID
    /// What it is about; `nil`: it was not found out.
    package var subject: Event.Subject?
    /// What was run in a guest, or which path was looked into; at most ``detailBytes``.
    package var detail: String
    /// Why nothing came of it; `nil`: it was accepted.
    package var refusal: String?

    /// None: each would cost every commit, and few ask.
    package var indexes: [IndexEntry] { [] }

    /// The most bytes of ``detail``.
    package static let detailBytes = 1024
}

/// Which rows are meant. Empty: all.
package struct AuditFilter: Hashable, Sendable {
    package var since: Timestamp?
    package var before: Timestamp?
    package var principal: String
    /// The full name, or what follows its slash.
    package var method: String
    /// A name, an id, or the beginning of an id.
    package var subject: String
    /// An op id, or the end of one.
    package var operation: String

    package init(
        since: Timestamp? = nil,
        before: Timestamp? = nil,
        principal: String = "",
        method: String = "",
        subject: String = "",
        operation: String = ""
    ) {
        self.since = since
        self.before = before
        self.principal = principal
        self.method = method
        self.subject = subject
        self.operation = operation
    }

    /// Whether `row` is meant, whenever it was.
    package func admits(_ row: AuditRow) -> Bool {
        guard principal.isEmpty || row.principal == principal,
            method.isEmpty || row.method == method || row.method.hasSuffix("/\(method)"),
            operation.isEmpty || row.operation.description.hasSuffix(operation)
        else { return false }
        guard !subject.isEmpty else { return true }
        guard let its = row.subject else { return false }
        return its.name == subject || (subject.utf8.count >= 4 && its.id.hasPrefix(subject))
    }
}

/// A part of the trail, the oldest first.
package struct AuditPage: Sendable {
    package var rows: [AuditRow]
    /// Where to go on; `nil`: there is no more.
    package var next: String?
}
