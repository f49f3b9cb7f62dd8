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

    @Option(
        help: """
            standalone: control plane and node in one. control: a control plane for nodes on other \
            hosts, or in other processes. node: one of them.
            """
    )
    var role = "standalone"

    @Option(
        help: """
            For --role node, once: a token of `roost token create`. Better in the variable, where ps \
            does not show it. [ROOST_JOIN]
            """
    )
    var join: String?

    @Option(
        help: """
            For --role node: address and port of the control plane's listener for nodes; kept in the \
            state directory. [ROOST_CONTROL]
            """
    )
    var control: String?

    @Option(help: "For --role node: what people call it; the host's name without.")
    var name: String?

    @Option(
        help: """
            For --role node: address and port at which the control plane reaches it, where that is not \
            what it listens on.
            """
    )
    var advertise: String?

    @Option(help: "For --role control: seconds between two heartbeats of a node.")
    var heartbeat = 3.0

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

    @Option(
        help: """
            An address and port for Connect, gRPC and /metrics, such as 127.0.0.1:8080. With --role \
            control: where nodes call, with certificates; 0.0.0.0:8443 without.
            """
    )
    var listen: String?

    @Option(
        help: """
            For --role control: address and port where users call, gRPC and Connect over TLS, with an \
            access token (roost access create). Without it nobody but this host's user calls.
            """
    )
    var apiListen: String?

    @Option(
        help: """
            For --role control: a further name of this host by which users call --api-listen; may be \
            given several times. The first is the one in what roost access create prints.
            """
    )
    var apiName: [String] = []

    @Option(
        help: """
            An address and port for the node's own gRPC service, such as 127.0.0.1:9090. With --role \
            node: 0.0.0.0:9090 without; port 0 takes a free one.
            """
    )
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

    /// What a daemon is.
    enum Role: String, CaseIterable {
        case standalone
        case control
        case node
    }

    /// The role, checked, with every flag that belongs to another one refused.
    func daemonRole() throws(Fault) -> Role {
        guard let role = Role(rawValue: role) else {
            throw .invalid("--role", "'\(shown(self.role))' is none of standalone, control, node")
        }
        var wrong: [FieldViolation] = []
        let nodes = [
            ("--join", join), ("--control", control), ("--name", name), ("--advertise", advertise),
        ]
        if role != .node {
            for (flag, value) in nodes where value != nil {
                wrong.append(.init(flag, "is for --role node, and this is \(role.rawValue)"))
            }
        }
        if role != .control {
            if apiListen != nil { wrong.append(.init("--api-listen", "is for --role control")) }
            if !apiName.isEmpty { wrong.append(.init("--api-name", "is for --role control")) }
        }
        if role != .standalone {
            if dev {
                wrong.append(
                    .init("--dev", "is for --role standalone; nodes have --driver simulated")
                )
            }
            if self.nodes != 1 { wrong.append(.init("--nodes", "is for --role standalone")) }
            if stateDirectory == nil { wrong.append(.init("--state-dir", "is needed")) }
        }
        if role == .control, driver != nil {
            wrong.append(.init("--driver", "is for what has a node; a control plane has none"))
        }
        if role == .control, nodeListen != nil {
            wrong.append(.init("--node-listen", "is for what has a node; nodes call --listen"))
        }
        if role == .node {
            if listen != nil {
                wrong.append(.init("--listen", "is for --role control; use --node-listen"))
            }
            if store != nil { wrong.append(.init("--store", "is for what has a control plane")) }
        }
        if !(0.05...600).contains(heartbeat) {
            wrong.append(.init("--heartbeat", "\(heartbeat) is outside 0.05 … 600 seconds"))
        }
        guard wrong.isEmpty else { throw .invalid(wrong) }
        return role
    }

    /// Where nodes call a control plane.
    func fleetListen() throws(Fault) -> (host: String, port: Int) {
        let address = try Self.address(listen ?? "0.0.0.0:8443", field: "--listen")
        return try Self.numeric(address, field: "--listen")
    }

    /// Where users call a control plane; `nil`: nowhere.
    func usersListen() throws(Fault) -> (host: String, port: Int)? {
        guard let text = apiListen else { return nil }
        let field = "--api-listen"
        let found = try Self.numeric(try Self.address(text, field: field), field: field)
        guard found.port > 0 else {
            throw .invalid(field, "needs a port of its own: tokens are printed with it")
        }
        for name in apiName where !Self.isHostName(name) {
            throw .invalid("--api-name", "'\(shown(name))' is no name of a host")
        }
        return found
    }

    private static func isHostName(_ text: String) -> Bool {
        (1...253).contains(text.utf8.count)
            && text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
                (1...63).contains(label.utf8.count) && !label.hasPrefix("-")
                    && !label.hasSuffix("-")
                    && label.utf8.allSatisfy {
                        (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0)
                            || $0 == 45
                    }
            }
    }

    /// Where a node serves its control plane.
    func nodeAddress() throws(Fault) -> (host: String, port: Int) {
        let address = try Self.address(nodeListen ?? "0.0.0.0:9090", field: "--node-listen")
        return try Self.numeric(address, field: "--node-listen")
    }

    /// An address that can be bound to: no name.
    private static func numeric(
        _ address: (host: String, port: Int),
        field: String
    ) throws(Fault) -> (host: String, port: Int) {
        var host = address.host.filter { $0 != "[" && $0 != "]" }
        if host == "localhost" { host = "127.0.0.1" }
        var (v4, v6) = (in_addr(), in6_addr())
        guard inet_pton(AF_INET, host, &v4) == 1 || inet_pton(AF_INET6, host, &v6) == 1 else {
            throw .invalid(field, "'\(shown(host))' is no numeric address of this host")
        }
        return (host, address.port)
    }

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
