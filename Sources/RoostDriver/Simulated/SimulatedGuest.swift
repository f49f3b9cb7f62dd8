package import RoostModel
import Synchronization

/// What is in the memory of a simulated machine, besides how far its guest has counted.
package struct SimulatedGuest: Sendable, Hashable {
    /// The VM that it believes to be.
    package var identity: VMID
    /// Whether its agent answers.
    package var isAwake = false
    /// Whether all of its programs but the agent stand still.
    package var isHeld = false
    /// Whether it goes on from kept memory and was not told.
    package var isStale = false
    /// How often its agent refused since it was held, or went on from kept memory.
    package var refusals = 0

    init(identity: VMID) { self.identity = identity }

    /// Tells it that its memory was kept for a while, and lets it go on.
    package mutating func freshen() {
        isStale = false
        letGo()
    }

    /// Makes it the VM `id`, and lets it go on.
    package mutating func become(_ id: VMID) {
        identity = id
        freshen()
    }

    package mutating func hold() {
        if !isHeld { refusals = 0 }
        isHeld = true
    }

    package mutating func letGo() {
        isHeld = false
        refusals = 0
    }
}

extension SimulatedHypervisor {
    /// The guest of the machine `pid`.
    package func guest(_ pid: Int32) -> SimulatedGuest? { saves.withLock { $0.guests[pid] } }

    /// The machine that `id` has now.
    package func pid(of id: VMID) -> Int32? { machine(of: id)?.pid }

    /// The guest of the machine that `id` has now, where its CPUs run; else `nil`.
    package func runningGuest(of id: VMID) -> SimulatedGuest? {
        guard let machine = machine(of: id), !machine.isPaused else { return nil }
        return guest(machine.pid)
    }

    /// Changes the guest of the machine that `id` has now. Returns whether there is one that runs.
    package func tell(_ id: VMID, _ change: (inout SimulatedGuest) -> Void) -> Bool {
        guard let machine = machine(of: id), !machine.isPaused else { return false }
        return saves.withLock { saves in
            guard var guest = saves.guests[machine.pid] else { return false }
            change(&guest)
            saves.guests[machine.pid] = guest
            return true
        }
    }

    /// The guest of `id` boots anew.
    func restart(_ id: VMID) -> Bool {
        guard let machine = machine(of: id) else { return false }
        saves.withLock { saves in
            let identity = saves.guests[machine.pid]?.identity ?? id
            saves.guests[machine.pid] = SimulatedGuest(identity: identity)
        }
        return true
    }
}
