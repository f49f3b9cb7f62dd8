import Logging
package import RoostLink
package import RoostModel
import RoostOperations
import RoostStore
import Synchronization

/// Commands, files and logs of guests, by the VM's name.
///
/// Also ends disposable VMs: one lives as long as somebody is in it. When its last session has
/// closed, and after a restart of the daemon, it has ``lingering`` left for somebody to come back.
package final class GuestService: Sendable {
    /// How long a disposable VM may stand empty.
    package static let lingering = Duration.seconds(30)

    private let vms: VMService
    /// Open sessions in disposable VMs.
    private let sessions = Mutex<[VMID: Int]>([:])

    package init(_ vms: VMService) {
        self.vms = vms
    }

    /// Starts, or attaches to, a command. The session's id is the op id: a repeat attaches.
    package func exec(
        _ reference: String,
        project: ProjectView,
        _ request: ExecRequest
    ) async throws(Fault) -> any ExecSession {
        let vm = try await reachable(reference, project)
        var request = request
        request.image = vm.spec.image
        vms.auditEntry(vm, request.arguments.joined(separator: " "))
        let session: any ExecSession
        do throws(Fault) {
            session = try await vms.parts.nodes.link(vm.status.node).exec(vm.id, request)
        } catch { throw error.of(vm) }
        guard vm.spec.disposable else { return NamedSession(session, of: vm, onClose: nil) }
        sessions.withLock { $0[vm.id, default: 0] += 1 }
        return NamedSession(session, of: vm) { [self] in closed(vm) }
    }

    /// Opens a file or a tree in a guest.
    package func copy(
        _ reference: String,
        project: ProjectView,
        _ request: CopyRequest
    ) async throws(Fault) -> any CopySession {
        guard request.path.utf8.first == 47, request.path.utf8.count <= 4096 else {
            throw .invalid(
                "path",
                "'\(shown(request.path))' is not an absolute path under 4096 bytes"
            )
        }
        let vm = try await reachable(reference, project)
        vms.auditEntry(vm, request.path)
        do throws(Fault) {
            return try await vms.parts.nodes.link(vm.status.node).copy(vm.id, request)
        } catch { throw error.of(vm) }
    }

    /// A piece of a log, also of a VM that does not run.
    package func readLog(
        _ reference: String,
        project: ProjectView,
        _ request: LogRequest
    ) async throws(Fault) -> LogPiece {
        let vm = try await vms.get(reference, project: project).row
        return try await vms.parts.nodes.link(vm.status.node).readLog(vm.id, request)
    }

    /// What the guest's agent says.
    package func status(
        _ reference: String,
        project: ProjectView
    ) async throws(Fault) -> GuestStatus {
        let vm = try await reachable(reference, project)
        do throws(Fault) {
            return try await vms.parts.nodes.link(vm.status.node).guestStatus(vm.id)
        } catch { throw error.of(vm) }
    }

    /// Gives disposable VMs that an earlier daemon left their last ``lingering``.
    package func recover() async throws(Fault) {
        var token: PageToken?
        repeat {
            let page = try await vms.list(VMFilter(), size: 1000, token: token)
            for found in page.vms where found.row.spec.disposable { linger(found.row) }
            token = page.next
        } while token != nil
    }

    private func reachable(_ reference: String, _ project: ProjectView) async throws(Fault) -> VM {
        let vm = try await vms.find(reference, project: project).row
        guard vm.status.state == .running || (vm.status.state == .starting && vm.runningOp == nil)
        else {
            throw Fault(
                .wrongState,
                "\(vm.name) is \(vm.status.state.rawValue), and only a RUNNING VM can be entered",
                metadata: ["vm": vm.name, "state": vm.status.state.rawValue]
            )
        }
        return vm
    }

    /// A disposable VM that nobody enters within ``lingering`` goes away: whoever made it is gone.
    package func expectGuest(of vm: VM) {
        if vm.spec.disposable, vm.deletedAt == nil { linger(vm) }
    }

    private func closed(_ vm: VM) {
        let isLast = sessions.withLock { open in
            let left = (open[vm.id] ?? 1) - 1
            open[vm.id] = left == 0 ? nil : left
            return left == 0
        }
        if isLast { linger(vm) }
    }

    private func linger(_ vm: VM) {
        vms.parts.spawner.spawn { [self] in
            try? await vms.parts.surroundings.clock.sleep(for: Self.lingering)
            guard !Task.isCancelled, sessions.withLock({ $0[vm.id] }) == nil else { return }
            await remove(vm)
        }
    }

    private func remove(_ vm: VM) async {
        let context = RequestContext(
            operation: vms.parts.surroundings.operationID(),
            principal: "system",
            method: "DeleteVM",
            digest: "disposable:\(vm.id)"
        )
        do throws(Fault) {
            _ = try await vms.power(
                .delete,
                vm.id.description,
                project: ProjectView(vm.project),
                options: PowerOptions(force: true, purge: true),
                context
            )
        } catch  where error.reason == .vmNotFound {
            // Whoever ran it has removed it.
        } catch {
            vms.parts.log.warning(
                "could not remove a disposable VM",
                metadata: ["vm": "\(vm.id)", "op_id": "\(context.operation)", "fault": "\(error)"]
            )
        }
    }
}

extension Fault {
    /// The same with the VM's name, which the node does not know, for the remedy.
    fileprivate func of(_ vm: VM) -> Fault {
        var fault = self
        fault.metadata["vm"] = vm.name
        return fault
    }
}

/// A session whose faults know its VM's name, and that says once when it has closed.
private final class NamedSession: ExecSession {
    private let inner: any ExecSession
    private let vm: VM
    private let onClose: Mutex<(@Sendable () -> Void)?>

    init(_ inner: any ExecSession, of vm: VM, onClose: (@Sendable () -> Void)?) {
        self.inner = inner
        self.vm = vm
        self.onClose = Mutex(onClose)
    }

    func send(_ input: ExecInput) async throws(Fault) {
        do throws(Fault) { try await inner.send(input) } catch { throw error.of(vm) }
    }

    func next() async throws(Fault) -> ExecOutput? {
        do throws(Fault) { return try await inner.next() } catch { throw error.of(vm) }
    }

    func close() async {
        await inner.close()
        let action = onClose.withLock { action in
            defer { action = nil }
            return action
        }
        action?()
    }
}
