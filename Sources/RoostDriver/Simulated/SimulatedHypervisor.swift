package import RoostModel
import Synchronization

/// The machines of one simulated host. It outlives every ``SimulatedDriver`` on it, as QEMU's
/// processes outlive a daemon.
///
/// Nothing here stops two machines for one VM: not starting a second is the driver's duty, and a
/// simulation looks whether it was kept.
package final class SimulatedHypervisor: Sendable {
    /// One simulated VMM.
    package struct Machine: Sendable, Hashable {
        package internal(set) var pid: Int32
        package var launch: VMLaunch
        package internal(set) var isPaused: Bool
        /// Whether its CPUs ever ran. One that was loaded from a saved machine and did not is half
        /// of a start, which the next driver ends.
        var hasRun: Bool
        /// Whether it went on from memory that belongs to its disk, and was used up by that.
        package let goesOnInPlace: Bool
        /// The driver that started it.
        var parent: Int
    }

    /// Decides how a machine behaves, at each start.
    package typealias Behaving = @Sendable (VMLaunch) -> MachineBehaviour
    /// Runs work after a while, in no task of any daemon. Only called with more than zero.
    package typealias Later = @Sendable (Duration, @escaping @Sendable () -> Void) -> Void
    /// Takes a line that a machine says on its console.
    package typealias Console = @Sendable (VMID, String) -> Void
    /// Hears that the folder of a saved machine has come to be, or is gone.
    package typealias Folders = @Sendable (_ path: String, _ exists: Bool) -> Void

    private struct Waiter {
        let pid: Int32
        let continuation: CheckedContinuation<Void, Never>
    }

    private struct State {
        /// In the order of their pids.
        var machines: [Machine] = []
        var behaviours: [Int32: MachineBehaviour] = [:]
        var nextPid: Int32 = 1000
        var nextDriver = 0
        var exits: [Int32: VMMExit.Cause] = [:]
        /// What ended, the oldest first, at most twice ``SimulatedHypervisor/memory`` of them.
        var ended: [(pid: Int32, id: VMID)] = []
        /// The pid that a VM had last.
        var latest: [VMID: Machine] = [:]
        /// Which process went on for another.
        var successors: [Int32: Int32] = [:]
        var nextTicket = 0
        var waiters: [Int: Waiter] = [:]

        /// Keeps how the machine `pid` ended, and forgets what ended long ago.
        mutating func note(_ cause: VMMExit.Cause, of pid: Int32, _ id: VMID) {
            exits[pid] = cause
            ended.append((pid, id))
            guard ended.count > 2 * SimulatedHypervisor.memory else { return }
            for old in ended.prefix(SimulatedHypervisor.memory) {
                exits[old.pid] = nil
                if latest[old.id]?.pid == old.pid { latest[old.id] = nil }
            }
            ended.removeFirst(SimulatedHypervisor.memory)
        }

        /// The process that is `pid`'s machine now.
        func current(_ pid: Int32) -> Int32 {
            var pid = pid
            while let next = successors[pid] { pid = next }
            return pid
        }
    }

    /// How many ends are remembered, at least; a host forgets those who ended as well.
    private static let memory = 512

    private let state = Mutex(State())
    let saves = Mutex(SimulatedSaves())
    let behaving: Behaving
    private let later: Later
    private let console: Console
    let folders: Folders

    /// An empty host. By default machines start at once, obey, and run until they are told to stop;
    /// `later` is needed only for behaviours that take time by themselves.
    package init(
        behaving: @escaping Behaving = { _ in MachineBehaviour() },
        later: @escaping Later = { _, work in work() },
        console: @escaping Console = { _, _ in },
        folders: @escaping Folders = { _, _ in }
    ) {
        self.behaving = behaving
        self.later = later
        self.console = console
        self.folders = folders
    }

    /// Every machine there is, by pid.
    package var machines: [Machine] { state.withLock { $0.machines } }

    /// Ends the machine `pid`; fine when it has ended. Everybody who waits for it goes on.
    package func end(_ pid: Int32, _ cause: VMMExit.Cause) {
        let waiters = state.withLock { state -> [Waiter] in
            let pid = state.current(pid)
            guard let index = state.machines.firstIndex(where: { $0.pid == pid }) else { return [] }
            let machine = state.machines.remove(at: index)
            state.behaviours[pid] = nil
            saves.withLock { $0.guests[pid] = nil }
            state.note(cause, of: pid, machine.launch.id)
            let tickets = state.waiters.filter { $0.value.pid == pid }.keys.sorted()
            return tickets.compactMap { state.waiters.removeValue(forKey: $0) }
        }
        for waiter in waiters { waiter.continuation.resume() }
    }

    /// Runs a machine that no driver of now started, as one that a former daemon left.
    package func place(_ launch: VMLaunch) {
        _ = spawn(launch, MachineBehaviour(), by: 0)
    }

    func newDriver() -> Int {
        let (driver, halves) = state.withLock { state in
            state.nextDriver += 1
            return (state.nextDriver, state.machines.filter { !$0.hasRun }.map(\.pid))
        }
        // Whoever ordered the start repeats it.
        for pid in halves { end(pid, .killed(signal: 9)) }
        return driver
    }

    func machine(of id: VMID) -> Machine? {
        state.withLock { $0.machines.last { $0.launch.id == id } }
    }

    /// Makes a machine; one that was loaded stands still, and never ran.
    func spawn(
        _ launch: VMLaunch,
        _ behaviour: MachineBehaviour,
        by driver: Int,
        loaded: SaveOrder? = nil
    ) -> Machine {
        let machine = state.withLock { state in
            let machine = Machine(
                pid: state.nextPid,
                launch: launch,
                isPaused: loaded != nil,
                hasRun: loaded == nil,
                goesOnInPlace: loaded?.afterwards == .endsInPlace,
                parent: driver
            )
            state.nextPid += 1
            state.machines.append(machine)
            state.behaviours[machine.pid] = behaviour
            state.latest[launch.id] = machine
            return machine
        }
        if loaded == nil {
            saves.withLock { saves in
                saves.counts[launch.id] = -1
                saves.guests[machine.pid] = SimulatedGuest(identity: launch.id)
            }
        }
        console(launch.id, "simulated machine \(launch.name) starts, pid \(machine.pid)")
        if let delay = behaviour.diesAfter {
            after(delay) { self.end(machine.pid, .killed(signal: 11)) }
        }
        if let delay = behaviour.powersOffAfter {
            after(delay) { self.powerOff(machine) }
        }
        return machine
    }

    /// Lets another process go on for the machine `pid`, in one step; whoever waits for that waits for
    /// the new one. Returns whether there was such a machine.
    ///
    /// It is a machine of another launch then, where there is one.
    func succeed(
        _ pid: Int32,
        by driver: Int,
        isPaused: Bool,
        as launch: VMLaunch? = nil
    ) -> Bool {
        let next = state.withLock { state -> Int32? in
            guard let index = state.machines.firstIndex(where: { $0.pid == pid }) else {
                return nil
            }
            let next = state.nextPid
            state.nextPid += 1
            var machine = state.machines.remove(at: index)
            machine.pid = next
            machine.parent = driver
            machine.isPaused = isPaused
            if let launch { machine.launch = launch }
            state.machines.append(machine)
            state.behaviours[next] = state.behaviours.removeValue(forKey: pid)
            state.successors[pid] = next
            state.latest[machine.launch.id] = machine
            for (ticket, waiter) in state.waiters where waiter.pid == pid {
                state.waiters[ticket] = Waiter(pid: next, continuation: waiter.continuation)
            }
            return next
        }
        guard let next else { return false }
        saves.withLock { saves in
            saves.memories[next] = saves.memories.removeValue(forKey: pid)
            saves.guests[next] = saves.guests.removeValue(forKey: pid)
        }
        return true
    }

    /// Presses the power button of the machine of `id`; some guests ignore it.
    package func pressPowerButton(of id: VMID) {
        let pressed = state.withLock { state -> (Machine, Duration)? in
            guard let machine = state.machines.last(where: { $0.launch.id == id }),
                !machine.isPaused,
                let delay = state.behaviours[machine.pid]?.powersOffWithin
            else { return nil }
            return (machine, delay)
        }
        guard let (machine, delay) = pressed else { return }
        after(delay) { self.powerOff(machine) }
    }

    /// How long the guest of `id` takes from its start to its agent's first answer; `nil` when there is
    /// no machine, or it never answers.
    package func answersWithin(_ id: VMID) -> Duration? {
        state.withLock { state in
            state.machines.last { $0.launch.id == id }
                .flatMap { state.behaviours[$0.pid]?.answersWithin }
        }
    }

    /// Marks the machine of `id` as one that has run. Returns whether there is one.
    func setRan(_ id: VMID) -> Bool {
        state.withLock { state in
            guard let index = state.machines.lastIndex(where: { $0.launch.id == id }) else {
                return false
            }
            state.machines[index].hasRun = true
            return true
        }
    }

    func setPaused(_ id: VMID, _ isPaused: Bool) -> Bool {
        state.withLock { state in
            guard let index = state.machines.lastIndex(where: { $0.launch.id == id }) else {
                return false
            }
            state.machines[index].isPaused = isPaused
            return true
        }
    }

    /// Waits for the machine that `id` has now, and says how it ended as `driver` can know it.
    func exit(of id: VMID, seenBy driver: Int) async -> VMMExit {
        guard let machine = state.withLock({ $0.latest[id] }) else {
            return VMMExit(cause: .unknown, lastWords: "")
        }
        let wasRunning = state.withLock { $0.exits[$0.current(machine.pid)] == nil }
        await wait(for: machine.pid)
        let end = state.withLock { state in
            state.exits[state.current(machine.pid)]
        }
        guard let cause = end else { return VMMExit(cause: .unknown, lastWords: "") }
        // A daemon that found the machine running hears its guest power off, but is not its parent.
        let knows = machine.parent == driver || (wasRunning && cause == .guestPoweredOff)
        return VMMExit(cause: knows ? cause : .unknown, lastWords: "")
    }

    private func powerOff(_ machine: Machine) {
        let isUp = state.withLock { state in
            let pid = state.current(machine.pid)
            return state.machines.contains { $0.pid == pid && !$0.isPaused }
        }
        guard isUp else { return }
        console(machine.launch.id, "simulated machine \(machine.launch.name) powers off")
        end(machine.pid, .guestPoweredOff)
    }

    private func after(_ delay: Duration, _ work: @escaping @Sendable () -> Void) {
        if delay > .zero { later(delay, work) } else { work() }
    }

    /// Waits until `pid` has ended or this task is cancelled.
    private func wait(for pid: Int32) async {
        let ticket = state.withLock { state in
            state.nextTicket += 1
            return state.nextTicket
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    let pid = state.current(pid)
                    if state.behaviours[pid] == nil || Task.isCancelled { return true }
                    state.waiters[ticket] = Waiter(pid: pid, continuation: continuation)
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: ticket) }?.continuation.resume()
        }
    }
}

/// How one simulated machine behaves. The default obeys at once and never fails.
package struct MachineBehaviour: Sendable {
    /// From the call until its CPUs run; half of it before there is a process.
    package var startsWithin: Duration
    /// Thrown by the start, once the process is there and taken away again.
    package var startFault: Fault?
    /// It dies of a signal this long after there is a process.
    package var diesAfter: Duration?
    /// Its guest powers off by itself this long after there is a process.
    package var powersOffAfter: Duration?
    /// How long its guest takes to power off when asked; `nil` when it ignores the button.
    package var powersOffWithin: Duration?
    /// How long its guest takes from its start to its agent's first answer; `nil` when it never does.
    package var answersWithin: Duration?

    package init(
        startsWithin: Duration = .zero,
        startFault: Fault? = nil,
        diesAfter: Duration? = nil,
        powersOffAfter: Duration? = nil,
        powersOffWithin: Duration? = .zero,
        answersWithin: Duration? = .zero
    ) {
        self.startsWithin = startsWithin
        self.startFault = startFault
        self.diesAfter = diesAfter
        self.powersOffAfter = powersOffAfter
        self.powersOffWithin = powersOffWithin
        self.answersWithin = answersWithin
    }
}
