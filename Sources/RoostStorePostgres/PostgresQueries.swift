import RoostStore

/// The statements that read. Each is one statement, and so sees one revision.
enum PostgresQueries {
    static let revision = PostgresStatement("SELECT revision FROM roost.meta WHERE id = 1")

    /// Version and body of one row; `nil` for a key that no row has.
    static func row(_ table: String, _ key: String) -> PostgresStatement? {
        guard !key.utf8.contains(0) else { return nil }
        return PostgresStatement(
            "SELECT version, body FROM roost.row WHERE tbl = $1 AND key = $2",
            .text(table),
            .text(key)
        )
    }

    /// The revision, and key, version and body of each row in the order of keys; one row of NULLs
    /// beside the revision when there is none.
    static func rows(_ table: String, _ query: Query) -> PostgresStatement {
        var parameters: [PostgresParameter] = []
        func next(_ parameter: PostgresParameter) -> String {
            parameters.append(parameter)
            return "$\(parameters.count)"
        }
        var source = "FROM roost.row r WHERE r.tbl = \(next(.text(table)))"
        var order = "r.key"
        // No row has an entry with a NUL in it.
        let isVain = query.matching.contains {
            $0.name.utf8.contains(0) || $0.value.utf8.contains(0)
        }
        if isVain {
            source += " AND false"
        } else if let first = query.matching.first {
            source =
                """
                FROM roost.entry e JOIN roost.row r ON r.tbl = e.tbl AND r.key = e.key
                WHERE e.tbl = $1 AND e.name = \(next(.text(first.name)))
                AND e.value = \(next(.text(first.value)))
                """
            order = "e.key"
            for other in query.matching.dropFirst() {
                source +=
                    """
                     AND EXISTS (SELECT FROM roost.entry o WHERE o.tbl = $1
                        AND o.name = \(next(.text(other.name)))
                        AND o.value = \(next(.text(other.value))) AND o.key = e.key)
                    """
            }
        }
        if let after = query.after { source += " AND \(order) > \(next(.text(cut(after))))" }
        return PostgresStatement(
            """
            SELECT m.revision, x.key, x.version, x.body FROM roost.meta m
            LEFT JOIN LATERAL (
                SELECT r.key, r.version, r.body \(source) ORDER BY \(order)
                LIMIT \(next(.int(Int64(query.limit))))
            ) x ON true
            WHERE m.id = 1 ORDER BY x.key
            """,
            of: parameters
        )
    }

    /// The revision, the one up to which changes are forgotten, where the page is cut off (NULL: it
    /// is not), whether that is in its first commit; then each change, whole commits only.
    static func changes(after revision: Revision, limit: Int) -> PostgresStatement {
        PostgresStatement(
            """
            SELECT m.revision, m.compacted, b.cut, b.cut = b.first,
                c.revision, c.tbl, c.key, c.deletion
            FROM roost.meta m
            CROSS JOIN LATERAL (
                SELECT (SELECT revision FROM roost.change WHERE revision > $1
                        ORDER BY revision, position OFFSET $2 LIMIT 1) AS cut,
                    (SELECT revision FROM roost.change WHERE revision > $1
                        ORDER BY revision, position LIMIT 1) AS first
            ) b
            LEFT JOIN roost.change c ON c.revision > $1 AND c.revision <=
                CASE WHEN b.cut IS NULL THEN m.revision WHEN b.cut = b.first THEN b.cut
                    ELSE b.cut - 1 END
            WHERE m.id = 1 ORDER BY c.revision, c.position
            """,
            .int(revision.number),
            .int(Int64(limit))
        )
    }

    /// A text up to its first NUL. No key has one, so the same keys come after both.
    private static func cut(_ text: String) -> String {
        String(text.unicodeScalars.prefix { $0.value != 0 })
    }
}
