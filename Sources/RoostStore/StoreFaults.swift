package import RoostModel

/// What every store says in the same words.
extension Fault {
    /// A condition of a batch that did not hold. `metadata` has `table` and `key`, so that a caller
    /// can tell a name that is taken from a row that has changed.
    package static func storeConflict(_ condition: Batch.Condition, found: Revision?) -> Fault {
        let wanted = condition.version.map { "revision \($0.number)" } ?? "no row"
        let there = found.map { "revision \($0.number)" } ?? "no row"
        return Fault(
            .storeConflict,
            "\(condition.table)/\(condition.key): expected \(wanted), found \(there)",
            metadata: ["table": condition.table, "key": condition.key]
        )
    }

    /// A change log that no longer goes back to `revision`, or never got that far.
    package static func compacted(
        _ revision: Revision,
        kept: Revision,
        latest: Revision
    ) -> Fault {
        Fault(
            .revisionCompacted,
            "revision \(revision.number) is outside \(kept.number) … \(latest.number)",
            metadata: ["kept": "\(kept.number)", "latest": "\(latest.number)"]
        )
    }

    /// A row that is stored but cannot be understood as `table`'s type.
    package static func unreadableRow(
        table: String,
        key: String,
        path: String,
        cause: (any Error)? = nil
    ) -> Fault {
        Fault(
            .stateUnreadable,
            "\(table)/\(key): the stored row cannot be decoded",
            metadata: ["table": table, "key": key, "path": path],
            cause: cause
        )
    }

    /// A commit of which nobody knows whether it took effect: read before trying again.
    package static func unknownOutcome(_ message: String, cause: (any Error)? = nil) -> Fault {
        Fault(.ioFailed, message, metadata: ["outcome": "unknown"], cause: cause)
    }

    /// Whether a commit that threw this may have taken effect all the same.
    package var outcomeIsUnknown: Bool {
        reason == .ioFailed && metadata["outcome"] == "unknown"
    }
}
