import CRoostLinux
import Glibc
import RoostGuestWire

extension Agent {
    /// Ends every process, unmounts and powers off or reboots. Once begun it is not begun again.
    ///
    ///     announce ▶ SIGTERM ▶ wait until none is left, at most `grace` ms ▶ SIGKILL ▶ sync ▶ off
    func shutDown(reboot: Bool, grace: UInt64, for operation: OperationMark = .none) {
        guard !isStopping else { return }
        isStopping = true
        announce(.stopping)
        // The requester's answer goes out in this turn of the loop; the rest begins in the next.
        _ = loop.after(1) { [unowned self] in
            guard role.isInit else { return askInit(reboot: reboot) }
            // Stopped processes must run to hear it.
            kill(-1, SIGTERM)
            kill(-1, SIGCONT)
            let deadline = loop.after(min(grace, 600_000)) { [unowned self] in
                finish(reboot: reboot, operation)
            }
            waitForProcesses(deadline, reboot: reboot, operation)
        }
    }

    private func waitForProcesses(_ deadline: Int, reboot: Bool, _ operation: OperationMark) {
        reap()
        if !anyProcessLeft() {
            loop.cancel(deadline)
            return finish(reboot: reboot, operation)
        }
        // A process that is not our child ends without a signal to us.
        _ = loop.after(10) { [unowned self] in
            waitForProcesses(deadline, reboot: reboot, operation)
        }
    }

    private func finish(reboot: Bool, _ operation: OperationMark) {
        kill(-1, SIGKILL)
        reap()
        sync()
        unmountAll()
        say(reboot ? "rebooting" : "powering off", for: operation)
        // The console is a slow serial line; what it has not sent is lost with the machine.
        tcdrain(2)
        finishLog()
        _ = roost_reboot(reboot ? 1 : 0)
        say("reboot(2) was refused", for: operation)
    }

    /// Under another init the machine is that init's to stop; what its image calls it is tried.
    private func askInit(reboot: Bool) {
        var request = ExecRequest(
            session: Array(repeating: 0, count: 16),
            arguments: [reboot ? "reboot" : "poweroff"]
        )
        request.onDetach = .drop
        if (try? spawn(request)) == nil {
            sync()
            _ = roost_reboot(reboot ? 1 : 0)
        }
    }
}

/// Whether any process but this one runs. Threads of the kernel (children of 2) and the dead do
/// not count; kill(2) with -1 would count them.
private func anyProcessLeft() -> Bool {
    entries(of: "/proc").contains { name in
        guard let pid = Int32(name), pid > 2, pid != getpid() else { return false }
        return isUserProcess(pid)
    }
}

/// Unmounts what can be, newest first, and makes the rest read-only.
func unmountAll() {
    let lines = (text(of: "/proc/self/mounts") ?? "").split(separator: "\n")
    for line in lines.reversed() {
        let fields = line.split(separator: " ")
        guard fields.count >= 3, fields[0].hasPrefix("/dev/") else { continue }
        let target = String(fields[1])
        if target != "/", roost_unmount(target, 0) >= 0 { continue }
        _ = roost_mount(nil, target, nil, ROOST_MS_REMOUNT | ROOST_MS_RDONLY, nil)
    }
    sync()
}
