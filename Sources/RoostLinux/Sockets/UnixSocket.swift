internal import CRoostLinux
internal import Glibc
package import RoostModel

/// Unix sockets addressed by directory and name, so that no path is too long: the kernel's
/// 107 bytes only ever hold `/proc/self/fd/N/name`.
package enum UnixSocket {
    /// Makes a listening socket `name` in `directory`, replacing what is left of an earlier one.
    /// Only its owner may connect.
    package static func listen(
        in directory: String,
        name: String,
        backlog: Int32 = 4
    ) throws(Fault) -> Descriptor {
        let folder = try open(directory)
        let socket = try make("\(directory)/\(name)")
        unlinkat(folder.number, name, 0)
        var address = try address(folder, name)
        // The mode comes from the descriptor before anybody can connect; the umask is the process's.
        fchmod(socket.number, 0o600)
        guard withAddress(&address, { bind(socket.number, $0, $1) }) == 0,
            Glibc.listen(socket.number, backlog) == 0
        else { throw systemFault("listen on", "\(directory)/\(name)", errno) }
        return socket
    }

    /// Connects to the socket `name` in `directory`. Unix sockets connect at once or not at all,
    /// but for a full backlog, which is waited for.
    package static func connect(
        in directory: String,
        name: String,
        until deadline: ContinuousClock.Instant? = nil
    ) async throws(Fault) -> SocketStream {
        let folder = try open(directory)
        let socket = try make("\(directory)/\(name)")
        var address = try address(folder, name)
        while withAddress(&address, { Glibc.connect(socket.number, $0, $1) }) != 0 {
            let problem = errno
            if problem == EINTR { continue }
            guard problem == EAGAIN else {
                throw systemFault("connect to", "\(directory)/\(name)", problem)
            }
            // The kernel offers no readiness for a full backlog of a Unix socket.
            let wake = await Reactor.shared.sleep(until: .now + .milliseconds(5))
            if wake == .cancelled || deadline.map({ $0 <= .now }) == true {
                throw systemFault("connect to", "\(directory)/\(name)", problem)
            }
        }
        return SocketStream(socket)
    }

    private static func open(_ directory: String) throws(Fault) -> Descriptor {
        let number = roost_host_open_folder(directory)
        guard number >= 0 else { throw systemFault("open", directory, -number) }
        return Descriptor(number)
    }

    private static func make(_ path: String) throws(Fault) -> Descriptor {
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let number = socket(AF_UNIX, kind, 0)
        guard number >= 0 else { throw systemFault("make a socket for", path, errno) }
        return Descriptor(number)
    }

    private static func address(
        _ folder: Descriptor,
        _ name: String
    ) throws(Fault) -> sockaddr_un {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = Array("/proc/self/fd/\(folder.number)/\(name)".utf8)
        guard path.count < MemoryLayout.size(ofValue: address.sun_path), !path.contains(0) else {
            throw Fault(.socketPathTooLong, "socket name '\(shown(name))' is too long")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        return address
    }

    private static func withAddress(
        _ address: inout sockaddr_un,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}
