import RoostStore

/// Cutting the change log into pages between commits.
enum ChangePages {
    /// The page after `start`. `read` answers the changes after a revision, at most that many;
    /// with `nil`, the changes of exactly that revision, all of them.
    static func page(
        after start: Revision,
        limit: Int,
        latest: Revision,
        _ read: (Revision, Int?) throws -> [Change]
    ) rethrows -> ChangePage {
        var changes = try read(start, limit + 1)
        guard changes.count > limit, let cut = changes.last?.revision else {
            return ChangePage(changes: changes, revision: latest)
        }
        if changes[0].revision == cut {
            // One commit with more changes than asked for comes whole: a page always gets on.
            return ChangePage(changes: try read(cut, nil), revision: cut)
        }
        changes.removeAll { $0.revision == cut }
        return ChangePage(changes: changes, revision: changes.last?.revision ?? start)
    }
}
