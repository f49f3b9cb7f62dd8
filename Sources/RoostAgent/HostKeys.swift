import Glibc
import RoostGuestWire

/// OpenSSH's host keys: two copies of a machine must not have the same.
///
/// Each kind that is there is made anew beside the old one and renamed over it; an sshd that runs is
/// told to read them again. Images without keys have nothing to renew.
final class HostKeys {
    private static let folder = "/etc/ssh"
    private var kinds: [String] = []

    /// Renews them one after the other, and calls `done` with what went wrong, if anything.
    ///
    /// - Throws: ``SystemFailure`` when the first one cannot be begun.
    func renew(
        whenEnded: @escaping (Int32, @escaping (Int32) -> Void) -> Void,
        done: @escaping (SystemFailure?) -> Void
    ) throws(SystemFailure) {
        kinds = entries(of: Self.folder).sorted().compactMap { name in
            guard name.hasPrefix("ssh_host_"), name.hasSuffix("_key") else { return nil }
            return String(name.dropFirst("ssh_host_".count).dropLast("_key".count))
        }
        let isAny = !kinds.isEmpty
        next(whenEnded) { failure in
            if failure == nil, isAny { Self.tellServer() }
            done(failure)
        }
    }

    private func next(
        _ whenEnded: @escaping (Int32, @escaping (Int32) -> Void) -> Void,
        _ done: @escaping (SystemFailure?) -> Void
    ) {
        guard let kind = kinds.popLast() else { return done(nil) }
        let path = "\(Self.folder)/ssh_host_\(kind)_key"
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
            return done(failed(ENOEXEC))
        }
        whenEnded(pid) { [self] status in
            guard status == 0, rename(fresh, path) == 0,
                rename("\(fresh).pub", "\(path).pub") == 0
            else { return done(failed(EIO)) }
            next(whenEnded, done)
        }
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
