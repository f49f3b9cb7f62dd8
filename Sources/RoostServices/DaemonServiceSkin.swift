package import GRPCCore
package import RoostAPI
package import RoostHost
import RoostModel
import RoostOperations
import SwiftProtobuf

/// What a daemon says of itself.
package protocol DaemonFacts: Sendable {
    var version: String { get }
    var pid: Int32 { get }
    var driver: String { get }
    var sockets: [String] { get }
    var stateDirectory: String { get }
    /// Where the control plane's rows are, in words and without a password.
    var store: String { get }
    var nodeID: String { get }
    var role: String { get }
    /// Since the daemon began to serve.
    func uptime() -> Duration
    /// `tcg (why)`.
    func acceleration() async -> String
    /// Running operations and sessions, by op id; empty when the daemon is idle.
    func busyWith() async -> [String]
    /// Ends the daemon in order, after the answer is on its way. Guests go on.
    func shutDown()
}

/// `roost.ops.v1.DaemonService`.
package struct DaemonServiceSkin: Roost_Ops_V1_DaemonService.SimpleServiceProtocol {
    private let facts: any DaemonFacts
    private let inspector: any Inspector

    package init(_ facts: any DaemonFacts, _ inspector: any Inspector) {
        self.facts = facts
        self.inspector = inspector
    }

    package func getInfo(
        request: Roost_Ops_V1_GetInfoRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_DaemonInfo {
        let acceleration = await facts.acceleration()
        let busy = await facts.busyWith()
        return .with {
            $0.version = facts.version
            $0.pid = facts.pid
            $0.driver = facts.driver
            $0.acceleration = acceleration
            $0.sockets = facts.sockets
            $0.stateDirectory = facts.stateDirectory
            $0.store = facts.store
            $0.uptime = .init(seconds: facts.uptime().components.seconds, nanos: 0)
            $0.busy = !busy.isEmpty
            $0.busyWith = busy
            $0.nodeID = facts.nodeID
            $0.role = facts.role
        }
    }

    package func shutdown(
        request: Roost_Ops_V1_ShutdownRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_ShutdownResponse {
        let busy = await facts.busyWith()
        guard busy.isEmpty || request.force else {
            throw Fault(
                .daemonBusy,
                "the daemon is busy with \(busy.prefix(5).joined(separator: ", "))",
                metadata: ["op": busy.first ?? ""]
            )
        }
        facts.shutDown()
        return .with { $0.pid = facts.pid }
    }

    package func runDoctor(
        request: Roost_Ops_V1_RunDoctorRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_RunDoctorResponse {
        let findings = await inspector.findings()
        return .with { answer in
            answer.findings = findings.map { finding in
                .with {
                    $0.id = finding.id
                    $0.title = finding.title
                    switch finding.verdict {
                    case .pass: $0.verdict = .pass
                    case .warn: $0.verdict = .warn
                    case .fail: $0.verdict = .fail
                    }
                    $0.detail = finding.detail
                    $0.fix = finding.fix
                }
            }
        }
    }

    package func scanLeaks(
        request: Roost_Ops_V1_ScanLeaksRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_ScanLeaksResponse {
        let leaks = try await inspector.leaks()
        return .with { answer in
            answer.leaks = leaks.map { leak in
                .with {
                    $0.kind = leak.kind
                    $0.name = leak.name
                    $0.vmID = leak.vm?.description ?? ""
                    $0.detail = leak.detail
                    $0.fix = leak.fix
                }
            }
        }
    }
}
