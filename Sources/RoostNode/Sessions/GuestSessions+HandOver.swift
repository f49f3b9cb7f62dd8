import RoostGuestWire
import RoostLink
package import RoostModel
import RoostOperations
import Synchronization

/// A guest whose VMM is replaced by another that goes on for it.
extension GuestSessions {
    package func hold(_ vm: VMID) async throws(Fault) {
        held.withLock { table in
            if table[vm] == nil { table[vm] = Signal() }
        }
        let late = Fault(
            .guestUnreachable,
            "the guest's agent did not answer within \(Self.greeting)",
            metadata: ["vm": vm.short]
        )
        try await within(Self.greeting, on: surroundings.clock, onTimeout: late) {
            () async throws(Fault) in
            let (connection, _) = try await self.connection(vm)
            try await connection.freeze()
            try await connection.seal()
        }
        await drop(vm)
    }

    package func letGo(_ vm: VMID) async throws(Fault) {
        // What could not be sealed to its end serves nobody.
        if connections.withLock({ $0[vm]?.isSealed ?? false }) { await drop(vm) }
        let moving = attached.withLock { $0[vm] ?? [] }
        defer {
            let over = held.withLock { $0.removeValue(forKey: vm) }
            over?.set()
        }
        let late = Fault(
            .guestUnreachable,
            "the guest's agent did not answer within \(Self.greeting)",
            metadata: ["vm": vm.short]
        )
        do throws(Fault) {
            try await within(Self.greeting, on: surroundings.clock, onTimeout: late) {
                () async throws(Fault) in
                // Commands go on once their readers are there: these are attached first then.
                let sealed = moving.filter(\.isSealed)
                let early: Request? = sealed.isEmpty ? .thaw : nil
                let (connection, begun) = try await self.connection(vm, with: early)
                for session in sealed { await session.move(to: connection) }
                try await connection.finish(.thaw, begun: begun)
            }
        } catch {
            for session in moving where session.isSealed { session.lose(error) }
            throw error
        }
    }

    /// Opens a session on the guest's connection, again when that is being handed over.
    func attach(
        to vm: VMID,
        id: [UInt8],
        _ killOnDetach: Bool,
        _ open: (GuestConnection) async throws(Fault) -> GuestSession
    ) async throws(Fault) -> AttachedSession {
        while true {
            let connection = try await answering(vm)
            let session: GuestSession
            do throws(Fault) {
                session = try await open(connection)
            } catch  where connection.isSealed && error.reason == .guestUnreachable {
                continue
            }
            let attached = AttachedSession(
                session,
                id: id,
                on: connection,
                killOnDetach: killOnDetach,
                onEnd: { [weak self] in self?.forget($0, of: vm) }
            )
            self.attached.withLock { $0[vm, default: []].append(attached) }
            return attached
        }
    }

    private func forget(_ session: AttachedSession, of vm: VMID) {
        attached.withLock { table in
            table[vm]?.removeAll { $0 === session }
            if table[vm]?.isEmpty == true { table[vm] = nil }
        }
    }
}
