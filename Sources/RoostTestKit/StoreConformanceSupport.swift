import RoostModel
import RoostStore

/// Throws unless `found` is `wanted`.
func equal<T: Equatable>(_ found: T, _ wanted: T, _ what: String) throws {
    guard found == wanted else {
        throw StoreConformance.Broken(description: "\(what): found \(found), wanted \(wanted)")
    }
}

/// Throws unless `condition` holds.
func holds(_ condition: Bool, _ what: String) throws {
    guard condition else { throw StoreConformance.Broken(description: what) }
}

/// Throws unless `body` throws a fault for `reason`; answers that fault.
@discardableResult
func refuses(
    _ reason: Reason,
    _ what: String,
    _ body: () async throws -> Void
) async throws -> Fault {
    do {
        try await body()
    } catch let fault as Fault {
        try equal(fault.reason, reason, what)
        return fault
    }
    throw StoreConformance.Broken(description: "\(what): succeeded, wanted \(reason.rawValue)")
}

/// Keys that differ although something might take them for the same, in the order of their bytes.
let oddKeys: [String] = [
    "", " ", "%", "'; DROP TABLE x; --", "-1", "/", "0", "A", "Z", "[a]", "_", "a", "a b", "a%",
    "a\n", "aa", "b", "e\u{301}", "\u{7f}", "\u{e9}", "\u{fc}", "\u{ffff}", "\u{1f426}",
].sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }

extension Store {
    /// The ids that `query` lists.
    func ids(_ query: Query) async throws -> [String] {
        try await list(SampleVM.self, query).rows.map(\.row.id)
    }

    /// Every change from the start, read `limit` at a time, each page checked for whole commits.
    func allChanges(limit: Int) async throws -> [Change] {
        var changes: [Change] = []
        var from = Revision(0)
        let end = try await revision()
        while from < end {
            let page = try await self.changes(after: from, limit: limit)
            try holds(page.revision > from, "a page that does not get on from \(from)")
            if let first = page.changes.first, let last = changes.last {
                try holds(first.revision > last.revision, "a commit is split over two pages")
            }
            let revisions = Set(page.changes.map(\.revision))
            try holds(
                page.changes.count <= limit || revisions.count == 1,
                "\(page.changes.count) changes in a page of \(limit)"
            )
            changes += page.changes
            from = page.revision
        }
        return changes
    }
}

/// Runs `body` in `count` tasks at once and answers what they answered, by their number.
func together<T: Sendable>(
    _ count: Int,
    _ body: @escaping @Sendable (Int) async throws -> T
) async throws -> [T] {
    try await withThrowingTaskGroup(of: (Int, T).self) { group in
        for number in 0..<count {
            group.addTask { (number, try await body(number)) }
        }
        var answers: [(Int, T)] = []
        for try await answer in group { answers.append(answer) }
        return answers.sorted { $0.0 < $1.0 }.map(\.1)
    }
}
