import GRPCCore
import Glibc
import Logging
import RoostAPI
import RoostDriver
import RoostLink
import RoostLinkGRPC
import RoostLinux
import RoostModel
import RoostNode
import RoostOperations
import RoostServices
import RoostStore
import RoostStoreSQL
import RoostTrust

/// `roostd --role node`: one node, whose control plane is in another process.
///
/// ```text
///  lock ─▶ node.db ─▶ driver, files ─▶ own VMs found again ─▶ joined ─▶ listen ─▶ registered ─▶ beats
/// ```
/// Its guests need nobody: without a control plane it keeps them, and tries again.
struct NodeDaemon {
    private let settings: Settings
    private let log: Logger

    init(_ settings: Settings, _ log: Logger) {
        self.settings = settings
        self.log = log
    }

    func run() async throws(Fault) {
        let driverName = try settings.driverName()
        let listen = try settings.nodeAddress()
        guard let directory = settings.stateDirectory else {
            throw .invalid("--state-dir", "is needed")
        }
        let lock = try await prepareStateDirectory(settings)
        defer { lock?.release() }
        try settings.admitState(for: .node)
        let surroundings = Surroundings(
            clock: ContinuousClock(),
            wall: SystemWallClock(),
            entropy: EntropySource()
        )
        let files = try TrustFiles(stateDirectory: directory)
        let control = try controlAddress(files)
        let token = try joinToken()
        // Before the key is there, which makes the directory a node's.
        let isNode = try files.hasJoined
        guard token != nil || isNode else {
            throw .invalid("--join", "is needed: this host is no node yet; roost token create")
        }
        let keys = try files.nodeKeys()
        let known = try files.nodeCredentials(keys)
        let store = try await SQLiteStore.open(path: "\(directory)/node.db")
        let host = try await Host(settings, driverName, surroundings)
        defer { if driverName == "qemu" { rmdir(host.memoryDirectory) } }
        guard let driver = host.driver, let vmFiles = host.files else {
            throw Fault(.bug, "a node without a driver")
        }
        let spawner = Spawner()
        let failpoints = try NodeSite.failpoints()
        let site = try NodeSite(
            0,
            of: 1,
            Stores.Own(id: try nodeID(0, directory, surroundings), store: store),
            NodeSite.Means(
                host: host,
                driver: driver,
                files: vmFiles,
                failpoints: failpoints,
                spawner: spawner,
                log: log
            )
        )
        let node = RunningNode(
            settings: settings,
            site: site,
            fence: FencedLink(site.link, store: store, failpoints: failpoints),
            host: host,
            spawner: spawner,
            surroundings: surroundings,
            directory: directory,
            log: log
        )
        // What runs here is found again before anybody is asked.
        try await node.fence.recover()
        let credentials: FleetCredentials
        if let known {
            credentials = known
            if token != nil { log.notice("this host is a node already; --join is not needed") }
        } else if let token {
            credentials = try await Joining(
                control: control,
                token: token,
                keys: keys,
                node: site.link.node,
                name: settings.name ?? hostName(),
                surroundings: surroundings,
                log: log
            ).join(files)
        } else {
            throw Fault(.bug, "neither joined nor joining")
        }
        try files.keep(controlAddress: "\(control)")
        try await node.serve(listen, control, credentials, files)
        try await store.close()
        log.notice("ended; guests go on")
    }

    private func controlAddress(_ files: TrustFiles) throws(Fault) -> DaemonPool.Address {
        var text = settings.control ?? Settings.environment("ROOST_CONTROL")
        if text == nil { text = try files.controlAddress() }
        guard let text else {
            throw .invalid("--control", "is needed: address and port of the control plane")
        }
        let (host, port) = try Settings.address(text, field: "--control")
        guard port > 0 else { throw .invalid("--control", "the port is 0") }
        return DaemonPool.Address(host: host.filter { $0 != "[" && $0 != "]" }, port: port)
    }

    private func joinToken() throws(Fault) -> JoinToken? {
        guard let text = settings.join ?? Settings.environment("ROOST_JOIN") else { return nil }
        return try JoinToken(text)
    }
}

/// How a host becomes a node: asks until it is told, and gives up only on a refusal.
struct Joining {
    let control: DaemonPool.Address
    let token: JoinToken
    let keys: KeyPair
    let node: NodeID
    let name: String
    let surroundings: Surroundings
    let log: Logger

    /// - Throws: what the control plane says of the token.
    func join(_ files: TrustFiles) async throws(Fault) -> FleetCredentials {
        let own = try Leaf.selfSigned(keys, at: surroundings.wall.now())
        let stranger = FleetCredentials(keys: keys, leaf: own, trust: nil)
        var pause = BackOff()
        while true {
            do {
                let refusal = Refusal()
                let admission = try await ControlLine.connected(
                    to: control,
                    stranger,
                    expecting: .controlOf(fingerprint: token.fingerprint, refusal)
                ) { line in
                    do throws(Fault) {
                        return try await line.join(token, node: node, name: name)
                    } catch {
                        throw refusal.fault ?? error
                    }
                }
                try files.keep(admission)
                log.notice("joined", metadata: ["node": "\(node)", "control": "\(control)"])
                return FleetCredentials(keys: keys, leaf: admission.leaf, trust: admission.trust)
            } catch let fault as Fault where fault.reason == .controlUnreachable {
                log.warning("cannot join yet: \(fault.message)")
                await pause.wait(surroundings)
            } catch let fault as Fault {
                throw fault
            } catch {
                throw Fault(.bug, "cannot join: \(error)", cause: error)
            }
        }
    }
}

/// Growing pauses with jitter, so that many that failed together do not come back together.
struct BackOff {
    private var pause = Duration.milliseconds(100)
    let longest: Duration

    init(longest: Duration = .seconds(5)) { self.longest = longest }

    mutating func wait(_ surroundings: Surroundings) async {
        let chance = Double(surroundings.entropy.next() % 1000) / 1000
        try? await surroundings.clock.sleep(for: pause * (0.5 + chance / 2))
        pause = min(pause * 2, longest)
    }

    mutating func reset() { pause = .milliseconds(100) }
}
