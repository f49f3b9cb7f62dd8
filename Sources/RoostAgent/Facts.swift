import CRoostLinux
import Glibc
import RoostGuestWire

/// The load of this machine, from /proc.
func guestStats() -> GuestStats {
    var stats = GuestStats()
    stats.uptimeMilliseconds = bootNanoseconds() / 1_000_000
    let load = (text(of: "/proc/loadavg") ?? "").split(separator: " ").prefix(3)
    for (index, field) in load.enumerated() {
        stats.loadHundredths[index] = UInt32((Double(field) ?? 0) * 100)
    }
    for line in (text(of: "/proc/meminfo") ?? "").split(separator: "\n") {
        let fields = line.split(separator: " ")
        guard fields.count >= 2, let kibibytes = UInt64(fields[1]) else { continue }
        if fields[0] == "MemTotal:" { stats.memoryTotalBytes = kibibytes << 10 }
        if fields[0] == "MemAvailable:" { stats.memoryAvailableBytes = kibibytes << 10 }
    }
    readProcessors(into: &stats)
    var disk = statvfs()
    if statvfs("/", &disk) == 0 {
        let unit = UInt64(disk.f_frsize)
        stats.diskTotalBytes = UInt64(disk.f_blocks) * unit
        stats.diskUsedBytes = UInt64(disk.f_blocks - disk.f_bfree) * unit
    }
    stats.processes = UInt32(
        clamping: entries(of: "/proc").count { $0.utf8.allSatisfy { $0 >= 48 && $0 <= 57 } }
    )
    return stats
}

private func readProcessors(into stats: inout GuestStats) {
    guard let line = (text(of: "/proc/stat") ?? "").split(separator: "\n").first else { return }
    // user nice system idle iowait irq softirq steal; guest time is inside user already.
    let ticks = line.split(separator: " ").dropFirst().prefix(8).map { UInt64($0) ?? 0 }
    guard ticks.count >= 5 else { return }
    stats.cpuTotalTicks = ticks.reduce(0, &+)
    stats.cpuBusyTicks = stats.cpuTotalTicks &- ticks[3] &- ticks[4]
}

/// What listens here, sorted: TCP in state LISTEN and unconnected UDP.
func listeningPorts() -> [ListeningPort] {
    var ports: Set<ListeningPort> = []
    let tables: [(String, ListeningPort.Transport, Substring)] = [
        ("/proc/net/tcp", .tcp, "0A"), ("/proc/net/tcp6", .tcp, "0A"),
        ("/proc/net/udp", .udp, "07"), ("/proc/net/udp6", .udp, "07"),
    ]
    for (path, transport, state) in tables {
        ports.formUnion(parsePorts(text(of: path, limit: 4 << 20) ?? "", transport, state))
    }
    return Array(ports.sorted().prefix(WireLimits.entries))
}

/// Reads one table of /proc/net: `sl local_address rem_address st …`, addresses as hexadecimal
/// words in host order.
func parsePorts(
    _ table: String,
    _ transport: ListeningPort.Transport,
    _ state: Substring
) -> [ListeningPort] {
    table.split(separator: "\n").dropFirst().compactMap { line in
        let fields = line.split(separator: " ", maxSplits: 4)
        guard fields.count >= 4, fields[3] == state else { return nil }
        let local = fields[1].split(separator: ":")
        guard local.count == 2, let port = UInt16(local[1], radix: 16), port > 0,
            let address = parseAddress(local[0])
        else { return nil }
        return ListeningPort(transport: transport, port: port, address: address)
    }
}

private func parseAddress(_ digits: Substring) -> [UInt8]? {
    guard digits.utf8.count == 8 || digits.utf8.count == 32 else { return nil }
    var bytes: [UInt8] = []
    var rest = digits
    while !rest.isEmpty {
        guard let word = UInt32(rest.prefix(8), radix: 16) else { return nil }
        withUnsafeBytes(of: word) { bytes.append(contentsOf: $0) }
        rest = rest.dropFirst(8)
    }
    return bytes
}
