internal import Glibc
internal import RoostDriver
internal import RoostLinux
package import RoostModel

/// The oldest QEMU that is known to work, major and minor.
private let oldestQEMU = (major: 7, minor: 2)

extension QEMUDriver {
    package func preflight() async -> [Fault] {
        var faults: [Fault] = []
        do throws(Fault) {
            _ = try await checkedEmulator()
        } catch {
            faults.append(error)
        }
        for (path, least, reason) in [
            (settings.memoryDirectory, ByteCount.mebibytes(128), Reason.memoryFull),
            (settings.stateDirectory, ByteCount.mebibytes(64), Reason.diskFull),
        ] {
            do throws(Fault) {
                let free = try await onItsOwnThread { () throws(Fault) in
                    try HostFacts.free(existingAncestor(of: path))
                }
                guard free < least else { continue }
                faults.append(
                    Fault(
                        reason,
                        "'\(path)' has \(free.mebibytes) MiB left; "
                            + "\(least.mebibytes) are the least",
                        metadata: ["path": path]
                    )
                )
            } catch {
                faults.append(error)
            }
        }
        return faults
    }

    /// The path of a QEMU that can be used. Throws ``Reason/vmmMissing`` when there is none or it is
    /// too old.
    func checkedEmulator() async throws(Fault) -> String {
        guard let path = emulatorPath() else {
            throw Fault(
                .vmmMissing,
                "no qemu-system-x86_64 in '\(settings.searchPath)'",
                metadata: ["path": settings.searchPath]
            )
        }
        let version = try await probe.version(of: path)
        guard let numbers = versionNumbers(version) else {
            throw Fault(
                .vmmMissing,
                "'\(path)' does not say its version: '\(shown(version))'",
                metadata: ["path": path]
            )
        }
        guard numbers >= oldestQEMU else {
            throw Fault(
                .vmmMissing,
                "'\(path)' is QEMU \(numbers.major).\(numbers.minor); 7.2 or newer is needed",
                metadata: ["path": path]
            )
        }
        return path
    }
}

/// `path`, or its nearest parent that exists.
private func existingAncestor(of path: String) -> String {
    var path = path
    while path != "/", path != ".", access(path, F_OK) != 0 {
        path = DurableFile.directory(of: path)
    }
    return path
}

/// The numbers in `QEMU emulator version 7.2.22 (Debian …)`.
func versionNumbers(_ text: String) -> (major: Int, minor: Int)? {
    let words = text.split(whereSeparator: { $0 == " " || $0 == "\n" })
    guard let mark = words.firstIndex(of: "version"), words.indices.contains(mark + 1) else {
        return nil
    }
    let parts = words[mark + 1].split(separator: ".").map { Int($0.prefix { $0.isNumber }) }
    guard parts.count >= 2, let major = parts[0], let minor = parts[1] else { return nil }
    return (major, minor)
}
