internal import CRoostLinux
internal import Glibc
package import RoostModel

/// What this host has. Every call looks anew and blocks shortly.
package enum HostFacts {
    /// Processors that this process may use.
    package static var cores: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

    /// All memory, and what could be had now without swapping.
    package static func memory() -> (total: ByteCount, available: ByteCount) {
        let text = String(decoding: readProc("/proc/meminfo") ?? [], as: UTF8.self)
        func kibibytes(_ name: String) -> UInt64 {
            for line in text.split(separator: "\n") where line.hasPrefix(name + ":") {
                return UInt64(line.split(separator: " ").dropFirst().first ?? "") ?? 0
            }
            return 0
        }
        return (
            ByteCount(bytes: kibibytes("MemTotal") << 10),
            ByteCount(bytes: kibibytes("MemAvailable") << 10)
        )
    }

    /// Bytes that an ordinary user may still write under `path`. Throws ``Reason/ioFailed``.
    package static func free(_ path: String) throws(Fault) -> ByteCount {
        var state = statvfs()
        guard statvfs(path, &state) == 0 else { throw systemFault("look at", path, errno) }
        return ByteCount(bytes: UInt64(state.f_bavail) * UInt64(state.f_frsize))
    }

    /// Whether `path` is on tmpfs.
    package static func isMemory(_ path: String) -> Bool {
        roost_host_is_tmpfs(path) == 1
    }

    /// Where guest memory goes: `/dev/shm` when it is a writable tmpfs, else the user's runtime
    /// directory, else `nil`.
    package static func memoryDirectory(runtimeDirectory: String?) -> String? {
        for path in ["/dev/shm", runtimeDirectory].compactMap(\.self)
        where isMemory(path) && access(path, W_OK | X_OK) == 0 {
            return path
        }
        return nil
    }

    /// Makes freed blocks over 1 MiB go back to the kernel, and keeps the number of heaps to that of the
    /// cores, from two to eight: of threads that have none yet. Once, at the start of a daemon.
    package static func boundHeap() {
        let cores = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        roost_host_bound_heap(Int32(min(max(cores, 2), 8)))
    }

    /// The soft and hard limit of open files.
    package static func openFiles() -> (soft: UInt64, hard: UInt64) {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return (UInt64(limit.rlim_cur), UInt64(limit.rlim_max))
    }

    /// As `uname -r` says it.
    package static var kernelRelease: String {
        line("/proc/sys/kernel/osrelease")
    }

    /// Changes with every boot of the host.
    package static var bootID: String {
        line("/proc/sys/kernel/random/boot_id")
    }

    private static func line(_ path: String) -> String {
        let bytes = readProc(path) ?? []
        return String(decoding: bytes.prefix { $0 != 10 }, as: UTF8.self)
    }
}
