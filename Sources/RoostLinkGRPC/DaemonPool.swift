import GRPCCore
import GRPCNIOTransportHTTP2
package import Logging
package import RoostAPI
package import RoostModel
import RoostTrust
import Synchronization

/// One client for each node, reused: made at the first call, made anew when the node's address
/// changes, gone with the node.
///
/// A node that does not answer is nobody else's trouble: its calls fail at once while its
/// ``Breaker`` is open, and every call has a deadline.
package final class DaemonPool: Sendable {
    typealias Client = GRPCClient<HTTP2ClientTransport.Posix>

    /// Where a node listens.
    package struct Address: Sendable, Hashable, CustomStringConvertible {
        package var host: String
        package var port: Int

        package init(host: String, port: Int) {
            self.host = host
            self.port = port
        }

        package var description: String {
            host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        }
    }

    private struct Line {
        var address: Address
        var client: Client?
        var breaker = Breaker()
    }

    /// Runs a connection until it ends, or is cancelled with its owner.
    package typealias Runner = @Sendable (@escaping @Sendable () async -> Void) -> Void

    private let lines = Mutex<[NodeID: Line]>([:])
    private let credentials: FleetCredentials
    private let started = ContinuousClock.now
    private let run: Runner
    private let log: Logger
    /// The calls that were tried; those that an open breaker turned away were not. Of a stream, its
    /// beginning.
    package let tally = CallTally(.client)

    /// Shows `credentials` to every node; `run` owns the connections.
    package init(credentials: FleetCredentials, log: Logger, run: @escaping Runner) {
        self.credentials = credentials
        self.run = run
        self.log = log
    }

    /// The way to `node`, for as long as the pool lives. Its address may come later and change.
    package func link(_ node: NodeID) -> RemoteLink { RemoteLink(node: node, pool: self) }

    /// Says where `node` listens; the next call goes there, without a pause.
    package func set(_ node: NodeID, at address: Address) {
        let old = lines.withLock { lines -> Client? in
            guard let line = lines[node], line.address == address else {
                let old = lines[node]?.client
                lines[node] = Line(address: address)
                return old
            }
            // It has been heard of: no need to wait out a pause.
            lines[node]?.breaker = Breaker()
            return nil
        }
        old?.beginGracefulShutdown()
    }

    /// Forgets `node`; calls that are on their way may end.
    package func remove(_ node: NodeID) {
        lines.withLock { $0.removeValue(forKey: node)?.client }?.beginGracefulShutdown()
    }

    /// Ends every connection once its calls have ended.
    package func close() {
        let clients = lines.withLock { lines in
            defer { lines = [:] }
            return lines.values.compactMap(\.client)
        }
        for client in clients { client.beginGracefulShutdown() }
    }

    /// A client for one call to `node`, and where it goes.
    ///
    /// - Throws: ``Reason/nodeUnreachable`` when its address is unknown or its breaker is open.
    func admit(_ node: NodeID) throws(Fault) -> (client: Client, address: Address) {
        let now = ContinuousClock.now - started
        let (line, isNew): (Line, Bool) = try lines.withLock { (lines) throws(Fault) in
            guard var line = lines[node] else {
                throw Self.unreachable(node, "it has not said yet where it listens")
            }
            guard line.breaker.admits(at: now) else {
                throw Self.unreachable(node, "\(line.address) did not answer a moment ago")
            }
            let isNew = line.client == nil
            if isNew { line.client = try makeClient(node, line.address) }
            lines[node] = line
            return (line, isNew)
        }
        guard let client = line.client else { throw Fault(.bug, "a line without a client") }
        if isNew { keep(client, node) }
        return (client, line.address)
    }

    /// What became of a call that was admitted; `nil`: its caller left.
    func note(_ node: NodeID, answered: Bool?) {
        let now = ContinuousClock.now - started
        lines.withLock { lines in
            switch answered {
            case true?: lines[node]?.breaker.succeeded()
            case false?:
                lines[node]?.breaker.failed(at: now, chance: .random(in: 0...1))
            case nil: lines[node]?.breaker.leftOpen(at: now)
            }
        }
    }

    private func keep(_ client: Client, _ node: NodeID) {
        let log = log
        run { [weak self] in
            do {
                try await withTaskCancellationHandler {
                    try await client.runConnections()
                } onCancel: {
                    client.beginGracefulShutdown()
                }
            } catch {
                log.warning(
                    "a connection ended",
                    metadata: ["node": "\(node)", "error": "\(error)"]
                )
            }
            self?.lines.withLock { lines in
                if lines[node]?.client === client { lines[node]?.client = nil }
            }
        }
    }

    private func makeClient(_ node: NodeID, _ address: Address) throws(Fault) -> Client {
        do {
            return try fleetClient(
                address,
                credentials,
                expecting: .member(.node(node))
            )
        } catch {
            throw Fault(.bug, "cannot make a client for \(address)", cause: error)
        }
    }

    static func unreachable(_ node: NodeID, _ why: String, cause: (any Error)? = nil) -> Fault {
        let operation = OperationScope.current?.description ?? ""
        return Fault(
            .nodeUnreachable,
            "node \(node.short) does not answer: \(why)",
            metadata: ["op": operation, "node": node.description],
            cause: cause
        )
    }
}

/// A client of a daemon at `address` who must prove to be `expected`.
func fleetClient(
    _ address: DaemonPool.Address,
    _ credentials: FleetCredentials,
    expecting expected: ExpectedServer
) throws -> GRPCClient<HTTP2ClientTransport.Posix> {
    let target: any ResolvableTarget =
        isNumeric(address.host)
        ? (address.host.contains(":")
            ? .ipv6(address: address.host, port: address.port)
            : .ipv4(address: address.host, port: address.port))
        : .dns(host: address.host, port: address.port)
    let transport = try HTTP2ClientTransport.Posix(
        target: target,
        transportSecurity: credentials.client(expecting: expected),
        config: .defaults { config in
            config.backoff = .init(
                initial: .milliseconds(50),
                max: .seconds(2),
                multiplier: 1.6,
                jitter: 0.2
            )
            config.http2.targetWindowSize = 1 << 20
            config.http2.authority = "roost"
            // A peer whose host is gone says nothing: pings find that out.
            config.connection.keepalive = .init(
                time: .seconds(10),
                timeout: .seconds(5),
                allowWithoutCalls: true
            )
            config.connection.maxIdleTime = nil
        }
    )
    return GRPCClient(transport: transport)
}

private func isNumeric(_ host: String) -> Bool {
    host.contains(":") || host.allSatisfy { $0.isNumber || $0 == "." }
}
