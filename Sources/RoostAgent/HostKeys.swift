import Glibc
import RoostGuestWire

/// OpenSSH's host keys: two copies of a machine must not have the same.
///
/// Each kind that is there is made anew beside the old one and renamed over it; an sshd that runs is
/// told to read them again. Images without keys have nothing to renew.
///
///     begun ▶ one key after the other ▶ done
///       └──▶ abandoned, or begun anew ▶ what runs is killed ▶ its end ▶ the new one, if there is one
///
/// One renewal at a time: two would take each other's files away.
final class HostKeys {
    typealias Done = (SystemFailure?) -> Void
    /// Calls the action with a child's wait status when that has ended.
    typealias WhenEnded = (Int32, @escaping (Int32) -> Void) -> Void

    private let folder: String
    private var kinds: [String] = []
    /// Whom the present renewal is for; `nil`: there is none.
    private var done: Done?
    /// The process that makes a key, and whether that is still wanted.
    private var present: (pid: Int32, isWanted: Bool)?

    /// - Parameter folder: where the keys are.
    init(folder: String = "/etc/ssh") { self.folder = folder }

    /// Renews them one after the other, and calls `done` with what went wrong, if anything. A renewal that
    /// is under way is abandoned.
    func renew(whenEnded: @escaping WhenEnded, done: @escaping Done) {
        abandon()
        kinds = entries(of: folder).sorted().compactMap { name in
            guard name.hasPrefix("ssh_host_"), name.hasSuffix("_key") else { return nil }
            return String(name.dropFirst("ssh_host_".count).dropLast("_key".count))
        }
        let isAny = !kinds.isEmpty
        self.done = { failure in
            if failure == nil, isAny { Self.tellServer() }
            done(failure)
        }
        if present == nil { next(whenEnded) }
    }

    /// Ends what is under way; its `done` is not called any more.
    func abandon() {
        (kinds, done) = ([], nil)
        guard let pid = present?.pid else { return }
        present?.isWanted = false
        kill(-pid, SIGKILL)
    }

    private func next(_ whenEnded: @escaping WhenEnded) {
        guard let kind = kinds.popLast() else { return finish(nil) }
        let path = "\(folder)/ssh_host_\(kind)_key"
        let fresh = "\(path).roost-new"
        let failed = { (errno: Int32) in
            SystemFailure(call: "renew", subject: path, errno: errno)
        }
        unlink(fresh)
        unlink("\(fresh).pub")
        let pid: Int32
        do throws(GuestFailure) {
            pid = try Self.begin(kind, fresh)
        } catch {
            return finish(failed(ENOEXEC))
        }
        present = (pid, true)
        whenEnded(pid) { [self] status in
            let isWanted = present?.isWanted == true
            present = nil
            guard isWanted else { return next(whenEnded) }
            guard status == 0, rename(fresh, path) == 0,
                rename("\(fresh).pub", "\(path).pub") == 0
            else { return finish(failed(EIO)) }
            next(whenEnded)
        }
    }

    private func finish(_ failure: SystemFailure?) {
        let done = done
        (kinds, self.done) = ([], nil)
        done?(failure)
    }

    private static func begin(_ kind: String, _ path: String) throws(GuestFailure) -> Int32 {
        var request = ExecRequest(
            session: Array(repeating: 0, count: 16),
            arguments: ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path]
        )
        request.onDetach = .drop
        let process = try spawn(request)
        // It says nothing that anybody reads.
        for end in [process.input, process.output, process.error] where end >= 0 { close(end) }
        return process.pid
    }

    /// A server that runs has the old keys in memory; it hears this when it goes on.
    private static func tellServer() {
        for path in ["/run/sshd.pid", "/var/run/sshd.pid"] {
            guard let digits = text(of: path)?.filter(\.isNumber), let pid = Int32(digits),
                isUserProcess(pid)
            else { continue }
            kill(pid, SIGHUP)
            return
        }
    }
}
