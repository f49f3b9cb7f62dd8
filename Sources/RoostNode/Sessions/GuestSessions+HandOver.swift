import RoostGuestWire
import RoostLink
package import RoostModel
import RoostOperations
import Synchronization

/// A guest whose VMM is replaced by another that goes on for it.
///
/// The connection stays: the driver carries its stream over, and neither side speaks meanwhile.
extension GuestSessions {
    /// How long the guest may take to say over its carried connection that it goes on.
    private static let carriedWord = Duration.seconds(10)

    package func hold(_ vm: VMID) async throws(Fault) {
        held.withLock { table in
            if table[vm] == nil { table[vm] = Signal() }
        }
        try await inTime(vm) { () async throws(Fault) in
            try await self.connection(vm).0.hold()
        }
    }

    package func letGo(_ vm: VMID) async throws(Fault) {
        defer { endHold(of: vm) }
        try await inTime(vm) { () async throws(Fault) in
            if let silent = self.connections.withLock({ $0[vm] }), silent.isSilent {
                do throws(Fault) {
                    return try await self.inTime(vm, Self.carriedWord) {
                        () async throws(Fault) in try await silent.letGo()
                    }
                } catch  where error.reason != .opCancelled {
                    // It broke, with all who read from it. The guest can be told over another one.
                    await self.drop(vm)
                }
            }
            let (connection, begun) = try await self.connection(vm, with: .thaw)
            try await connection.finish(.thaw, begun: begun)
        }
        // Its clock stood still meanwhile, and is not set while it is held.
        endHold(of: vm)
        spawner.spawn { await self.stepClock(vm) }
    }

    private func endHold(of vm: VMID) {
        let over = held.withLock { $0.removeValue(forKey: vm) }
        over?.set()
    }

    private func inTime(
        _ vm: VMID,
        _ time: Duration = GuestSessions.greeting,
        _ work: @escaping @Sendable () async throws(Fault) -> Void
    ) async throws(Fault) {
        let late = Fault(
            .guestUnreachable,
            "the guest's agent did not answer within \(time)",
            metadata: ["vm": vm.short]
        )
        try await within(time, on: surroundings.clock, onTimeout: late, work)
    }

    /// Opens a session on the guest's connection.
    func attach(
        to vm: VMID,
        _ open: (GuestConnection) async throws(Fault) -> GuestSession
    ) async throws(Fault) -> AttachedSession {
        let session = try await open(answering(vm))
        let attached = AttachedSession(session) { [weak self] in self?.forget($0, of: vm) }
        self.attached.withLock { $0[vm, default: []].append(attached) }
        return attached
    }

    private func forget(_ session: AttachedSession, of vm: VMID) {
        attached.withLock { table in
            table[vm]?.removeAll { $0 === session }
            if table[vm]?.isEmpty == true { table[vm] = nil }
        }
    }
}
