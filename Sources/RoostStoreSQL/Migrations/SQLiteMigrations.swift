/// The schema, step by step. A step that has shipped never changes; a change is another step.
///
/// Only what belongs to no row type stands here: each row type's own table comes with its first
/// row (``rowTable(_:)``), so that a new type needs no migration.
enum SQLiteMigrations {
    /// Step `n` takes the schema from version `n - 1` to `n`.
    static let steps: [String] = [step1]

    /// The newest schema that this build understands.
    static var latest: Int { steps.count }

    /// Says in the file's header that it is ours (`PRAGMA application_id`): "Rst1".
    static let applicationID: Int32 = 0x5273_7431

    /// `meta` has one row. `clean` is 1 only while nobody has the store open. `fence` is raised
    /// after a commit whose outcome was unknown, to find it out.
    private static let step1 = """
        CREATE TABLE meta (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            revision INTEGER NOT NULL,
            compacted INTEGER NOT NULL,
            clean INTEGER NOT NULL,
            fence INTEGER NOT NULL
        );
        INSERT INTO meta (id, revision, compacted, clean, fence) VALUES (1, 0, 0, 1, 0);
        CREATE TABLE change (
            revision INTEGER NOT NULL,
            position INTEGER NOT NULL,
            tbl TEXT NOT NULL,
            key TEXT NOT NULL,
            deletion INTEGER NOT NULL,
            PRIMARY KEY (revision, position)
        ) WITHOUT ROWID;
        CREATE TABLE entry (
            tbl TEXT NOT NULL,
            name TEXT NOT NULL,
            value TEXT NOT NULL,
            key TEXT NOT NULL,
            PRIMARY KEY (tbl, name, value, key)
        ) WITHOUT ROWID;
        """

    /// The table of one row type. With a rowid: new rows of a group of commits then share pages,
    /// where a clustered key would touch one page for each.
    static func rowTable(_ table: String) -> String {
        """
        CREATE TABLE IF NOT EXISTS row_\(table) (
            key TEXT NOT NULL PRIMARY KEY,
            version INTEGER NOT NULL,
            entries BLOB,
            body TEXT NOT NULL
        )
        """
    }
}
