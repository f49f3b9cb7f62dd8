internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// Follows a fleet until it is what its file says.
struct FleetWatch {
    private let name: String
    private let project: String
    private let daemon: Daemon
    private let invocation: Invocation

    init(_ name: String, _ project: String, _ daemon: Daemon, _ invocation: Invocation) {
        self.name = name
        self.project = project
        self.daemon = daemon
        self.invocation = invocation
    }

    /// The fleet when it has converged, waits for somebody, or at `deadline`, and the status for that.
    func follow(
        until deadline: ContinuousClock.Instant
    ) async throws -> (Roost_Fleet_V1_PublishedState, Int32) {
        var last = ""
        while true {
            let found = try await daemon.states.getState(
                .with {
                    $0.name = name
                    $0.project = project
                }
            )
            let progress = "\(found.settled) of \(found.wanted)"
            if progress != last { invocation.remark("\(progress) VMs are as the file says") }
            last = progress
            if found.changes.isEmpty { return (found, ExitStatus.ok) }
            let isStuck = found.changes.allSatisfy { $0.kind == .blocked }
            if isStuck { return (found, ExitStatus.failed) }
            guard ContinuousClock.now < deadline else { return (found, ExitStatus.deadline) }
            try await Task.sleep(for: .milliseconds(300))
        }
    }
}
