import Logging
import RoostModel
import RoostOperations
import RoostStore
import Synchronization

/// What a restart policy does: by what the row says, so that nothing is forgotten in a crash.
extension VMService {
    /// Who asks when nobody does.
    static var reconciler: String { "system" }

    /// Sees to the policy of the VM that `id` means now. May be called at any time.
    func restartIfWished(_ id: VMID) async {
        guard let vm = await current(id) else { return }
        restartIfWished(vm)
    }

    /// Starts `vm` again after a pause, if it ended unasked and its policy says so; again until it
    /// runs, the policy's bound is reached, or somebody else sees to it.
    func restartIfWished(_ vm: VM) {
        guard wishesRestart(vm), restarting.withLock({ $0.insert(vm.id).inserted }) else { return }
        parts.spawner.spawn { [self] in
            await keepRestarting(vm.id)
            _ = restarting.withLock { $0.remove(vm.id) }
            // It may have ended once more between the last look and now.
            if !Task.isCancelled { await restartIfWished(vm.id) }
        }
    }

    private func keepRestarting(_ id: VMID) async {
        // What is refused, for want of room say, does not count as a restart, and is slowed too.
        var refusals = 0
        while let vm = await current(id), wishesRestart(vm) {
            let doublings = min(vm.status.restarts + refusals, 6)
            let pause = min(Duration.seconds(1) * (1 << doublings), .seconds(60))
            refusals += 1
            do { try await parts.surroundings.clock.sleep(for: pause) } catch { return }
            await restart(vm)
        }
    }

    /// Whether `vm` does not run, shall, and may be started by its policy.
    private func wishesRestart(_ vm: VM) -> Bool {
        guard vm.runningOp == nil, vm.deletedAt == nil, vm.desired == .running else { return false }
        if let node = vm.status.node, parts.nodes.drain(of: node) != nil { return false }
        let policy = vm.spec.restart
        let isWished =
            switch policy.mode {
            case .never: false
            case .onFailure: vm.status.state == .failed
            case .always: vm.status.state == .failed || vm.status.state == .stopped
            }
        guard isWished else { return false }
        return policy.maxRestarts == 0 || vm.status.restarts < policy.maxRestarts
            || parts.failpoints.skips(.restartBound)
    }

    private func restart(_ ended: VM) async {
        let context = RequestContext(
            operation: parts.surroundings.operationID(),
            principal: Self.reconciler,
            method: "StartVM",
            digest: "restart:\(ended.id):\(ended.status.restarts)"
        )
        // Somebody else has touched it since: theirs is the newer word.
        guard let now = await current(ended.id), now.generation == ended.generation,
            now.status.state == ended.status.state, now.runningOp == nil
        else {
            parts.failpoints.mark(.restartOvertaken)
            return
        }
        do throws(Fault) {
            let id = ended.id.description
            let options = PowerOptions()
            _ = try await power(
                .start,
                id,
                project: ProjectView(ended.project),
                options: options,
                context
            )
            parts.failpoints.mark(.restarted)
        } catch {
            parts.failpoints.mark(.restartFailed)
            parts.log.warning(
                "could not restart a VM",
                metadata: ["vm": "\(ended.id)", "fault": "\(error)"]
            )
        }
    }

    /// The row of `id`; asks until it can be read. `nil`: gone, or this process ends.
    private func current(_ id: VMID) async -> VM? {
        while !Task.isCancelled {
            do throws(Fault) {
                return try await parts.store.get(VM.self, id.description)?.row
            } catch {
                try? await parts.surroundings.clock.sleep(for: .milliseconds(100))
            }
        }
        return nil
    }
}
