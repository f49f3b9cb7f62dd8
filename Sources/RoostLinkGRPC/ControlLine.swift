import GRPCCore
import GRPCNIOTransportHTTP2
import RoostAPI
package import RoostLink
package import RoostModel
package import RoostTrust
import SwiftProtobuf

/// A node's way to its control plane, over one connection.
package struct ControlLine: Sendable {
    /// A node's certificate, and who signed it.
    package struct Admission: Sendable {
        package let leaf: Leaf
        package let trust: TrustedAuthority
    }

    /// What the control plane says to a beat.
    package struct Answer: Sendable {
        package var interval: Duration
        package var mustRegister: Bool
    }

    private let service: Roost_Fleet_V1_MembershipService.Client<HTTP2ClientTransport.Posix>
    private let address: DaemonPool.Address

    /// How long each call may take.
    private static let patience = Duration.seconds(10)

    /// Connects for as long as `body` runs.
    ///
    /// - Throws: what `body` throws.
    package static func connected<Result: Sendable>(
        to address: DaemonPool.Address,
        _ credentials: FleetCredentials,
        expecting expected: ExpectedServer,
        _ body: (ControlLine) async throws -> Result
    ) async throws -> Result {
        let client = try fleetClient(address, credentials, expecting: expected)
        return try await client.whileConnected {
            try await body(ControlLine(service: .init(wrapping: client), address: address))
        }
    }

    /// Becomes a node, against `token`.
    ///
    /// - Throws: what the control plane says of the token; ``Reason/controlUnreachable``.
    package func join(
        _ token: JoinToken,
        node: NodeID,
        name: String
    ) async throws(Fault) -> Admission {
        let request = Roost_Fleet_V1_JoinRequest.with {
            $0.token = token.text.reveal()
            $0.nodeID = node.description
            $0.name = name
        }
        let answer = try await call { try await service.join(request, options: $0) }
        let admission = try admission(answer)
        guard admission.trust.fingerprint == token.fingerprint else {
            throw Fault(.unauthenticated, "the control plane answered with another authority")
        }
        return admission
    }

    /// Says what the node is; answers how often to beat.
    package func register(
        _ node: NodeID,
        name: String,
        address: String,
        capacity: NodeCapacity,
        policy: OvercommitPolicy,
        driver: String,
        version: String,
        holdings: NodeHoldings
    ) async throws(Fault) -> Duration {
        let request = Roost_Fleet_V1_RegisterRequest.with {
            $0.nodeID = node.description
            $0.name = name
            $0.address = address
            $0.cores = Int32(clamping: capacity.cores)
            $0.memoryMib = Int64(capacity.memoryMiB)
            $0.driver = driver
            $0.version = version
            $0.holdings = .init(holdings)
            $0.overcommit = .with {
                $0.reservedCores = Int32(clamping: policy.reservedCores)
                $0.reservedMemoryMib = Int64(policy.reservedMemoryMiB)
                $0.cpuRatio = policy.cpuRatio
                $0.memoryRatio = policy.memoryRatio
            }
        }
        let answer = try await call { try await service.register(request, options: $0) }
        return try duration(answer.heartbeatInterval)
    }

    /// Says that the node lives and, unless it is `nil`, what it has.
    package func beat(
        _ node: NodeID,
        stateHash: UInt64,
        epoch: Int64,
        holdings: NodeHoldings? = nil
    ) async throws(Fault) -> Answer {
        let request = Roost_Fleet_V1_HeartbeatRequest.with {
            $0.nodeID = node.description
            $0.stateHash = stateHash
            $0.epoch = epoch
            if let holdings { $0.holdings = .init(holdings) }
        }
        let answer = try await call { try await service.heartbeat(request, options: $0) }
        return Answer(
            interval: try duration(answer.interval),
            mustRegister: answer.registerAgain
        )
    }

    /// A new certificate for the key of this connection.
    package func renew() async throws(Fault) -> Admission {
        let request = Roost_Fleet_V1_RenewCertificateRequest()
        return try admission(
            try await call { try await service.renewCertificate(request, options: $0) }
        )
    }

    private func admission(
        _ answer: Roost_Fleet_V1_JoinResponse
    ) throws(Fault) -> Admission {
        let source = "the answer of \(address)"
        return Admission(
            leaf: try Leaf(der: Array(answer.certificate), path: source),
            trust: try TrustedAuthority(der: Array(answer.authority), path: source)
        )
    }

    private func duration(_ sent: Google_Protobuf_Duration) throws(Fault) -> Duration {
        let duration = Duration.seconds(sent.seconds) + .nanoseconds(Int64(sent.nanos))
        guard duration >= .milliseconds(10), duration <= .seconds(3600) else {
            throw Fault(.malformedRequest, "\(address) asks for a beat every \(duration)")
        }
        return duration
    }

    private func call<Answer: Sendable>(
        _ body: @Sendable (CallOptions) async throws -> Answer
    ) async throws(Fault) -> Answer {
        var options = CallOptions.defaults
        options.timeout = Self.patience
        options.waitForReady = false
        do {
            return try await body(options)
        } catch let error as RPCError {
            let received = ReceivedFault(error)
            if received.namesReason, received.fault.reason != .shuttingDown {
                throw received.fault
            }
            throw unreachable(error.message, error)
        } catch {
            throw unreachable("\(error)", error)
        }
    }

    private func unreachable(_ why: String, _ cause: any Error) -> Fault {
        Fault(
            .controlUnreachable,
            "the control plane at \(address) does not answer: \(shown(why))",
            metadata: ["control": "\(address)"],
            cause: cause
        )
    }
}
