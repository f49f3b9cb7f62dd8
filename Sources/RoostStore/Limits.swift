package import RoostModel

/// The limits that every store keeps, so that rows fit each of them.
package enum StoreLimits {
    /// The most bytes of a key.
    package static let keyBytes = 255
    /// The most bytes of an index entry's value. PostgreSQL's B-tree takes about 2,700.
    package static let indexValueBytes = 1_024
    /// The most rows or changes that one call asks for.
    package static let page = 10_000
}

extension Batch {
    /// Refuses rows that not every store could hold.
    ///
    /// - Throws: ``Reason/invalidFields`` naming the table and what is wrong with its key or index
    ///   entry.
    package func check() throws(Fault) {
        for write in writes {
            switch write {
            case .put(let row):
                try check(row)
            case .delete(let table, let key):
                try Batch.checkKey(key, table: table)
            }
        }
    }

    private func check(_ row: any Row) throws(Fault) {
        let table = type(of: row).table
        try Batch.checkKey(row.key, table: table)
        for entry in row.indexes {
            let size = entry.value.utf8.count
            guard size <= StoreLimits.indexValueBytes else {
                let most = StoreLimits.indexValueBytes
                throw Fault.invalid(
                    "\(table).\(entry.name)",
                    "\(size) bytes, but an index value has at most \(most)"
                )
            }
            guard !entry.value.utf8.contains(0), !entry.name.utf8.contains(0) else {
                throw Fault.invalid("\(table).\(entry.name)", "an index value has no NUL byte")
            }
        }
    }

    private static func checkKey(_ key: String, table: String) throws(Fault) {
        let size = key.utf8.count
        guard size <= StoreLimits.keyBytes else {
            let most = StoreLimits.keyBytes
            throw Fault.invalid("\(table).key", "\(size) bytes, but a key has at most \(most)")
        }
        guard !key.utf8.contains(0) else {
            throw Fault.invalid("\(table).key", "a key has no NUL byte")
        }
    }
}

extension Query {
    /// Refuses a limit outside 1 … 10,000.
    package func check() throws(Fault) {
        try checkPage(limit)
    }
}

/// Refuses a page size outside 1 … 10,000.
///
/// - Throws: ``Reason/invalidFields`` for `limit`.
package func checkPage(_ limit: Int) throws(Fault) {
    guard (1...StoreLimits.page).contains(limit) else {
        throw Fault.invalid("limit", "\(limit) is not in 1 … \(StoreLimits.page)")
    }
}
