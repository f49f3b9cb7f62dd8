import RoostControl
import RoostModel

/// What clients ask about copies and checkpoints of their VMs.
extension Client {
    /// A wish about the VM `name` that is not yet one: which checkpoint is meant is seen when its turn
    /// comes, as somebody does who lists them first.
    enum Intention {
        case wish(Wish)
        case goBack(String)
        case forget(String)
        /// A copy of the VM as it runs, or of a checkpoint of it.
        case fork(String, ofCheckpoint: Bool)
    }

    func wish(_ intention: Intention) -> Wish {
        switch intention {
        case .wish(let wish): wish
        case .goBack(let name):
            checkpoint(of: name).map { .goBack(name, to: $0) } ?? newCheckpoint(of: name)
        case .forget(let name):
            checkpoint(of: name).map { .forget(name, checkpoint: $0) } ?? newCheckpoint(of: name)
        case .fork(let name, let isOfCheckpoint):
            newFork(of: name, isOfCheckpoint ? checkpoint(of: name) : nil)
        }
    }

    /// Mostly of a VM that a list has just shown to run, or to be one with checkpoints.
    func newCheckpointWish(_ name: String) -> Wish {
        let shown = world.invariants.keepable
        let name = shown.isEmpty || tastes.chance.hits(1_500) ? name : tastes.chance.pick(shown)
        return switch tastes.chance.below(10) {
        case 0..<3: newCheckpoint(of: name)
        case 3..<5: wish(.goBack(name))
        case 5..<7: wish(.forget(name))
        default: wish(.fork(name, ofCheckpoint: tastes.chance.hits(4_000)))
        }
    }

    func newCheckpoint(of name: String) -> Wish {
        .checkpoint(name, message: "client\(number)'s")
    }

    /// A checkpoint of the VM of that name, perhaps one that has just been removed; `nil`: it has none.
    private func checkpoint(of name: String) -> String? {
        let found = world.invariants.checkpoints(of: name)
        let gone = world.invariants.forgotten(of: name)
        if !gone.isEmpty, found.isEmpty || tastes.chance.hits(500) {
            return tastes.chance.pick(gone).description
        }
        return found.isEmpty ? nil : tastes.chance.pick(found).description
    }

    private func newFork(of name: String, _ checkpoint: String?) -> Wish {
        var order = ForkOrder(checkpoint: checkpoint ?? "")
        switch tastes.chance.below(10) {
        case 0..<5: order.names = [tastes.chance.pick(Self.names)]
        case 5..<6: order.names = [tastes.chance.pick(Self.names), "\(name)-one"]
        default: order.count = 1 + tastes.chance.below(3)
        }
        return .fork(name, order)
    }

    /// Several wishes about one VM and what is made of it.
    func newCheckpointPlan(_ name: String) -> [Intention] {
        var draft = VMDraft(name: name, cores: 1, memoryMiB: 512)
        draft.startOnCreate = tastes.chance.hits(8_000)
        let create = Intention.wish(.create(draft))
        let keep = Intention.wish(newCheckpoint(of: name))
        let fork = Intention.fork(name, ofCheckpoint: tastes.chance.hits(4_000))
        let start = Intention.wish(.power(.start, name, PowerOptions()))
        let kill = Intention.wish(.power(.kill, name, PowerOptions()))
        var gone = PowerOptions()
        gone.force = true
        gone.purge = tastes.chance.hits(5_000)
        let deleteCopy = Intention.wish(.power(.delete, "\(name)-1", gone))
        let delete = Intention.wish(.power(.delete, name, gone))
        let back = Intention.goBack(name)
        let forget = Intention.forget(name)
        return [create]
            + tastes.chance.pick([
                [keep, keep, forget, back], [keep, back], [keep, kill, back, start],
                [keep, kill, keep, back, back], [fork, deleteCopy], [fork, fork, deleteCopy],
                [keep, fork, forget], [keep, fork, delete], [keep, fork, deleteCopy, back],
            ])
    }
}
