import Glibc
import RoostDriver
import RoostDriverQEMU
import RoostHost
import RoostLinux
import RoostModel

/// Looks at this host: what it can do, and what was left behind.
struct Doctor: Inspector {
    /// `nil` where no VM runs: then there are no files and no catalogue to look at either.
    let driver: (any Driver)?
    /// `nil` when VMs are simulated: then there is nothing on the host to find.
    let qemu: QEMUDriver?
    let files: (any VMFiles)?
    let catalogue: any CatalogueEditor
    let stateDirectory: String?
    let memoryDirectory: String
    /// Whether what is kept can be reached.
    let store: @Sendable () async -> Finding

    func findings() async -> [Finding] {
        var found: [Finding] = []
        if let driver { found += await findings(driver) }
        found.append(await store())
        if driver != nil { found += [await defaultImage(), await defaultKernel()] }
        if let stateDirectory {
            found.append(
                space("disk.space", "Space for disks", stateDirectory, floor: .gibibytes(2))
            )
        }
        if driver != nil {
            found.append(
                space(
                    "memory.space",
                    "Space for guest memory",
                    memoryDirectory,
                    floor: .gibibytes(1)
                )
            )
        }
        found += [openFiles(), clock()]
        if driver != nil { found += [hostLoopback(), await leftovers()] }
        return found
    }

    private func findings(_ driver: any Driver) async -> [Finding] {
        let faults = await driver.preflight()
        let title = "What the driver needs"
        let needs =
            faults.isEmpty
            ? [Finding("driver.preflight", title, .pass, "all there")]
            : faults.map { Finding("driver.preflight", title, .fail, $0.message, fix: $0.remedy) }
        return [await acceleration(driver)] + needs
    }

    func leaks() async throws(Fault) -> [Leak] {
        guard let qemu, let files else { return [] }
        let inventory = try await files.inventory()
        let owned = Set(inventory.live + inventory.trashed)
        var found: [Leak] = []
        for trace in try await qemu.leaks() where !owned.contains(trace.vm) {
            let fix = trace.kind == .process ? "kill -9 \(trace.what)" : "rm -rf '\(trace.what)'"
            found.append(
                Leak(
                    kind: trace.kind.rawValue,
                    name: trace.what,
                    vm: trace.vm,
                    detail: "belongs to a VM that has no directory",
                    fix: fix
                )
            )
        }
        for entry in inventory.strange {
            let path = "\(stateDirectory ?? "")/\(entry)"
            found.append(
                Leak(
                    kind: "directory",
                    name: path,
                    vm: nil,
                    detail: "is no VM's",
                    fix: "look at it, then rm -rf '\(path)'"
                )
            )
        }
        return found
    }

    private func acceleration(_ driver: any Driver) async -> Finding {
        let found = await driver.acceleration()
        let isFast = found.kind == "kvm"
        return Finding(
            "virtualization",
            "How guests are run",
            isFast ? .pass : .warn,
            "\(found.kind): \(found.why)",
            fix: isFast || found.kind == "simulated"
                ? "" : "use a host whose /dev/kvm really runs guests; emulation is slower and works"
        )
    }

    private func defaultImage() async -> Finding {
        do throws(Fault) {
            let entry = try await catalogue.image("")
            return Finding(
                "image.default",
                "The default image",
                .pass,
                named(entry.names, entry.digest)
            )
        } catch {
            return Finding(
                "image.default",
                "The default image",
                .fail,
                error.message,
                fix: "roost image import tiny --rootfs /bin/busybox --default"
            )
        }
    }

    private func defaultKernel() async -> Finding {
        do throws(Fault) {
            let entry = try await catalogue.kernel("")
            return Finding(
                "kernel.default",
                "The default kernel",
                .pass,
                "\(named(entry.names, entry.digest)), \(entry.release)"
            )
        } catch {
            return Finding(
                "kernel.default",
                "The default kernel",
                .fail,
                error.message,
                fix:
                    "apt-get download linux-image-cloud-amd64, then roost kernel import FILE.deb --default"
            )
        }
    }

    private func named(_ names: [String], _ digest: String) -> String {
        "\(names.first ?? "(no name)") \(digest.prefix(19))"
    }

    private func space(_ id: String, _ title: String, _ path: String, floor: ByteCount) -> Finding {
        do throws(Fault) {
            let free = try HostFacts.free(path)
            let text = "\(free.mebibytes) MiB free in \(path)"
            return free < floor
                ? Finding(id, title, .warn, text, fix: "free some: roost ls -a, roost purge --all")
                : Finding(id, title, .pass, text)
        } catch {
            return Finding(id, title, .fail, error.message, fix: "check that \(path) exists")
        }
    }

    private func openFiles() -> Finding {
        let limit = HostFacts.openFiles()
        let text = "\(limit.soft) open files (hard limit \(limit.hard))"
        return limit.soft < 1024
            ? Finding("limits.files", "Open files", .warn, text, fix: "ulimit -n 65536")
            : Finding("limits.files", "Open files", .pass, text)
    }

    private func clock() -> Finding {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        // This build is younger than 2026: a clock before that is wrong, and guests inherit it.
        let isSane = now.tv_sec > 1_767_225_600
        return isSane
            ? Finding("clock", "The clock", .pass, "\(now.tv_sec) seconds since 1970")
            : Finding(
                "clock",
                "The clock",
                .fail,
                "it is before 2026",
                fix: "set it: timedatectl set-ntp true"
            )
    }

    private func hostLoopback() -> Finding {
        Finding(
            "network.loopback",
            "What guests see of this host",
            qemu == nil ? .pass : .warn,
            qemu == nil
                ? "simulated VMs see nothing"
                : "user-mode networking shows guests the host's 127.0.0.1 as 10.0.2.2, and QEMU 7.2 "
                    + "cannot switch that off",
            fix: qemu == nil
                ? "" : "bind nothing on loopback that a guest must not reach, or use --no-net"
        )
    }

    private func leftovers() async -> Finding {
        do throws(Fault) {
            let found = try await leaks()
            return found.isEmpty
                ? Finding("leftovers", "Leftovers", .pass, "none")
                : Finding(
                    "leftovers",
                    "Leftovers",
                    .warn,
                    "\(found.count), the first: \(found[0].kind) \(found[0].name)",
                    fix: "roost doctor --leaks"
                )
        } catch {
            return Finding("leftovers", "Leftovers", .fail, error.message, fix: error.remedy)
        }
    }
}
