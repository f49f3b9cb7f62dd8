import CRoostLinux
import Glibc

/// The virtio-serial port of that name. Without udev there is no link to it by name.
func openPort(named wanted: String) -> Int32? {
    let link = open("/dev/virtio-ports/\(wanted)", O_RDWR | O_CLOEXEC | O_NONBLOCK)
    if link >= 0 { return link }
    let ports = "/sys/class/virtio-ports"
    for entry in entries(of: ports).sorted() {
        let name = text(of: "\(ports)/\(entry)/name")?.prefix { !$0.isNewline }
        guard name == wanted[...] else { continue }
        let path = "/dev/\(entry)"
        if access(path, F_OK) != 0 { makeNode(path, from: "\(ports)/\(entry)/dev") }
        let descriptor = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK)
        if descriptor >= 0 { return descriptor }
    }
    return nil
}

/// Waits for the port, told by the kernel's uevents, at most `milliseconds`.
func waitForPort(named wanted: String, milliseconds: Int) -> Int32? {
    if let port = openPort(named: wanted) { return port }
    let socket = roost_uevent_socket()
    defer { if socket >= 0 { close(socket) } }
    let deadline = bootNanoseconds() + UInt64(milliseconds) * 1_000_000
    while bootNanoseconds() < deadline {
        if let port = openPort(named: wanted) { return port }
        var poller = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        _ = poll(&poller, socket >= 0 ? 1 : 0, socket >= 0 ? 250 : 10)
        while socket >= 0, let event = readSome(socket, 8_192), !event.isEmpty {}
    }
    return nil
}

private func makeNode(_ path: String, from numbers: String) {
    let parts = (text(of: numbers) ?? "").split { $0 == ":" || $0.isNewline }
    guard parts.count == 2, let major = UInt32(parts[0]), let minor = UInt32(parts[1]) else {
        return
    }
    mknod(path, S_IFCHR | 0o600, gnu_dev_makedev(major, minor))
}
