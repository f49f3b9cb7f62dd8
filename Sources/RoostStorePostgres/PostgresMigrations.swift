/// The schema, step by step. A step that has shipped never changes; a change is another step.
///
/// Everything stands in a schema of its own, `roost`, and every name is written with it: a search
/// path is a session's, and a pooler gives sessions to anybody.
enum PostgresMigrations {
    /// Step `n` takes the schema from version `n - 1` to `n`. Each is a list of single statements.
    static let steps: [[String]] = [step1]

    /// The newest schema that this build understands.
    static var latest: Int { steps.count }

    /// Held while the schema is changed (`pg_advisory_xact_lock`): "roost" in ASCII. A lock of the
    /// transaction, since one of the session means nothing behind a pooler.
    static let lock: Int64 = 0x72_6f6f_7374

    /// Notifications of commits go to this channel.
    static let channel = "roost_commit"

    /// `meta` has one row, and its lock is what makes commit order and revisions one order.
    /// `writer` remembers the last group of each store's writer, by which a commit whose answer was
    /// lost finds out what became of it.
    private static let step1 = [
        "CREATE SCHEMA IF NOT EXISTS roost",
        """
        CREATE TABLE roost.meta (
            id integer PRIMARY KEY CHECK (id = 1),
            schema integer NOT NULL,
            revision bigint NOT NULL,
            compacted bigint NOT NULL
        ) WITH (fillfactor = 10)
        """,
        "INSERT INTO roost.meta (id, schema, revision, compacted) VALUES (1, 0, 0, 0)",
        """
        CREATE TABLE roost.row (
            tbl text COLLATE "C" NOT NULL,
            key text COLLATE "C" NOT NULL,
            version bigint NOT NULL,
            entries text COLLATE "C" NOT NULL,
            body text NOT NULL,
            PRIMARY KEY (tbl, key)
        )
        """,
        """
        CREATE TABLE roost.entry (
            tbl text COLLATE "C" NOT NULL,
            name text COLLATE "C" NOT NULL,
            value text COLLATE "C" NOT NULL,
            key text COLLATE "C" NOT NULL,
            PRIMARY KEY (tbl, name, value, key)
        )
        """,
        """
        CREATE TABLE roost.change (
            revision bigint NOT NULL,
            position integer NOT NULL,
            tbl text COLLATE "C" NOT NULL,
            key text COLLATE "C" NOT NULL,
            deletion boolean NOT NULL,
            PRIMARY KEY (revision, position)
        )
        """,
        """
        CREATE TABLE roost.writer (
            id uuid PRIMARY KEY,
            serial bigint NOT NULL,
            at timestamptz NOT NULL,
            revisions bigint[] NOT NULL,
            failed integer[] NOT NULL,
            found bigint[] NOT NULL
        ) WITH (fillfactor = 25)
        """,
        commitFunction,
    ]

    /// Commits a group of batches that do not touch each other's rows, in a handful of statements.
    ///
    /// The settings at its head keep the plans that the server keeps for a session to index look-ups:
    /// made while a table was small they would scan it, and stay.
    private static let commitFunction = """
        CREATE FUNCTION roost.commit_group(
            p_writer uuid, p_serial bigint, p_writes boolean[],
            c_batch integer[], c_tbl text[], c_key text[], c_version bigint[],
            w_batch integer[], w_tbl text[], w_key text[], w_entries text[], w_body text[],
            l_batch integer[], l_position integer[], l_tbl text[], l_key text[],
            l_deletion boolean[], l_if_there boolean[]
        ) RETURNS TABLE (o_revision bigint, o_failed integer, o_found bigint)
        LANGUAGE plpgsql
        SET enable_seqscan = off
        SET enable_hashjoin = off
        SET enable_mergejoin = off
        SET plan_cache_mode = force_generic_plan
        AS $body$
        DECLARE
            v_before bigint;
            v_after bigint;
            v_serial bigint;
            v_revisions bigint[];
            v_failed integer[];
            v_found bigint[];
        BEGIN
            -- What is answered must be on the disk, whatever the database's default.
            IF current_setting('synchronous_commit') = 'off' THEN
                PERFORM set_config('synchronous_commit', 'on', true);
            END IF;
            -- The sequencer: held until the end of this transaction, so that whoever is committed
            -- has all smaller revisions committed before it.
            SELECT m.revision INTO STRICT v_before FROM roost.meta m WHERE m.id = 1 FOR UPDATE;
            SELECT w.serial, w.revisions, w.failed, w.found
                INTO v_serial, v_revisions, v_failed, v_found
                FROM roost.writer w WHERE w.id = p_writer;
            IF v_serial > p_serial THEN
                RAISE EXCEPTION 'group % comes after group % of its writer', p_serial, v_serial
                    USING ERRCODE = 'RS001';
            END IF;
            IF v_serial IS DISTINCT FROM p_serial THEN
                SELECT array_agg(g.revision ORDER BY g.n), array_agg(g.failed ORDER BY g.n),
                       array_agg(g.found ORDER BY g.n), max(g.revision)
                    INTO v_revisions, v_failed, v_found, v_after
                    FROM (
                        SELECT p.n, coalesce(x.pos, 0)::integer AS failed,
                               coalesce(x.found, 0) AS found,
                               v_before + count(*) FILTER (WHERE p.writes AND x.pos IS NULL)
                                   OVER (ORDER BY p.n) AS revision
                        FROM unnest(p_writes) WITH ORDINALITY AS p(writes, n)
                        LEFT JOIN (
                            SELECT DISTINCT ON (c.batch) c.batch, c.pos, r.version AS found
                            FROM unnest(c_batch, c_tbl, c_key, c_version) WITH ORDINALITY
                                AS c(batch, tbl, key, version, pos)
                            LEFT JOIN roost.row r ON r.tbl = c.tbl AND r.key = c.key
                            WHERE r.version IS DISTINCT FROM c.version
                            ORDER BY c.batch, c.pos
                        ) x ON x.batch = p.n
                    ) g;
                IF v_after > v_before THEN
                    INSERT INTO roost.change (revision, position, tbl, key, deletion)
                        SELECT v_revisions[l.batch], l.position, l.tbl, l.key, l.deletion
                        FROM unnest(l_batch, l_position, l_tbl, l_key, l_deletion, l_if_there)
                            AS l(batch, position, tbl, key, deletion, if_there)
                        WHERE v_failed[l.batch] = 0 AND (NOT l.if_there OR EXISTS (
                            SELECT FROM roost.row r WHERE r.tbl = l.tbl AND r.key = l.key));
                    DELETE FROM roost.entry e USING (
                        SELECT r.tbl, o.value->>0 AS name, o.value->>1 AS value, r.key
                        FROM unnest(w_batch, w_tbl, w_key, w_entries)
                            AS w(batch, tbl, key, entries)
                        JOIN roost.row r ON r.tbl = w.tbl AND r.key = w.key
                        CROSS JOIN LATERAL jsonb_array_elements(r.entries::jsonb) o
                        WHERE v_failed[w.batch] = 0 AND r.entries IS DISTINCT FROM w.entries
                    ) old
                        WHERE e.tbl = old.tbl AND e.name = old.name AND e.value = old.value
                            AND e.key = old.key;
                    INSERT INTO roost.entry (tbl, name, value, key)
                        SELECT w.tbl, o.value->>0, o.value->>1, w.key
                        FROM unnest(w_batch, w_tbl, w_key, w_entries)
                            AS w(batch, tbl, key, entries)
                        LEFT JOIN roost.row r ON r.tbl = w.tbl AND r.key = w.key
                        CROSS JOIN LATERAL jsonb_array_elements(w.entries::jsonb) o
                        WHERE v_failed[w.batch] = 0 AND r.entries IS DISTINCT FROM w.entries;
                    INSERT INTO roost.row AS r (tbl, key, version, entries, body)
                        SELECT w.tbl, w.key, v_revisions[w.batch], w.entries, w.body
                        FROM unnest(w_batch, w_tbl, w_key, w_entries, w_body)
                            AS w(batch, tbl, key, entries, body)
                        WHERE v_failed[w.batch] = 0 AND w.body IS NOT NULL
                        ON CONFLICT (tbl, key) DO UPDATE SET version = excluded.version,
                            entries = excluded.entries, body = excluded.body;
                    DELETE FROM roost.row r
                        USING unnest(w_batch, w_tbl, w_key, w_body) AS w(batch, tbl, key, body)
                        WHERE v_failed[w.batch] = 0 AND w.body IS NULL
                            AND r.tbl = w.tbl AND r.key = w.key;
                    UPDATE roost.meta m SET revision = v_after WHERE m.id = 1;
                    PERFORM pg_notify('roost_commit', '');
                END IF;
                -- Also of a group in which every batch was refused: a late first transmission must
                -- not do what the second has called a conflict.
                IF p_writes @> ARRAY[true] THEN
                    INSERT INTO roost.writer AS w (id, serial, at, revisions, failed, found)
                        VALUES (p_writer, p_serial, now(), v_revisions, v_failed, v_found)
                        ON CONFLICT (id) DO UPDATE SET serial = excluded.serial, at = excluded.at,
                            revisions = excluded.revisions, failed = excluded.failed,
                            found = excluded.found;
                END IF;
            END IF;
            RETURN QUERY SELECT g.revision, g.failed, g.found
                FROM unnest(v_revisions, v_failed, v_found) WITH ORDINALITY
                    AS g(revision, failed, found, n)
                ORDER BY g.n;
        END
        $body$
        """
}
