import RoostModel
import RoostReconciler
import RoostTestKit
import Testing

private let actions = NodeAction.examples

/// Every step that some plan has, and every step that takes one back.
private let steps: [NodeStep] = {
    let planned = actions.flatMap { action in
        VMObservation.all.flatMap { (try? plan(action, for: $0)) ?? [] }
    }
    return Set(planned + planned.compactMap(\.inverse)).sorted { $0.name < $1.name }
}()

/// What a step makes of what is seen: a node in one function. `nil`: it cannot be done there.
private func after(_ step: NodeStep, _ seen: VMObservation) -> VMObservation? {
    var next = seen
    switch step {
    case .makeDisks:
        if seen.disks == .missing { next.copy = seen.copy == .derived ? .unrenewed : .none }
        next.disks = .live
    case .growDisk: if seen.disks != .live { return nil }
    case .startVMM, .startCopy, .startFork:
        if seen.disks != .live { return nil }
        if seen.vmm == .absent { next.vmm = .running }
    case .awaitGuest, .freshenGuest, .resetVMM: if seen.vmm != .running { return nil }
    case .shutDown, .killVMM: if seen.vmm != .saved { next.vmm = .absent }
    case .pauseVMM:
        if !seen.hasVMM { return nil }
        next.vmm = .paused
    case .resumeVMM:
        if !seen.hasVMM { return nil }
        next.vmm = .running
    case .saveVMM:
        if seen.vmm == .absent || seen.disks != .live { return nil }
        next.vmm = .saved
    case .restoreVMM:
        if seen.vmm == .absent || seen.disks != .live { return nil }
        if seen.vmm == .saved { next.vmm = .running }
    case .dropSaved: if seen.vmm == .saved { next.vmm = .absent }
    case .copyTemplate:
        if seen.disks == .missing {
            if seen.copy != .possible { return nil }
            next = VMObservation(disks: .live, vmm: seen.vmm, copy: .unrenewed)
        }
    case .forkVMM: if seen.vmm != .running { return nil }
    case .dropFork, .dropCheckpoint, .lendCheckpoint: break
    case .keepCheckpoint: if seen.disks != .live { return nil }
    case .goBack(let order):
        if seen.disks != .live || seen.vmm == .saved { return nil }
        next.vmm = order.hasMemory ? .running : .absent
    case .freezeDisk: if seen.vmm != .absent || seen.disks != .live { return nil }
    case .sealCopy: if seen.disks != .live { return nil }
    case .copyFork, .copyWhole:
        if seen.vmm != .absent { return nil }
        next = VMObservation(disks: .live, vmm: .absent, copy: .unrenewed)
    case .renewGuest:
        if seen.vmm != .running { return nil }
        next.copy = .none
    case .trashDisks: if seen.disks == .live { next.disks = .trashed }
    case .untrashDisks:
        if seen.disks == .missing { return nil }
        next.disks = .live
    case .purgeDisks:
        next = VMObservation(disks: .missing, vmm: seen.vmm == .saved ? .absent : seen.vmm)
        // What was a copy could be one again.
        if seen.copy != .none { next.copy = .possible }
    }
    return next
}

private func after(_ steps: [NodeStep], _ seen: VMObservation) -> VMObservation? {
    steps.reduce(Optional(seen)) { seen, step in seen.flatMap { after(step, $0) } }
}

/// What a crash may leave. A VMM without its disks in place is nothing that a node makes.
private let possible = VMObservation.all.filter { seen in
    switch seen.vmm {
    case .absent: true
    case .saved: seen.disks != .missing
    case .running, .paused: seen.disks == .live
    }
}

extension VMObservation {
    fileprivate var withoutTemplate: VMObservation {
        copy == .possible || copy == .derived ? VMObservation(disks: disks, vmm: vmm) : self
    }

    fileprivate var hasVMM: Bool { vmm == .running || vmm == .paused }
}

@Suite("A node's plan")
struct NodePlanTests {
    @Test("is the golden one for every action and observation")
    func golden() throws {
        var text = ""
        for action in actions {
            for seen in VMObservation.all {
                let answer: String
                do throws(Fault) {
                    answer = try plan(action, for: seen).map(\.name).joined(separator: " ")
                } catch { answer = "refused: \(error.message)" }
                text +=
                    "\(action.line) | disks \(seen.disks) vmm \(seen.vmm)"
                    + "\(seen.copy == .none ? "" : " copy \(seen.copy)") | \(answer)\n"
            }
        }
        #expect(try goldenDifference(text, named: "plans.txt") == nil)
    }

    @Test("can be done, and leaves nothing to do", arguments: actions)
    func converges(_ action: NodeAction) throws {
        for seen in possible {
            guard let steps = try? plan(action, for: seen) else { continue }
            guard let next = after(steps, seen) else {
                Issue.record("\(action.line) of \(seen): \(steps) cannot be done")
                continue
            }
            if action.isOneShot { continue }
            let rest = try plan(action, for: next)
            // Waiting for a guest that answers changes nothing, nor does sealing what is sealed.
            let more = rest.filter { ![NodeStep.awaitGuest.name, "seal-copy"].contains($0.name) }
            #expect(more.isEmpty, "\(action.line) of \(seen)")
        }
    }

    @Test("reaches what its action is for", arguments: possible)
    func aims(_ seen: VMObservation) throws {
        for (action, disks, vmm) in [
            (NodeAction.start, DisksPlace.live, VMMPhase.running),
            (.restart(graceSeconds: 0), .live, .running), (.purge, .missing, .absent),
        ] {
            let end = after(try plan(action, for: seen), seen)
            #expect(end?.disks == disks && end?.vmm == vmm, "\(action.line) of \(seen)")
            #expect(end?.copy != .unrenewed, "\(action.line) of \(seen)")
        }
    }

    @Test("goes on from every point where a crash may fall", arguments: actions)
    func resumes(_ action: NodeAction) throws {
        for seen in possible {
            guard let steps = try? plan(action, for: seen), let end = after(steps, seen) else {
                continue
            }
            for count in 0...steps.count {
                guard let middle = after(Array(steps.prefix(count)), seen) else { continue }
                guard let rest = try? plan(action, for: middle) else {
                    // A reboot whose VMM is gone has nothing to reset; it says so.
                    #expect(action.isOneShot, "\(action.line) from \(middle)")
                    continue
                }
                #expect(after(rest, middle) == end, "\(action.line) from \(middle)")
            }
        }
    }

    @Test("never takes a VM's disks from under its VMM", arguments: actions)
    func neverUnderfoot(_ action: NodeAction) throws {
        for seen in possible {
            guard var now = Optional(seen), let steps = try? plan(action, for: seen) else {
                continue
            }
            for step in steps {
                guard let next = after(step, now) else { break }
                #expect(!next.hasVMM || next.disks == .live, "\(action.line): \(step)")
                now = next
            }
        }
    }
}

/// Whether some plan does `step` where this is seen.
private func isPlanned(_ step: NodeStep, _ seen: VMObservation) -> Bool {
    actions.contains { action in
        possible.contains { start in
            guard let steps = try? plan(action, for: start) else { return false }
            return steps.indices.contains { index in
                steps[index] == step && after(Array(steps[..<index]), start) == seen
            }
        }
    }
}

@Suite("A node's step")
struct NodeStepTests {
    @Test("leaves the same when it is done twice", arguments: steps)
    func twice(_ step: NodeStep) {
        for seen in possible {
            guard let once = after(step, seen) else { continue }
            #expect(after(step, once) == once, "\(step) of \(seen)")
        }
    }

    @Test("is taken back by its inverse, done once or twice", arguments: steps)
    func inverse(_ step: NodeStep) throws {
        guard let inverse = step.inverse else { return }
        for seen in possible where isPlanned(step, seen) {
            guard let done = after(step, seen), done != seen else { continue }
            let back = after(inverse, done)
            // Whether there is a template is not the step's doing.
            #expect(back?.withoutTemplate == seen.withoutTemplate, "\(step) of \(seen)")
            if let back { #expect(after(inverse, back) == back, "\(inverse) twice") }
        }
    }

    @Test("has an inverse, changes nothing, or is a point of no return", arguments: steps)
    func nothingIsForgotten(_ step: NodeStep) {
        let changes = possible.contains { seen in after(step, seen).map { $0 != seen } ?? false }
        #expect(!changes || step.inverse != nil || step.isPointOfNoReturn, "\(step)")
    }
}

extension NodeAction {
    /// The action with its numbers.
    fileprivate var line: String {
        switch self {
        case .stop(let grace), .restart(let grace): "\(name) within \(grace) s"
        case .revert(let order): "\(name) to \(order.hasMemory ? "memory" : "disk")"
        default: name
        }
    }
}
