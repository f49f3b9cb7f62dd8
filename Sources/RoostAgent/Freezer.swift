import Glibc

/// Makes every process of the guest but the agent stand still, by the kernel's cgroup freezer:
/// unlike with signals, no process can see that it stood still, nor can any escape.
///
///     /sys/fs/cgroup/roost.agent   the agent alone
///     /sys/fs/cgroup/roost.guest   what lay in the root group, and what the agent has started
///     /sys/fs/cgroup/…             what the image's own init made
///
/// What is frozen is part of the memory: a copy of the machine wakes up frozen, and goes on when its
/// agent has renewed it.
final class Freezer {
    /// How long the kernel may take until all stand still, in milliseconds.
    static let patience: UInt64 = 5_000

    /// How often is looked at once whether all stand still, before a timer is set.
    private static let looks = 20

    private let root: String
    /// A group that this agent froze, and its open `cgroup.freeze`.
    private struct Group {
        let path: String
        let state: Int32
    }

    private var held: [Group] = []
    /// The kernel's own threads among what the root group had when it was last looked at: telling them from
    /// processes is most of what an order to freeze costs.
    private var kernelThreads: Set<Int32> = []
    /// Which order to freeze is the last one; none is waited for once another order has come.
    private var round = 0
    /// Whether something stands still by this agent's order.
    var isHolding: Bool { !held.isEmpty }

    /// - Parameter root: where the groups are mounted.
    init(root: String = "/sys/fs/cgroup") { self.root = root }

    /// Freezes, and calls `done` once all stand still, or with what is wrong; then none is frozen. It is
    /// not called when ``thaw()``, ``forget()`` or another order comes first.
    ///
    /// - Throws: ``SystemFailure``, `EOPNOTSUPP` where the kernel has no freezer; nothing is frozen.
    func freeze(
        on loop: EventLoop,
        done: @escaping (SystemFailure?) -> Void
    ) throws(SystemFailure) {
        forget()
        do throws(SystemFailure) {
            // All that takes long first: until the last line everything goes on.
            try gather()
            for group in entries(of: root).sorted() where group != "roost.agent" {
                let path = "\(root)/\(group)"
                // One that its owner froze stays his. Files are no groups.
                guard !held.contains(where: { $0.path == path }),
                    let state = text(of: "\(path)/cgroup.freeze"), state.hasPrefix("0")
                else { continue }
                try add(path)
            }
            rehearse()
            for group in held { try freeze(group) }
        } catch {
            thaw()
            throw error
        }
        let deadline = bootNanoseconds() + Self.patience * 1_000_000
        for _ in 0..<Self.looks {
            sched_yield()
            if moving == nil { return done(nil) }
        }
        wait(on: loop, until: deadline, in: round, done: done)
    }

    private func add(_ path: String) throws(SystemFailure) {
        let file = open("\(path)/cgroup.freeze", O_WRONLY | O_CLOEXEC)
        // A group that has just gone has nobody in it.
        if file < 0, errno == ENOENT { return }
        held.append(Group(path: path, state: try check(file, "open", path)))
    }

    private func freeze(_ group: Group) throws(SystemFailure) {
        do throws(SystemFailure) {
            try writeAll(group.state, [UInt8(ascii: "1")], group.path)
        } catch  where error.errno == ENODEV {}
    }

    /// Freezes a group that nobody is in, and thaws it again: an emulated processor translates what it does for
    /// the first time, and does so better while everything goes on.
    private func rehearse() {
        let path = "\(root)/roost.rehearsal"
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else { return }
        defer { rmdir(path) }
        let file = open("\(path)/cgroup.freeze", O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        defer { close(file) }
        for digit in [UInt8(ascii: "1"), UInt8(ascii: "0")] {
            try? writeAll(file, [digit], path)
            _ = text(of: "\(path)/cgroup.events")
        }
    }

    /// Nobody waits any more until all stand still; what is held stays so.
    func forget() { round += 1 }

    /// Lets everything go on that ``freeze(on:done:)`` holds.
    func thaw() {
        forget()
        for group in held {
            do throws(SystemFailure) {
                try writeAll(group.state, [UInt8(ascii: "0")], group.path)
            } catch  where error.errno == ENODEV {
                // The group is gone, and all that was in it.
            } catch {
                say(error.text)
            }
            close(group.state)
        }
        held = []
    }

    /// The first half of ``thaw()``, which is to follow: everything goes on, by nothing but one call to
    /// the kernel for each group.
    func release() {
        var zero = UInt8(ascii: "0")
        for group in held { write(group.state, &zero, 1) }
    }

    /// A group in which somebody does not stand still yet.
    private var moving: Group? {
        held.first { group in
            let events = text(of: "\(group.path)/cgroup.events") ?? ""
            // A group that is gone has nobody who moves.
            return !events.isEmpty && !events.contains("frozen 1")
        }
    }

    private func wait(
        on loop: EventLoop,
        until deadline: UInt64,
        in round: Int,
        done: @escaping (SystemFailure?) -> Void
    ) {
        guard round == self.round else { return }
        guard let moving else { return done(nil) }
        guard bootNanoseconds() < deadline else {
            thaw()
            return done(SystemFailure(call: "freeze", subject: moving.path, errno: ETIMEDOUT))
        }
        _ = loop.after(1) { [weak self] in
            self?.wait(on: loop, until: deadline, in: round, done: done)
        }
    }

    /// Brings every process that could not be frozen where it is to a group of its own.
    private func gather() throws(SystemFailure) {
        guard access("\(root)/cgroup.procs", W_OK) == 0 else {
            throw SystemFailure(call: "freeze", subject: root, errno: EOPNOTSUPP)
        }
        let (agent, guest) = ("\(root)/roost.agent", "\(root)/roost.guest")
        for path in [agent, guest] where mkdir(path, 0o755) != 0 && errno != EEXIST {
            throw SystemFailure(call: "mkdir", subject: path, errno: errno)
        }
        guard access("\(guest)/cgroup.freeze", W_OK) == 0 else {
            throw SystemFailure(call: "freeze", subject: guest, errno: EOPNOTSUPP)
        }
        try put("\(getpid())", at: "\(agent)/cgroup.procs")
        // What is moved may have had a child meanwhile; one pass finds nobody left.
        for _ in 0..<64 {
            let found = strangersInRoot() + strangers(among: pids(in: agent))
            if found.isEmpty { return }
            for pid in found {
                do throws(SystemFailure) {
                    try put("\(pid)", at: "\(guest)/cgroup.procs")
                } catch  where error.errno == ESRCH {
                    // It has ended.
                }
            }
        }
        throw SystemFailure(call: "freeze", subject: root, errno: EAGAIN)
    }

    /// As ``strangers(among:)``, of the root group.
    private func strangersInRoot() -> [Int32] {
        let pids = Set(pids(in: root))
        // A pid may be another's by now, and only a process has arguments: that is cheap to see.
        let known = kernelThreads.intersection(pids)
            .filter { text(of: "/proc/\($0)/cmdline") == "" }
        let others = pids.subtracting(known)
        kernelThreads = known.union(others.filter(isKernelThread))
        return strangers(among: others.subtracting(kernelThreads).sorted())
    }

    private func pids(in group: String) -> [Int32] {
        (text(of: "\(group)/cgroup.procs") ?? "").split(separator: "\n").compactMap { Int32($0) }
    }

    /// Those that are neither the agent, nor the kernel's own threads, nor dead.
    private func strangers(among pids: [Int32]) -> [Int32] {
        pids.filter { $0 != getpid() && isUserProcess($0) }
    }
}

/// Whether `pid` is a thread of the kernel: a child of 2, or 2 itself.
func isKernelThread(_ pid: Int32) -> Bool {
    pid == 2 || stateAndParent(pid)?.parent == "2"
}

/// Whether `pid` lives and is no thread of the kernel.
func isUserProcess(_ pid: Int32) -> Bool {
    guard pid > 0, pid != 2, let (state, parent) = stateAndParent(pid) else { return false }
    return state != "Z" && state != "X" && parent != "2"
}

/// The third and the fourth field of /proc/PID/stat; `nil` when it is gone.
private func stateAndParent(_ pid: Int32) -> (state: Substring, parent: Substring)? {
    guard let stat = text(of: "/proc/\(pid)/stat"), let end = stat.lastIndex(of: ")")
    else { return nil }
    let fields = stat[stat.index(after: end)...].split(separator: " ", maxSplits: 2)
    return fields.count > 1 ? (fields[0], fields[1]) : nil
}
