package import GRPCCore
package import RoostAPI
package import RoostControl
import RoostLink
package import RoostModel
import RoostOperations
package import RoostTrust
import SwiftProtobuf

import struct Foundation.Data

/// `roost.fleet.v1.MembershipService`: what nodes say to their control plane.
package struct MembershipSkin: Roost_Fleet_V1_MembershipService.SimpleServiceProtocol {
    private let membership: Membership
    private let authority: Authority
    private let now: @Sendable () -> Timestamp

    package init(
        _ membership: Membership,
        _ authority: Authority,
        now: @escaping @Sendable () -> Timestamp
    ) {
        self.membership = membership
        self.authority = authority
        self.now = now
    }

    package func join(
        request: Roost_Fleet_V1_JoinRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_JoinResponse {
        guard let peer = FleetPeer.current else {
            throw Fault(.unauthenticated, "Join is for callers with a key of their own")
        }
        let token = try JoinToken(request.token)
        guard token.fingerprint == authority.trust.fingerprint else {
            throw Fault(.joinTokenInvalid, "the join token is of another fleet")
        }
        let node = try nodeID(request.nodeID)
        _ = try await membership.join(
            token: token.id,
            secretDigest: token.secretDigest,
            node: node,
            name: request.name,
            keyDigest: peer.keyDigest
        )
        return try certificate(of: node, peer)
    }

    package func register(
        request: Roost_Fleet_V1_RegisterRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_RegisterResponse {
        let node = try nodeID(request.nodeID)
        let peer = try FleetPeer.require(node)
        var (host, port) = try address(request.address)
        if host.isEmpty || host == "0.0.0.0" || host == "::" {
            host = try caller(context.remotePeer)
        }
        var policy = OvercommitPolicy()
        if request.hasOvercommit {
            policy = OvercommitPolicy(
                reservedCores: Int(request.overcommit.reservedCores),
                reservedMemoryMiB: Int(clamping: request.overcommit.reservedMemoryMib),
                cpuRatio: request.overcommit.cpuRatio,
                memoryRatio: request.overcommit.memoryRatio
            )
        }
        let said = NodeSaid(
            host: host,
            port: port,
            capacity: NodeCapacity(
                cores: Int(request.cores),
                memoryMiB: Int(clamping: request.memoryMib)
            ),
            driver: request.driver,
            version: request.version,
            labels: request.labels,
            policy: policy
        )
        try await membership.register(
            node,
            keyDigest: peer.keyDigest,
            said,
            holdings: NodeHoldings(request.holdings)
        )
        return .with { $0.heartbeatInterval = .init(membership.timing.interval) }
    }

    package func heartbeat(
        request: Roost_Fleet_V1_HeartbeatRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_HeartbeatResponse {
        let node = try nodeID(request.nodeID)
        let peer = try FleetPeer.require(node)
        let mustRegister = try await membership.beat(
            node,
            keyDigest: peer.keyDigest,
            stateHash: request.stateHash,
            holdings: request.hasHoldings ? NodeHoldings(request.holdings) : nil
        )
        return .with {
            $0.interval = .init(membership.timing.interval)
            $0.registerAgain = mustRegister
        }
    }

    package func renewCertificate(
        request: Roost_Fleet_V1_RenewCertificateRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_JoinResponse {
        guard case .node(let node)? = FleetPeer.current?.identity else {
            throw Fault(.unauthenticated, "only a node has a certificate to renew")
        }
        let peer = try FleetPeer.require(node)
        try await membership.requireMember(node, keyDigest: peer.keyDigest)
        return try certificate(of: node, peer)
    }

    private func certificate(
        of node: NodeID,
        _ peer: FleetPeer
    ) throws(Fault) -> Roost_Fleet_V1_JoinResponse {
        let leaf = try authority.issue(.node(node), to: peer.key, at: now())
        return .with {
            $0.certificate = Data(leaf.der)
            $0.authority = Data(authority.trust.der)
            $0.expireTime = .init(leaf.end)
        }
    }

    private func nodeID(_ text: String) throws(Fault) -> NodeID {
        guard let id = NodeID(text) else {
            throw .invalid("node_id", "'\(shown(text))' is not 32 hexadecimal digits")
        }
        return id
    }

    private func address(_ text: String) throws(Fault) -> (host: String, port: Int) {
        guard let colon = text.lastIndex(of: ":"),
            let port = Int(text[text.index(after: colon)...])
        else { throw .invalid("address", "'\(shown(text))' is not address:port") }
        let host = text[..<colon]
        return (host.filter { $0 != "[" && $0 != "]" }, port)
    }

    /// The address that a call comes from: `ipv4:127.0.0.1:4711`, `ipv6:[::1]:4711`.
    private func caller(_ peer: String) throws(Fault) -> String {
        guard peer.hasPrefix("ipv"), let first = peer.firstIndex(of: ":"),
            let last = peer.lastIndex(of: ":"), first < last
        else { throw .invalid("address", "says no host, and the call comes from none") }
        return peer[peer.index(after: first)..<last].filter { $0 != "[" && $0 != "]" }
    }
}

/// `roost.fleet.v1.JoinTokenService`: what the operators of a fleet say.
package struct JoinTokenSkin: Roost_Fleet_V1_JoinTokenService.SimpleServiceProtocol {
    private let membership: Membership
    private let authority: Authority
    private let address: String

    /// `address` is where nodes call.
    package init(_ membership: Membership, _ authority: Authority, address: String) {
        self.membership = membership
        self.authority = authority
        self.address = address
    }

    package func createJoinToken(
        request: Roost_Fleet_V1_CreateJoinTokenRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_CreateJoinTokenResponse {
        let asked = try requestContext("CreateJoinToken", request)
        let token = JoinToken(of: asked.operation, authority)
        let row = try await membership.createToken(
            id: token.id,
            secretDigest: token.secretDigest,
            uses: request.uses == 0 ? 1 : Int(request.uses),
            ttlSeconds: request.hasTtl ? request.ttl.seconds : 3600,
            asked
        )
        return .with {
            $0.token = token.text.reveal()
            $0.joinToken = message(row)
            $0.controlAddress = address
        }
    }

    package func listJoinTokens(
        request: Roost_Fleet_V1_ListJoinTokensRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_ListJoinTokensResponse {
        let rows = try await membership.tokens()
        return .with { $0.joinTokens = rows.map(message) }
    }

    package func deleteJoinToken(
        request: Roost_Fleet_V1_DeleteJoinTokenRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_DeleteJoinTokenResponse {
        let row = try await membership.deleteToken(request.id)
        return .with { $0.joinToken = message(row) }
    }

    package func removeNode(
        request: Roost_Fleet_V1_RemoveNodeRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_RemoveNodeResponse {
        let departure = try await membership.remove(request.node, force: request.force)
        return .with {
            $0.nodeID = departure.node.description
            $0.forgottenVms = departure.forgotten
        }
    }

    private func message(_ row: JoinTokenRow) -> Roost_Fleet_V1_JoinToken {
        .with {
            $0.id = row.id
            $0.uses = Int32(clamping: row.uses)
            $0.usesLeft = Int32(clamping: row.usesLeft)
            $0.createTime = .init(row.createdAt)
            $0.expireTime = .init(row.expiresAt)
            $0.usable = membership.isUsable(row)
        }
    }
}
