import CRoostLinux
import Glibc
import RoostGuestWire

/// Sets the host name, now and for the next boot.
///
/// - Throws: ``SystemFailure`` `EINVAL` for a name that is no host name.
func setHostname(_ name: String) throws(SystemFailure) {
    let legal = name.utf8.allSatisfy {
        ($0 >= 48 && $0 <= 57) || ($0 | 32 >= 97 && $0 | 32 <= 122) || $0 == 45 || $0 == 46
    }
    guard legal, !name.isEmpty, name.utf8.count <= 64 else {
        throw SystemFailure(call: "sethostname", subject: name, errno: EINVAL)
    }
    try check(sethostname(name, name.utf8.count), "sethostname", name)
    // A read-only root keeps its name; the kernel's is set all the same.
    try? put("\(name)\n", at: "/etc/hostname")
}

/// The host name as the kernel has it.
func hostname() -> String {
    var name = [CChar](repeating: 0, count: 65)
    guard gethostname(&name, name.count - 1) == 0 else { return "" }
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Lays files in memory over those that ``renewIdentity(_:)`` writes, as container engines do: a copy
/// that comes and goes then writes none of them to its disk, which takes most of a renewal. A file
/// that cannot be covered is written where it is.
func keepIdentityInMemory() {
    let folder = "/run/roost"
    mkdir(folder, 0o755)
    for path in ["/etc/machine-id", "/etc/hostname", "/etc/hosts"] {
        let cover = "\(folder)/\(path.dropFirst("/etc/".count))"
        // Covered already.
        guard access(cover, F_OK) != 0 else { continue }
        do throws(SystemFailure) {
            try put(text(of: path) ?? "", at: cover)
            close(try check(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644), "open", path))
            try checkShim(roost_mount(cover, path, nil, ROOST_MS_BIND, nil), "mount", path)
        } catch {
            say(error.text)
        }
    }
}

/// Does once what a copy's renewal does, so that the copies find everything for it in memory.
func rehearseRenewal() throws(SystemFailure) {
    var request = RenewRequest(entropy: (0..<64).map { _ in .random(in: 0...255) })
    request.machineID = (0..<16).map { _ in .random(in: 0...255) }
    request.hostname = "template"
    try renewIdentity(request)
}

/// Makes this copy of a machine into a machine of its own: what two copies must not share.
func renewIdentity(_ request: RenewRequest) throws(SystemFailure) {
    guard request.entropy.count >= 16 else {
        throw SystemFailure(call: "renew", subject: "entropy", errno: EINVAL)
    }
    let result = request.entropy.withUnsafeBufferPointer {
        roost_add_entropy($0.baseAddress, $0.count)
    }
    try checkShim(result, "ioctl", "RNDADDENTROPY")
    if request.wallClock > 0 { try setWallClock(request.wallClock) }
    if let machineID = request.machineID { try setMachineID(machineID) }
    if !request.hostname.isEmpty {
        try setHostname(request.hostname)
        try? replaceHosts(with: request.hostname)
    }
    if let ethernet = request.ethernet { try setEthernet(ethernet) }
    if !request.address.isEmpty {
        let network = NetworkSettings(
            address: request.address,
            gateway: request.gateway,
            nameserver: request.nameserver
        )
        try network.apply()
    }
}

/// Gives the first interface another Ethernet address; fine when there is no interface.
private func setEthernet(_ address: [UInt8]) throws(SystemFailure) {
    guard address.count == 6 else {
        throw SystemFailure(call: "set address", subject: "ethernet", errno: EINVAL)
    }
    guard let name = firstInterface() else { return }
    let result = address.withUnsafeBufferPointer { roost_set_ethernet(name, $0.baseAddress) }
    try checkShim(result, "set ethernet address", name)
}

private func setMachineID(_ id: [UInt8]) throws(SystemFailure) {
    let digits = hexadecimal(id)
    try put("\(digits)\n", at: "/etc/machine-id", mode: 0o444)
    if access("/var/lib/dbus/machine-id", F_OK) == 0 {
        try? put("\(digits)\n", at: "/var/lib/dbus/machine-id", mode: 0o444)
    }
}

/// Writes /etc/hosts when the image has none.
func replaceHosts(with hostname: String) throws(SystemFailure) {
    let path = "/etc/hosts"
    let present = text(of: path) ?? ""
    // Ours is known by its first line; an image's own is left alone.
    let mark = "# written by roost-agent"
    guard present.allSatisfy(\.isWhitespace) || present.hasPrefix(mark) else { return }
    let lines = [
        mark, "127.0.0.1 localhost", "::1 localhost ip6-localhost",
        hostname.isEmpty ? "" : "127.0.1.1 \(hostname)",
    ]
    try put(lines.filter { !$0.isEmpty }.joined(separator: "\n") + "\n", at: path)
}
