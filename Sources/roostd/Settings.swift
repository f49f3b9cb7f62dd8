import ArgumentParser
import Glibc
import RoostModel
import RoostScheduler
import RoostStorePostgres

/// The daemon's command line. Every flag has a variable of the environment or a default.
struct Settings: ParsableArguments {
    @Flag(
        help: """
            For trying out: listens on 127.0.0.1:8080 without authentication, keeps its store in \
            memory and drives simulated VMs, unless --driver or --state-dir say otherwise.
            """
    )
    var dev = false

    @Option(help: "Where everything is kept. [ROOST_STATE_DIR]")
    var stateDir: String?

    @Option(
        help: """
            Where the control plane keeps its rows: sqlite, in the state directory, or \
            postgres://USER@HOST:5432/DATABASE. A password belongs into ROOST_STORE or ~/.pgpass, not \
            here where ps shows it. [ROOST_STORE]
            """
    )
    var store: String?

    @Option(help: "The Unix socket to listen on. [ROOST_SOCKET]")
    var socket: String?

    @Option(help: "An address and port for Connect, gRPC and /metrics, such as 127.0.0.1:8080.")
    var listen: String?

    @Option(help: "An address and port for the node's own gRPC service, such as 127.0.0.1:9090.")
    var nodeListen: String?

    @Option(help: "qemu or simulated.")
    var driver: String?

    @Option(help: "How many nodes there are; more than one with the simulated driver only.")
    var nodes = 1

    @Option(help: "What a good node is: spread (the emptiest) or pack (the fullest that will do).")
    var placement = "spread"

    @Option(help: "trace, debug, info, notice, warning, error.")
    var logLevel = "info"

    @Option(
        help: """
            Seconds without a VM that runs, an operation or a call after which it ends; 0: never. \
            [ROOST_IDLE_EXIT] Without either: 900 when a command has started it, else never.
            """
    )
    var idleExit: Int?

    /// A variable of the environment; empty counts as unset.
    static func environment(_ name: String) -> String? {
        guard let text = getenv(name), text.pointee != 0 else { return nil }
        return String(cString: text)
    }

    /// The state directory; `nil` for a store in memory.
    var stateDirectory: String? {
        if let stateDir { return stateDir }
        if dev { return nil }
        return Self.environment("ROOST_STATE_DIR") ?? Self.defaultStateDirectory
    }

    /// Where the control plane's rows are. What is wrong is an error, never replaced.
    enum StoreChoice {
        case memory
        case sqlite(directory: String)
        case postgres(PostgresAddress)
    }

    /// The store that was asked for: by flag, by variable, or SQLite if there is a directory for it.
    func storeChoice() throws(Fault) -> StoreChoice {
        let field = store == nil ? "ROOST_STORE" : "--store"
        guard let text = store ?? Self.environment("ROOST_STORE") else {
            return stateDirectory.map { .sqlite(directory: $0) } ?? .memory
        }
        if text == "sqlite" {
            guard let stateDirectory else { throw .invalid(field, "sqlite needs --state-dir") }
            return .sqlite(directory: stateDirectory)
        }
        // What it is instead is not shown: it may be a URL with a password and a misspelt start.
        guard PostgresAddress.isMeant(text) else {
            throw .invalid(field, "is neither sqlite nor a URL postgres://USER@HOST:5432/DATABASE")
        }
        let address = try PostgresAddress(text, field: field)
        guard store == nil || !address.hasPassword else {
            throw .invalid(
                field,
                "has a password, which ps shows to everybody: put the URL into ROOST_STORE, or the "
                    + "password into ~/.pgpass"
            )
        }
        return .postgres(address)
    }

    /// `/var/lib/roost` for root, else the user's data directory.
    static var defaultStateDirectory: String {
        if getuid() == 0 { return "/var/lib/roost" }
        let data = environment("XDG_DATA_HOME") ?? "\(environment("HOME") ?? "/tmp")/.local/share"
        return "\(data)/roost"
    }

    /// The socket to listen on; `nil` when --dev has neither socket nor state directory.
    var socketPath: String? {
        if let path = socket ?? Self.environment("ROOST_SOCKET") { return path }
        guard let stateDirectory else { return nil }
        let isDefault = stateDirectory == Self.defaultStateDirectory
        if isDefault, getuid() != 0, let runtime = Self.environment("XDG_RUNTIME_DIR") {
            return "\(runtime)/roost/roost.sock"
        }
        return "\(stateDirectory)/roost.sock"
    }

    /// Where to serve over TCP, if anywhere.
    func tcp() throws(Fault) -> (host: String, port: Int)? {
        guard let text = listen ?? (dev ? "127.0.0.1:8080" : nil) else { return nil }
        return try Self.address(text, field: "--listen")
    }

    /// Reads `host:port`.
    static func address(_ text: String, field: String) throws(Fault) -> (host: String, port: Int) {
        guard let colon = text.lastIndex(of: ":"),
            let port = Int(text[text.index(after: colon)...]),
            (0...65_535).contains(port), colon != text.startIndex
        else { throw .invalid(field, "'\(shown(text))' is not address:port") }
        return (String(text[..<colon]), port)
    }

    /// How long it may be idle until it ends; 0: for ever.
    func idleSeconds() throws(Fault) -> Int {
        let limit = 0...(1 << 31)
        if let idleExit {
            guard limit.contains(idleExit) else {
                throw .invalid("--idle-exit", "\(idleExit) is not 0 or more seconds")
            }
            return idleExit
        }
        if let text = Self.environment("ROOST_IDLE_EXIT") {
            guard let seconds = Int(text), limit.contains(seconds) else {
                throw .invalid("ROOST_IDLE_EXIT", "'\(shown(text))' is not 0 or more seconds")
            }
            return seconds
        }
        return Self.environment("ROOST_READY_FD") == nil ? 0 : 900
    }

    /// How long a guest may take to answer: `ROOST_BOOT_SECONDS`, else a minute.
    static func bootDeadline() throws(Fault) -> Duration {
        guard let text = environment("ROOST_BOOT_SECONDS") else { return .seconds(60) }
        guard let seconds = Int(text), (1...3600).contains(seconds) else {
            throw .invalid("ROOST_BOOT_SECONDS", "'\(shown(text))' is not 1 to 3600")
        }
        return .seconds(seconds)
    }

    /// The most nodes that one daemon simulates.
    static let largestNodes = 64

    /// How many nodes there are, checked.
    func nodeCount(_ driver: String) throws(Fault) -> Int {
        guard (1...Self.largestNodes).contains(nodes) else {
            throw .invalid("--nodes", "\(nodes) is outside 1 … \(Self.largestNodes)")
        }
        guard nodes == 1 || driver == "simulated" else {
            throw .invalid("--nodes", "one host is one node of \(driver); leave --nodes out")
        }
        return nodes
    }

    /// What a good node is, checked.
    func strategy() throws(Fault) -> PlacementStrategy {
        guard let strategy = PlacementStrategy(rawValue: placement.uppercased()) else {
            throw .invalid("--placement", "'\(shown(placement))' is neither spread nor pack")
        }
        return strategy
    }

    /// The driver's name, checked: a missing one is an error, never replaced.
    func driverName() throws(Fault) -> String {
        let name = driver ?? (dev ? "simulated" : "qemu")
        guard name == "qemu" || name == "simulated" else {
            throw Fault(.driverMissing, "no driver '\(shown(name))' in this build")
        }
        return name
    }
}
