import Foundation
import RoostModel
import RoostStore
import RoostStorePostgres
import RoostTestKit
import Synchronization
import Testing

@Suite("A PostgreSQL store in trouble", .cluster)
struct PostgresFaultTests {
    @Test(
        "loses and doubles no commit when its backends are killed again and again",
        arguments: [false, true]
    )
    func killedBackends(isPooled: Bool) async throws {
        let cluster = try sharedCluster()
        let address = try await cluster.database(pooled: isPooled)
        let name = database(address)
        let done = Atomic<Int>(0)
        let goal = 16 * 40
        try await withStore(address) { (store) async throws in
            let revisions = try await together(17) { task -> [Revision] in
                guard task > 0 else {
                    // As many kills as there is time for, all through the commits.
                    while done.load(ordering: .relaxed) < goal {
                        try await cluster.sql(
                            """
                            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                            WHERE datname = '\(name)' AND pid <> pg_backend_pid()
                            """
                        )
                    }
                    return []
                }
                var mine: [Revision] = []
                for round in 0..<40 {
                    // Without a condition: done twice it would take two revisions.
                    mine.append(try await store.commit(.putting([SampleVM("\(task)-\(round)")])))
                    done.wrappingAdd(1, ordering: .relaxed)
                }
                return mine
            }.flatMap { $0 }
            #expect(revisions.sorted().map(\.number) == (1...Int64(goal)).map { $0 })
            let page = try await store.changes(after: Revision(0), limit: 10_000)
            #expect(page.changes.count == goal)
            for row in try await store.list(SampleVM.self, Query()).rows {
                let change = page.changes[Int(row.version.number) - 1]
                #expect(change.key == row.row.key)
            }
        }
    }

    @Test(
        "waits for a server that crashes and starts again, and goes on with nothing lost or doubled"
    )
    func restartedServer() async throws {
        try await PostgresCluster.with { cluster in
            let address = try await cluster.database()
            try await withStore(address) { (store) async throws in
                let done = Atomic<Int>(0)
                let goal = 8 * 60
                let revisions = try await together(9) { task -> [Revision] in
                    guard task > 0 else {
                        for part in 1...3 {
                            while done.load(ordering: .relaxed) < goal * part / 5 {
                                _ = try await store.revision()
                            }
                            try await cluster.stop(part == 2 ? "fast" : "immediate")
                            try await cluster.start()
                        }
                        return []
                    }
                    var mine: [Revision] = []
                    for round in 0..<60 {
                        let row = SampleVM("\(task)-\(round)")
                        mine.append(try await store.commit(.of { $0.insert(row) }))
                        done.wrappingAdd(1, ordering: .relaxed)
                    }
                    return mine
                }.flatMap { $0 }
                #expect(revisions.sorted().map(\.number) == (1...Int64(goal)).map { $0 })
                #expect(try await store.list(SampleVM.self, Query()).rows.count == goal)
            }
        }
    }

    @Test("says within its patience that the server is away, and recovers when it is back")
    func awayServer() async throws {
        try await PostgresCluster.with { cluster in
            let address = try await cluster.database()
            var options = PostgresOptions(readers: 1)
            options.readPatience = .seconds(2)
            options.commitPatience = .seconds(2)
            options.openPatience = .seconds(2)
            try await withStore(address, options) { (store) async throws in
                try await store.commit(.putting([SampleVM("a")]))
                try await cluster.stop("fast")
                let read = await #expect(throws: Fault.self) { try await store.revision() }
                #expect(read?.reason == .storeUnreachable)
                #expect(read?.remedy.contains("pg_isready -d 'postgres://postgres@/") == true)
                // The connection may be found dead only by using it, and then nobody knows.
                _ = try? await store.commit(.putting([SampleVM("b")]))
                let write = await #expect(throws: Fault.self) {
                    try await store.commit(.putting([SampleVM("b")]))
                }
                #expect(write?.reason == .storeUnreachable)
                let open = await #expect(throws: Fault.self) {
                    try await PostgresStore.open(address, options: options)
                }
                #expect(open?.reason == .storeUnreachable)
                try await cluster.start()
                #expect(try await store.revision() == Revision(1))
                #expect(try await store.commit(.putting([SampleVM("c")])) == Revision(2))
            }
        }
    }

    @Test(
        "says that nobody knows when a commit stays without answer, and then does it once at most"
    )
    func unknownOutcome() async throws {
        let cluster = try sharedCluster()
        let address = try await cluster.database()
        let name = database(address)
        var options = PostgresOptions(readers: 1)
        options.answerTime = .seconds(2)
        options.commitPatience = .seconds(10)
        try await withStore(address, options) { (store) async throws in
            try await store.commit(.putting([SampleVM("a")]))
            // Somebody holds the sequencer, until its session is ended.
            async let holder: String? = try? cluster.sql(
                "SELECT FROM roost.meta FOR UPDATE; SELECT pg_sleep(100)",
                in: name
            )
            try await cluster.sql(
                """
                DO $$ BEGIN
                    FOR i IN 1..1000 LOOP
                        EXIT WHEN EXISTS (SELECT FROM pg_stat_activity
                            WHERE datname = '\(name)' AND wait_event = 'PgSleep');
                        PERFORM pg_sleep(0.02), pg_stat_clear_snapshot();
                    END LOOP;
                END $$
                """
            )
            let fault = await #expect(throws: Fault.self) {
                try await store.commit(.of { $0.insert(SampleVM("b")) })
            }
            #expect(fault?.outcomeIsUnknown == true)
            // Reads need no sequencer.
            #expect(try await store.revision() == Revision(1))
            try await cluster.sql(
                """
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = '\(name)' AND wait_event = 'PgSleep'
                """
            )
            _ = await holder
            // What is left of the first commit may be done now, before this one or not at all.
            let next = try await store.commit(.putting([SampleVM("c")]))
            let isThere = try await store.get(SampleVM.self, "b") != nil
            #expect(next == Revision(isThere ? 3 : 2))
            let page = try await store.changes(after: Revision(0), limit: 10)
            #expect(page.changes.map(\.key) == (isThere ? ["a", "b", "c"] : ["a", "c"]))
        }
    }

    @Test("leaves one batch out that the server refuses, and commits the others of its group")
    func refusedBatch() async throws {
        let cluster = try sharedCluster()
        let address = try await cluster.database()
        try await withStore(address) { (store) async throws in
            try await store.commit(.putting([SampleVM("a")]))
            try await cluster.sql(
                "ALTER TABLE roost.row ADD CHECK (key NOT LIKE 'bad%')",
                in: database(address)
            )
            let answers = try await together(40) { task -> Bool in
                do {
                    let name = task % 10 == 0 ? "bad\(task)" : "good\(task)"
                    try await store.commit(.putting([SampleVM(name)]))
                    return true
                } catch is Fault {
                    return false
                }
            }
            #expect(answers == (0..<40).map { $0 % 10 != 0 })
            #expect(try await store.revision() == Revision(37))
        }
    }

    @Test("refuses databases that it cannot work in, says what would help, and leaves them alone")
    func refusedDatabases() async throws {
        let cluster = try sharedCluster()
        let newer = try await cluster.database()
        try await withStore(newer) { _ in }
        try await cluster.sql("UPDATE roost.meta SET schema = 99", in: database(newer))
        try await cluster.sql("CREATE ROLE eve LOGIN")
        let latin = try await cluster.database("TEMPLATE template0 ENCODING 'LATIN1'")
        let plain = try await cluster.database()
        let cases: [(PostgresAddress, String, String)] = [
            (newer, "schema 99, newer than this build's", "install the version of roost"),
            (
                try cluster.address(database(plain), user: "eve"), "permission denied",
                "GRANT CREATE ON DATABASE \(database(plain)) TO eve"
            ),
            (try cluster.address("nowhere"), "does not exist", "createdb nowhere"),
            (latin, "encoding LATIN1, not UTF8", "createdb -T template0 -E UTF8"),
            (try cluster.address("postgres", user: "nobody"), "does not exist", "check user and"),
        ]
        for (address, message, remedy) in cases {
            let fault = await #expect(throws: Fault.self, "\(address)") {
                try await PostgresStore.open(address)
            }
            #expect(fault?.reason == .storeRefused, "\(address)")
            #expect(fault?.message.contains(message) == true, "\(fault?.message ?? "")")
            #expect(fault?.remedy.contains(remedy) == true, "\(fault?.remedy ?? "")")
        }
        let version = try await cluster.sql("SELECT schema FROM roost.meta", in: database(newer))
        #expect(version == "99")
        let schemas = try await cluster.sql(
            "SELECT count(*) FROM pg_namespace WHERE nspname = 'roost'",
            in: database(plain)
        )
        #expect(schemas == "0")
    }

    @Test("shows its password nowhere, whatever is wrong with it")
    func password() async throws {
        let cluster = try sharedCluster()
        try await cluster.sql("CREATE ROLE bob LOGIN SUPERUSER PASSWORD 'right-Word'")
        let place = "@/postgres?host=\(cluster.directory)&port=5432"
        let right = try PostgresAddress("postgres://bob:right-Word\(place)", field: "test")
        try await withStore(right) { (store) async throws in
            #expect(try await store.revision() == Revision(0))
            #expect(!"\(store.address) \(String(reflecting: store.address))".contains("right-Word"))
        }
        let wrong = try PostgresAddress("postgres://bob:wrong-Word\(place)", field: "test")
        let fault = await #expect(throws: Fault.self) { try await PostgresStore.open(wrong) }
        let refused = try #require(fault)
        #expect(refused.reason == .storeRefused)
        #expect(refused.message.contains("28P01"))
        var shown = "\(refused.remedy) "
        dump(refused, to: &shown)
        #expect(!shown.contains("wrong-Word"))
    }
}

@Suite("A PostgreSQL URL")
struct PostgresAddressTests {
    @Test(
        "is shown without its password and options",
        arguments: [
            ("postgres://ann:pw@db.example:5433/roost", "postgres://ann@db.example:5433/roost"),
            ("postgresql://db/roost?sslmode=require&password=pw", "postgres://db/roost"),
            ("postgres://a%40b:p%2Fw@h1:1,h2:2/r", "postgres://a%40b@h1:1,h2:2/r"),
            ("postgres://ann@[::1]:5432/roost", "postgres://ann@[::1]:5432/roost"),
            (
                "postgres://ann:pw@/roost?host=/run/postgresql&port=5433",
                "postgres://ann@/roost?host=/run/postgresql&port=5433"
            ),
            ("postgres://", "postgres:///"),
        ]
    )
    func shown(text: String, name: String) throws {
        let address = try PostgresAddress(text, field: "store")
        #expect(address.name == name)
        #expect(address.hasPassword == (text.contains("pw") || text.contains("p%2Fw")))
    }

    @Test(
        "that cannot be used is refused, and nothing of it stands in the error",
        arguments: [
            "", "sqlite", "mysql://ann:sEcret@db/x", "postgres:/ann:sEcret@db",
            "postgres://ann:sEcret@db:port/x", "postgres://ann:sEcret@db:70000/x",
            "postgres://ann:s%Zcret@db/x", "postgres://ann@db/x?sEcret=1",
            "postgres://ann:sEcret@[::1/x", "postgres://ann:sEc\0ret@db/x",
            "postgres://ann:sEcret@db/" + String(repeating: "x", count: 5_000),
        ]
    )
    func refused(text: String) throws {
        let fault = #expect(throws: Fault.self) { try PostgresAddress(text, field: "--store") }
        #expect(fault?.reason == .invalidFields)
        #expect(fault?.violations.map(\.field) == ["--store"])
        #expect(fault?.description.contains("cret") == false)
    }
}
