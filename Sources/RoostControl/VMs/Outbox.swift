import RoostStore

/// What is nobody's commit, until the store has taken it: rows in the order in which they were added.
///
/// A value that decides; whoever owns it has one writer, from the ``add(_:alone:)`` that says so until the
/// ``next()`` that is `nil`. Both are asked under one lock, so that there are never two writers and never
/// none.
struct Outbox {
    private struct Commit {
        var batch = Batch()
        var rows = 0
        /// Whether more may come along.
        var isOpen: Bool
    }

    /// The most rows of one commit.
    static let commitRows = 500

    private var commits: [Commit] = []
    private var isWriting = false

    /// How many rows the store has not taken yet.
    var count: Int { commits.reduce(0) { $0 + $1.rows } }

    /// Adds `row`; `alone`: in a commit of its own. Says whether a writer is to be started.
    mutating func add(_ row: some Row, alone: Bool) -> Bool {
        let last = commits.last
        if alone || last?.isOpen != true || last?.rows == Self.commitRows {
            commits.append(Commit(isOpen: !alone))
        }
        commits[commits.count - 1].batch.insert(row)
        commits[commits.count - 1].rows += 1
        defer { isWriting = true }
        return !isWriting
    }

    /// What is to be written now, the same until ``written()``; `nil`: nothing, and the writer has ended.
    mutating func next() -> Batch? {
        guard !commits.isEmpty else {
            isWriting = false
            return nil
        }
        // If its answer is lost, all of it was written or nothing of it.
        commits[0].isOpen = false
        return commits[0].batch
    }

    /// The store has taken what ``next()`` gave.
    mutating func written() { commits.removeFirst() }
}
