import Glibc
import RoostControl
import RoostDriver
import RoostModel
import RoostNode
import RoostOperations
import RoostServices
import RoostStore

/// What this daemon says of itself.
struct Facts: DaemonFacts {
    static let version = Product.version

    let driver: String
    let sockets: [String]
    let stateDirectory: String
    let store: String
    let nodeID: String
    let role: String
    let startedAt: ContinuousClock.Instant
    /// `nil` where no VM runs.
    let hypervisor: (any Driver)?
    /// `nil` for a node of somebody else's control plane.
    let vms: VMService?
    let meter: CallMeter
    let stop: Signal

    var version: String { Self.version }
    var pid: Int32 { getpid() }

    func uptime() -> Duration { ContinuousClock.now - startedAt }

    func acceleration() async -> String {
        guard let found = await hypervisor?.acceleration() else { return "" }
        return "\(found.kind) (\(found.why))"
    }

    func busyWith() async -> [String] {
        let operations = vms?.ledger.liveIDs.map(\.description) ?? []
        return operations + meter.sessions.filter { !operations.contains($0) }
    }

    func shutDown() { stop.set() }
}
