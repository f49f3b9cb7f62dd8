internal import CRoostLinux
internal import Glibc
package import RoostModel

/// A program to start: exact argv, closed environment, only the descriptors named here.
package struct ProcessPlan: Sendable {
    /// Absolute.
    package var path: String
    /// Including argv[0].
    package var arguments: [String]
    /// `NAME=value`; nothing is inherited.
    package var environment: [String]
    package var workingDirectory: String
    /// The child's 0, 1, 2, …; `nil` is /dev/null. Everything else is closed.
    package var descriptors: [Descriptor?]
    /// Gives up every capability but those numbered here; `nil` leaves them.
    package var keptCapabilities: [Int]?

    package init(
        path: String,
        arguments: [String],
        environment: [String] = [],
        workingDirectory: String = "/",
        descriptors: [Descriptor?] = [nil, nil, nil],
        keptCapabilities: [Int]? = nil
    ) {
        self.path = path
        self.arguments = arguments
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.descriptors = descriptors
        self.keptCapabilities = keptCapabilities
    }
}

/// Starts processes that outlive us: own session, default signals, umask 077, no core file, no new
/// privileges. `clone(CLONE_VM|CLONE_VFORK|CLONE_PIDFD)` in C: no Swift code runs in the child, and
/// the cost does not grow with our memory.
package enum ProcessSpawner {
    /// Starts `plan`. Blocks until the program has begun (or could not). Throws ``Reason/ioFailed``.
    package static func spawn(_ plan: ProcessPlan) throws(Fault) -> PidDescriptor {
        let folder = roost_host_open_folder(plan.workingDirectory)
        guard folder >= 0 else { throw systemFault("open", plan.workingDirectory, -folder) }
        let directory = Descriptor(folder)
        let numbers = plan.descriptors.map { $0?.number ?? -1 }
        var pidDescriptor: Int32 = -1
        var leftOut: UInt32 = 0
        let pid = withCStrings(plan.arguments) { arguments in
            withCStrings(plan.environment) { environment in
                plan.path.withCString { path in
                    numbers.withUnsafeBufferPointer { numbers in
                        var how = roost_host_spawn()
                        how.path = path
                        how.argv = arguments
                        how.envp = environment
                        how.fds = numbers.baseAddress
                        how.fd_count = Int32(numbers.count)
                        how.cwd_fd = directory.number
                        how.drop_capabilities = plan.keptCapabilities == nil ? 0 : 1
                        how.capabilities = (plan.keptCapabilities ?? []).reduce(0) {
                            $0 | 1 << UInt64($1)
                        }
                        return roost_host_spawn_process(&how, &pidDescriptor, &leftOut)
                    }
                }
            }
        }
        guard pid > 0 else { throw systemFault("start", plan.path, -pid) }
        return PidDescriptor(pid: pid, descriptor: Descriptor(pidDescriptor))
    }

    /// The absolute path of an executable: `name` itself when it holds a slash, else the first in
    /// `searchPath` (directories separated by colons). `nil` when there is none.
    package static func resolve(_ name: String, searchPath: String) -> String? {
        if name.contains("/") { return access(name, X_OK) == 0 ? name : nil }
        for folder in searchPath.split(separator: ":") where folder.hasPrefix("/") {
            let path = "\(folder)/\(name)"
            if access(path, X_OK) == 0 { return path }
        }
        return nil
    }

    private static func withCStrings(
        _ strings: [String],
        _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Int32
    ) -> Int32 {
        var pointers = strings.map { strdup($0) }
        defer { for pointer in pointers { free(pointer) } }
        guard pointers.allSatisfy({ $0 != nil }) else { return -ENOMEM }
        pointers.append(nil)
        return pointers.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return -EINVAL }
            return body(base)
        }
    }
}
