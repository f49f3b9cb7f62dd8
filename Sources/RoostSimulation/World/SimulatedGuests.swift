import RoostDriver
import RoostModel
import RoostNode

/// A node's way to the agents in its guests: takes its time, breaks before or after they did what they
/// were asked, and finds nobody where a machine stands still or is still booting.
struct SimulatedGuests: GuestLinks {
    let world: World
    let host: NodeHost

    private static let greeting = Duration.seconds(20)

    func awaitReady(_ vm: VMID) async throws(Fault) {
        while host.hypervisor.runningGuest(of: vm)?.isAwake != true {
            let pid = host.hypervisor.pid(of: vm)
            let isRunning = host.hypervisor.runningGuest(of: vm) != nil
            let boot = isRunning ? host.hypervisor.answersWithin(vm) : nil
            // Who never answers is waited for by a deadline.
            try await sleep(boot ?? .seconds(5), vm)
            guard boot != nil, host.hypervisor.pid(of: vm) == pid else { continue }
            _ = host.hypervisor.tell(vm) { $0.isAwake = true }
        }
        try await ask(vm, "ready") { _ in }
    }

    func shutDown(_ vm: VMID) async throws(Fault) {
        try await ask(vm, "shut-down") { _ in }
        host.hypervisor.pressPowerButton(of: vm)
    }

    func settle(_ vm: VMID) async throws(Fault) {
        try await ask(vm, "settle") { $0.hold() }
    }

    func renew(_ vm: VMID, _ identity: GuestIdentity) async throws(Fault) {
        if world.fault(.guest, world.profile.guestFailures / 2) {
            world.mark("world.hook-refused")
            throw Fault(.hookFailed, "a hook of \(vm.short) refused", metadata: ["vm": vm.short])
        }
        try await ask(vm, "renew") { $0.become(vm) }
    }

    func freshen(_ vm: VMID, entropy: [UInt8]) async throws(Fault) {
        try await ask(vm, "freshen") { $0.freshen() }
    }

    func readers(of vm: VMID) async -> Int { 0 }

    func stepClock(_ vm: VMID) async { await world.pause(upTo: .milliseconds(2)) }

    /// A daemon that dies soon afterwards leaves the guest standing still to the next one.
    func hold(_ vm: VMID) async throws(Fault) {
        try await ask(vm, "hold") { $0.hold() }
        world.crashAboutNow(host.id, within: .milliseconds(300))
    }

    func letGo(_ vm: VMID) async throws(Fault) { try await ask(vm, "let-go") { $0.letGo() } }

    func drop(_ vm: VMID) async {}

    /// Asks the agent of `vm` for something, which `work` does to the guest.
    private func ask(
        _ vm: VMID,
        _ what: String,
        _ work: (inout SimulatedGuest) -> Void
    ) async throws(Fault) {
        try await sleep(world.latency(upTo: .milliseconds(20)), vm)
        guard host.hypervisor.runningGuest(of: vm)?.isAwake == true else {
            try await sleep(Self.greeting, vm)
            throw unreachable(vm, what)
        }
        var breaks = world.strike(.guest, world.profile.guestFailures)
        let isBefore = breaks?.hits(5_000) == true
        if isBefore {
            _ = host.hypervisor.tell(vm) { $0.refusals += 1 }
        } else {
            guard host.hypervisor.tell(vm, work) else { throw unreachable(vm, what) }
            world.invariants.look()
        }
        guard breaks != nil else { return }
        world.scheduler.note("  the guest of \(vm.short) is lost at \(what)")
        world.mark("world.guest-lost-\(isBefore ? "before" : "after")-\(what)")
        throw unreachable(vm, what)
    }

    private func sleep(_ time: Duration, _ vm: VMID) async throws(Fault) {
        do { try await world.clock.sleep(for: max(time, .milliseconds(1))) } catch {
            throw Fault(.opCancelled, "nobody waits for the guest of \(vm.short) any more")
        }
    }

    private func unreachable(_ vm: VMID, _ what: String) -> Fault {
        Fault(
            .guestUnreachable,
            "the agent of \(vm.short) did not answer to \(what)",
            metadata: ["vm": vm.short]
        )
    }
}
