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
        if checkpoint != nil, tastes.chance.hits(1_500) {
            return newTemplate(of: name, checkpoint ?? "")
        }
        if checkpoint != nil, tastes.chance.hits(3_000) { order.kind = newCloneKind() }
        switch tastes.chance.below(10) {
        case 0..<5: order.names = [tastes.chance.pick(Self.names)]
        case 5..<6: order.names = [tastes.chance.pick(Self.names), "\(name)-one"]
        default: order.count = 1 + tastes.chance.below(3)
        }
        return .fork(name, order)
    }

    /// Few, so that they are used, and in each other's way.
    private static let templates = ["base", "tools"]

    private func newTemplate(of name: String, _ checkpoint: String) -> Wish {
        let names = [tastes.chance.pick(Self.templates)]
        return .fork(name, ForkOrder(.templates, names: names, checkpoint: checkpoint))
    }

    /// A VM like the template, from its memory where it has some, or with a shape of its own.
    func makeFromTemplate(_ draft: inout VMDraft) {
        draft.template = tastes.chance.pick(Self.templates)
        (draft.disposable, draft.node) = (false, "")
        if tastes.chance.hits(7_000) { (draft.cores, draft.memoryMiB) = (nil, nil) }
    }

    /// Several wishes about a template and what is made from it.
    private func newTemplatePlan(_ name: String) -> [Intention] {
        var gone = PowerOptions()
        (gone.force, gone.purge) = (true, tastes.chance.hits(5_000))
        var draft = VMDraft(name: "\(name)-1")
        draft.startOnCreate = tastes.chance.hits(8_000)
        makeFromTemplate(&draft)
        let create = Intention.wish(.create(draft))
        let drop = Intention.wish(.dropTemplate(draft.template))
        let delete = Intention.wish(.power(.delete, draft.name, gone))
        let purge = Intention.wish(.purge(draft.name))
        let order = ForkOrder(.templates, names: [draft.template])
        let make = Intention.wish(.fork(name, order))
        // It may be there, and run.
        let source = Intention.wish(.create(VMDraft(name: name, cores: 1, memoryMiB: 512)))
        let kill = Intention.wish(.power(.kill, name, PowerOptions()))
        return [source, kill, make, create]
            + tastes.chance.pick([
                [drop, delete, drop], [create], [drop, make, create], [delete, purge, drop],
            ])
    }

    private func newCloneKind() -> ForkOrder.Kind {
        .clones(isWhole: tastes.chance.hits(5_000))
    }

    /// Several wishes about one VM and what is made of it.
    func newCheckpointPlan(_ name: String) -> [Intention] {
        if tastes.chance.hits(2_500) { return newTemplatePlan(name) }
        var draft = VMDraft(name: name, cores: 1, memoryMiB: 512)
        draft.startOnCreate = tastes.chance.hits(8_000)
        let create = Intention.wish(.create(draft))
        let keep = Intention.wish(newCheckpoint(of: name))
        let fork = Intention.fork(name, ofCheckpoint: tastes.chance.hits(4_000))
        let clone = Intention.wish(.fork(name, ForkOrder(newCloneKind())))
        let start = Intention.wish(.power(.start, name, PowerOptions()))
        let startCopy = Intention.wish(.power(.start, "\(name)-1", PowerOptions()))
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
                [kill, clone, startCopy, start], [kill, clone, deleteCopy, clone],
            ])
    }
}
