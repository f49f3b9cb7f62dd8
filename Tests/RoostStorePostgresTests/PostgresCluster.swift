import Foundation
import RoostModel
import RoostStorePostgres
import RoostStoreRows
import Testing

/// A real PostgreSQL with its data in a temporary directory, on a Unix socket there, and a pgbouncer in
/// transaction mode before it. Both run as an ordinary user and end with the test.
struct PostgresCluster: Sendable {
    /// The one that the suite's tests share.
    @TaskLocal static var shared: PostgresCluster?

    let directory: String
    private let tools: Tools

    /// Where its programs are, and as whom they run: PostgreSQL refuses root.
    private struct Tools: Sendable {
        let bin: String
        let prefix: [String]
        let owner: (uid: uid_t, gid: gid_t)?
    }

    struct Failed: Error, CustomStringConvertible {
        let description: String
    }

    /// Makes a cluster, starts it and runs `body`; ends it whatever happens.
    static func with(_ body: (PostgresCluster) async throws -> Void) async throws {
        let cluster = try await PostgresCluster()
        do {
            try await cluster.make()
            try await body(cluster)
            await cluster.end()
        } catch {
            await cluster.end()
            throw error
        }
    }

    private init() async throws {
        let root = "/usr/lib/postgresql"
        let versions = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        guard let newest = versions.compactMap({ Int($0) }).max() else {
            throw Failed(description: "no PostgreSQL here: apt-get install postgresql pgbouncer")
        }
        guard getuid() == 0 else {
            tools = Tools(bin: "\(root)/\(newest)/bin", prefix: [], owner: nil)
            directory = try Self.makeDirectory(nil)
            return
        }
        guard let entry = getpwnam("postgres") else {
            throw Failed(
                description: "as root the tests need the user postgres of Debian's package"
            )
        }
        let owner = (uid: entry.pointee.pw_uid, gid: entry.pointee.pw_gid)
        tools = Tools(
            bin: "\(root)/\(newest)/bin",
            prefix: [
                "/usr/bin/setpriv", "--reuid=\(owner.uid)", "--regid=\(owner.gid)",
                "--clear-groups",
            ],
            owner: owner
        )
        directory = try Self.makeDirectory(owner)
    }

    private static func makeDirectory(_ owner: (uid: uid_t, gid: gid_t)?) throws -> String {
        let path = "/tmp/roost-pg-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        if let owner, chown(path, owner.uid, owner.gid) != 0 {
            throw Failed(description: "chown \(path): \(String(cString: strerror(errno)))")
        }
        return path
    }

    private func make() async throws {
        try await run(
            "\(tools.bin)/initdb",
            ["-D", "\(directory)/data", "-A", "trust", "--locale=C", "-E", "UTF8", "-N"]
                + ["-U", "postgres"]
        )
        // bob has a password; all others are trusted.
        try write(
            "data/pg_hba.conf",
            "local all bob scram-sha-256\nlocal all all trust\n"
        )
        try write(
            "pgbouncer.ini",
            """
            [databases]
            * = host=\(directory) port=5432 user=postgres
            [pgbouncer]
            listen_addr =
            unix_socket_dir = \(directory)
            listen_port = 6432
            auth_type = any
            pool_mode = transaction
            default_pool_size = 4
            max_client_conn = 500
            server_login_retry = 0.1
            logfile = \(directory)/pgbouncer.log
            pidfile = \(directory)/pgbouncer.pid
            """
        )
        try await start()
        try await run("/usr/sbin/pgbouncer", ["-d", "-q", "\(directory)/pgbouncer.ini"])
    }

    /// Starts the server and waits until it answers. What is written is not synced: these tests end
    /// processes, not machines.
    func start() async throws {
        let settings = [
            "listen_addresses=''", "unix_socket_directories=\(directory)", "max_connections=300",
            "fsync=off",
        ]
        try await run(
            "\(tools.bin)/pg_ctl",
            ["-D", "\(directory)/data", "-w", "-t", "60", "-l", "\(directory)/log", "-o"]
                + [settings.map { "-c \($0)" }.joined(separator: " "), "start"]
        )
    }

    /// Ends the server: `fast`, or `immediate`, which is a crash.
    func stop(_ mode: String) async throws {
        try await run(
            "\(tools.bin)/pg_ctl",
            ["-D", "\(directory)/data", "-w", "-t", "60", "-m", mode, "stop"]
        )
    }

    private func end() async {
        if let text = try? String(contentsOfFile: "\(directory)/pgbouncer.pid", encoding: .utf8),
            let pid = pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines))
        {
            kill(pid, SIGKILL)
        }
        // There may be none: a test that ended it has done this.
        _ = try? await stop("immediate")
        try? FileManager.default.removeItem(atPath: directory)
    }

    // MARK: Using it

    /// A new database, and its URL, directly or through the pooler.
    func database(_ options: String = "", pooled: Bool = false) async throws -> PostgresAddress {
        let name = "t\(UUID().uuidString.prefix(8).lowercased())"
        try await sql("CREATE DATABASE \(name) \(options)")
        return try address(name, pooled: pooled)
    }

    /// The URL of `database`.
    func address(
        _ database: String,
        user: String = "postgres",
        pooled: Bool = false
    ) throws -> PostgresAddress {
        try PostgresAddress(
            "postgres://\(user)@/\(database)?host=\(directory)&port=\(pooled ? 6432 : 5432)",
            field: "test"
        )
    }

    /// Runs one statement as the superuser and answers what psql prints of it.
    @discardableResult
    func sql(_ text: String, in database: String = "postgres") async throws -> String {
        try await run(
            "\(tools.bin)/psql",
            ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", directory, "-U", "postgres"]
                + ["-d", database, "-c", text]
        )
    }

    private func write(_ name: String, _ text: String) throws {
        let path = "\(directory)/\(name)"
        try text.write(toFile: path, atomically: false, encoding: .utf8)
        if let owner = tools.owner { chown(path, owner.uid, owner.gid) }
    }

    @discardableResult
    private func run(_ program: String, _ arguments: [String]) async throws -> String {
        let argv = tools.prefix + [program] + arguments
        let directory = directory
        return try await withCheckedThrowingContinuation { continuation in
            startThread(named: "tool") {
                continuation.resume(with: Result { try Self.wait(argv, in: directory) })
            }
        }
    }

    /// Not Foundation's Process: that waits for every descendant, and pg_ctl leaves a server behind.
    private static func wait(_ argv: [String], in directory: String) throws -> String {
        let path = "\(directory)/out-\(UUID().uuidString)"
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, path, O_WRONLY | O_CREAT, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        // The working directory may be one that the server's user cannot read.
        let argv = ["/usr/bin/env", "-C", directory] + argv
        let words: [UnsafeMutablePointer<CChar>?] = argv.map { strdup($0) } + [nil]
        let settings: [String] = ["LC_ALL=C", "PATH=/usr/bin:/bin"]
        let environment: [UnsafeMutablePointer<CChar>?] = settings.map { strdup($0) } + [nil]
        defer { for word in words + environment { free(word) } }
        var pid: pid_t = 0
        let problem = posix_spawn(&pid, argv[0], &actions, nil, words, environment)
        guard problem == 0 else {
            throw Failed(description: "\(argv[0]): \(String(cString: strerror(problem)))")
        }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        let text = try String(contentsOfFile: path, encoding: .utf8)
        try FileManager.default.removeItem(atPath: path)
        guard status == 0 else {
            throw Failed(description: "\(argv.joined(separator: " ")): \(text)")
        }
        return text.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}

/// Gives a suite a cluster for all of its tests.
struct ClusterTrait: SuiteTrait, TestScoping {
    @concurrent func provideScope(
        for test: Test,
        testCase: Test.Case?,
        performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        try await PostgresCluster.with { cluster in
            try await PostgresCluster.$shared.withValue(cluster) { try await function() }
        }
    }
}

extension Trait where Self == ClusterTrait {
    static var cluster: Self { ClusterTrait() }
}

/// The cluster of the suite.
func sharedCluster() throws -> PostgresCluster {
    try #require(PostgresCluster.shared, "the suite has no .cluster")
}

/// Opens a store, runs `body` and closes it.
func withStore(
    _ address: PostgresAddress,
    _ options: PostgresOptions = PostgresOptions(readers: 2),
    _ body: (PostgresStore) async throws -> Void
) async throws {
    let store = try await PostgresStore.open(address, options: options)
    do {
        try await body(store)
        await store.close()
    } catch {
        await store.close()
        throw error
    }
}
