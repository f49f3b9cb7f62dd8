internal import Glibc
package import RoostModel

/// Which process, for good: a pid together with the time it started, so that another process that
/// later gets the same pid is not taken for it.
package struct ProcessIdentity: Sendable, Hashable, Codable {
    package var pid: Int32
    /// Clock ticks since the host booted (field 22 of /proc/PID/stat).
    package var startTicks: UInt64

    package init(pid: Int32, startTicks: UInt64) {
        self.pid = pid
        self.startTicks = startTicks
    }

    /// The process that has `pid` now; `nil` when there is none or it is a zombie.
    package init?(pid: Int32) {
        guard let text = readProc("/proc/\(pid)/stat"), let fields = statFields(text),
            fields.count > 19, fields[0] != "Z", fields[0] != "X", let ticks = UInt64(fields[19])
        else { return nil }
        self.init(pid: pid, startTicks: ticks)
    }

    /// Whether this very process is alive.
    package var isAlive: Bool { ProcessIdentity(pid: pid) == self }
}

/// What a process is and uses, as /proc shows it.
package struct ProcessFacts: Sendable {
    package var identity: ProcessIdentity
    package var arguments: [String]
    /// `NAME=value`, as it was started.
    package var environment: [String]
    /// Where its working directory is now; follows renames.
    package var workingDirectory: String
}

/// Reads /proc. All calls block shortly.
package enum ProcessTable {
    /// The processes whose command line holds `marker` as a part of an argument, with their facts.
    /// Processes of other users that may not be looked at are left out.
    package static func processes(withArgumentContaining marker: String) -> [ProcessFacts] {
        let needle = Array(marker.utf8)
        return pids().compactMap { pid in
            guard let line = readProc("/proc/\(pid)/cmdline"), contains(line, needle) else {
                return nil
            }
            return facts(pid)
        }
    }

    /// What `pid` is; `nil` when it is gone or may not be looked at.
    package static func facts(_ pid: Int32) -> ProcessFacts? {
        guard let identity = ProcessIdentity(pid: pid),
            let arguments = readProc("/proc/\(pid)/cmdline"),
            let directory = readLink("/proc/\(pid)/cwd")
        else { return nil }
        return ProcessFacts(
            identity: identity,
            arguments: strings(arguments),
            environment: strings(readProc("/proc/\(pid)/environ") ?? []),
            workingDirectory: directory
        )
    }

    /// Whether `pid` was sent SIGKILL, or is a zombie: no line of it runs any more. `false` for one that is
    /// gone. Source: proc(5), `ShdPnd`, which has the signal until the process is reaped.
    package static func isBeingKilled(_ pid: Int32) -> Bool {
        guard let status = readProc("/proc/\(pid)/status") else { return false }
        return isKilled(status: String(decoding: status, as: UTF8.self))
    }

    /// As ``isBeingKilled(_:)``, by the text of /proc/PID/status.
    static func isKilled(status: String) -> Bool {
        let killed: UInt64 = 1 << (UInt64(SIGKILL) - 1)
        return status.split(separator: "\n").contains { line in
            let words = line.split(whereSeparator: { $0 == ":" || $0 == "\t" || $0 == " " })
            guard words.count > 1 else { return false }
            switch words[0] {
            case "State": return words[1] == "Z" || words[1] == "X"
            case "ShdPnd": return (UInt64(words[1], radix: 16) ?? 0) & killed != 0
            default: return false
            }
        }
    }

    /// CPU time used by `pid` and its resident bytes; `nil` when it is gone.
    package static func usage(_ pid: Int32) -> (cpu: Duration, resident: ByteCount)? {
        guard let text = readProc("/proc/\(pid)/stat"), let fields = statFields(text),
            fields.count > 21, let user = Int64(fields[11]), let system = Int64(fields[12]),
            let pages = UInt64(fields[21])
        else { return nil }
        let perSecond = Int64(max(sysconf(Int32(_SC_CLK_TCK)), 1))
        let milliseconds = (user + system) * 1000 / perSecond
        let resident = pages * UInt64(max(sysconf(Int32(_SC_PAGESIZE)), 1))
        return (.milliseconds(milliseconds), ByteCount(bytes: resident))
    }

    private static func pids() -> [Int32] {
        guard let folder = opendir("/proc") else { return [] }
        defer { closedir(folder) }
        var found: [Int32] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let pid = Int32(name) { found.append(pid) }
        }
        return found.sorted()
    }

    private static func strings(_ bytes: [UInt8]) -> [String] {
        bytes.split(separator: 0, omittingEmptySubsequences: false).dropLast().map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    private static func contains(_ bytes: [UInt8], _ needle: [UInt8]) -> Bool {
        guard let first = needle.first, bytes.count >= needle.count else { return false }
        return (0...(bytes.count - needle.count)).contains { at in
            bytes[at] == first && bytes[at..<(at + needle.count)].elementsEqual(needle)
        }
    }
}

/// The fields of a stat line from the third (state) on. The second is in parentheses and may itself
/// hold spaces and parentheses, so the last `)` ends it.
func statFields(_ line: [UInt8]) -> [Substring]? {
    let text = String(decoding: line, as: UTF8.self)
    guard let close = text.lastIndex(of: ")") else { return nil }
    return text[text.index(after: close)...].split(whereSeparator: { $0 == " " || $0 == "\n" })
}

/// A whole file of /proc, at most 1 MiB.
func readProc(_ path: String) -> [UInt8]? {
    let number = open(path, O_RDONLY | O_CLOEXEC)
    guard number >= 0 else { return nil }
    let file = Descriptor(number)
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 8192)
    while bytes.count < 1 << 20 {
        let count = retrying { read(file.number, &buffer, buffer.count) }
        guard count >= 0 else { return nil }
        if count == 0 { break }
        bytes += buffer[..<count]
    }
    return bytes
}

func readLink(_ path: String) -> String? {
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = readlink(path, &buffer, buffer.count)
    guard count >= 0 else { return nil }
    return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
