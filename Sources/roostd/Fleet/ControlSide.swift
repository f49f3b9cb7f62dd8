import GRPCCore
import Logging
import RoostAPI
import RoostControl
import RoostLink
import RoostLinkGRPC
import RoostModel
import RoostOperations
import RoostServices
import RoostTrust

/// What a control plane has for its nodes: the authority, and a pool of connections.
struct ControlSide {
    let authority: Authority
    let reach: PooledReach

    init(
        _ settings: Settings,
        _ surroundings: Surroundings,
        _ spawner: Spawner,
        _ log: Logger
    ) throws(Fault) {
        guard let directory = settings.stateDirectory else {
            throw .invalid("--state-dir", "is needed")
        }
        let now = surroundings.wall.now()
        authority = try TrustFiles(stateDirectory: directory).authority(at: now)
        let credentials = try authority.controlCredentials(at: now)
        let pool = DaemonPool(credentials: credentials, log: log) { job in spawner.spawn(job) }
        reach = PooledReach(pool: pool)
    }
}

extension Authority {
    /// What the control plane shows: a new key at each start, which is never written down.
    func controlCredentials(at now: Timestamp) throws(Fault) -> FleetCredentials {
        let keys = KeyPair()
        // As long as the authority: it goes with the process.
        let leaf = try issue(
            .control,
            to: keys.publicKey,
            at: now,
            lifetime: Authority.lifetime / 2
        )
        return FleetCredentials(keys: keys, leaf: leaf, trust: trust)
    }
}

/// The pool, as the control side sees it.
struct PooledReach: NodeReach {
    let pool: DaemonPool

    var tally: CallTally { pool.tally }

    func link(_ node: NodeID) -> any NodeLink { pool.link(node) }

    func set(_ node: NodeID, host: String, port: Int) {
        pool.set(node, at: DaemonPool.Address(host: host, port: port))
    }

    func remove(_ node: NodeID) { pool.remove(node) }
}

/// The listener that nodes call, and hosts that want to become nodes.
func fleetServer(
    _ membership: Membership,
    _ authority: Authority,
    _ listen: (host: String, port: Int),
    _ surroundings: Surroundings,
    _ log: Logger,
    _ stop: Signal
) throws(Fault) -> FleetServer {
    let wall = surroundings.wall
    return try FleetServer(
        host: listen.host,
        port: listen.port,
        credentials: try authority.controlCredentials(at: wall.now()),
        admitsStrangers: true,
        services: [MembershipSkin(membership, authority, now: { wall.now() })],
        interceptors: [CallLog(log: log), CancellationInterceptor { stop.isSet }],
        operationID: { surroundings.operationID() }
    )
}

extension Settings {
    /// Where hosts that join call, for people: what was listened on, or this host's name for all of
    /// its addresses.
    func fleetAddress() throws(Fault) -> String {
        let listen = try fleetListen()
        let isWild = listen.host == "0.0.0.0" || listen.host == "::"
        return "\(isWild ? hostName() : listen.host):\(listen.port)"
    }
}
