internal import Glibc
internal import RoostLinux

/// One way in which a VMM is kept apart from its host, and whether it holds here.
package struct Confinement: Sendable, Hashable {
    package var measure: String
    package var isApplied: Bool
    /// What is applied, or why not.
    package var detail: String
}

extension QEMUDriver {
    /// What confines a VMM on this host, and what could not be applied. In a fixed order.
    package func confinement() -> [Confinement] {
        let isRoot = geteuid() == 0
        return [
            Confinement(
                measure: "seccomp",
                isApplied: true,
                detail: "QEMU's sandbox: no obsolete calls, no new privileges, no children, "
                    + "no scheduling"
            ),
            Confinement(
                measure: "capabilities",
                isApplied: true,
                detail: isRoot
                    ? "all dropped but binding a published port below 1024"
                    : "an ordinary user has none"
            ),
            Confinement(measure: "no-new-privileges", isApplied: true, detail: "set before exec"),
            Confinement(
                measure: "own-uid",
                isApplied: false,
                detail: isRoot
                    ? "the VMM runs as root without capabilities; run roostd as its own user"
                    : "the VMM runs as the daemon's user"
            ),
            Confinement(
                measure: "cgroup-limits",
                isApplied: false,
                detail: "the VMM stays in the daemon's cgroup; memory is bounded by its memory file"
            ),
            Confinement(
                measure: "private-mounts",
                isApplied: false,
                detail: "the VMM sees the host's files that its user may read"
            ),
            Confinement(
                measure: "private-pids",
                isApplied: false,
                detail: "the VMM sees the host's processes"
            ),
            Confinement(
                measure: "host-loopback",
                isApplied: false,
                detail: "user-mode networking shows the guest the host's 127.0.0.1 as 10.0.2.2"
            ),
        ]
    }
}
