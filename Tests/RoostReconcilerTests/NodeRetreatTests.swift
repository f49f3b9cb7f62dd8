import RoostModel
import RoostReconciler
import Testing

/// One way for an action to have failed.
private struct Case: Sendable, CustomStringConvertible {
    var action: NodeAction
    var former: DesiredPower
    var seen: VMObservation

    init(_ action: NodeAction, _ former: DesiredPower, _ vmm: VMMPhase, _ disks: DisksPlace) {
        self.action = action
        self.former = former
        seen = VMObservation(disks: disks, vmm: vmm)
    }

    var description: String { "\(action.name) of \(former), \(seen.disks) \(seen.vmm)" }
}

@Suite("What a failed turn goes back to")
struct NodeRetreatTests {
    @Test(
        "is where the VM was, whatever its undo left",
        arguments: zip(
            [
                Case(.pause, .running, .paused, .live), Case(.resume, .paused, .running, .live),
                Case(.start, .stopped, .running, .live), Case(.start, .stopped, .paused, .live),
                // Its memory is used up, and the guest did not answer.
                Case(.start, .suspended, .running, .live),
                Case(.start, .suspended, .paused, .live),
                // In the trash with its memory beside it, or without.
                Case(.discard, .suspended, .saved, .trashed),
                Case(.discard, .stopped, .absent, .trashed),
                Case(.restore, .stopped, .saved, .live), Case(.restore, .stopped, .absent, .live),
                // It is there already.
                Case(.discard, .suspended, .saved, .live), Case(.pause, .running, .running, .live),
                Case(.start, .suspended, .saved, .live),
            ],
            [
                NodeAction.resume, .pause, .stop(graceSeconds: 0), .stop(graceSeconds: 0),
                .suspend, .suspend, .restore, .restore, .discard, .discard, nil, nil, nil,
            ]
        )
    )
    private func goesBack(_ test: Case, _ expected: NodeAction?) {
        #expect(retreat(test.action, to: test.former, from: test.seen) == expected)
    }

    /// A daemon died when it had started it, and the next one could not renew it: it was said to be
    /// RUNNING since that had been wished before.
    @Test("stops a copy that could not be made a machine of its own, whatever was wished before")
    func unrenewed() {
        let wishes: [DesiredPower] = [.running, .paused, .stopped]
        for (former, vmm) in wishes.flatMap({ wish in
            [VMMPhase.running, .paused].map { (wish, $0) }
        }) {
            let seen = VMObservation(disks: .live, vmm: vmm, copy: .unrenewed)
            for action in [NodeAction.start, .restart(graceSeconds: 1)] {
                #expect(retreat(action, to: former, from: seen) == .stop(graceSeconds: 0))
            }
        }
    }

    @Test("is nothing at all when there was nothing", arguments: VMObservation.all)
    func purges(_ seen: VMObservation) {
        #expect(retreat(.start, to: nil, from: seen) == .purge)
    }

    @Test("can be planned for whatever is seen", arguments: NodeAction.examples)
    func canBePlanned(_ action: NodeAction) throws {
        for seen in VMObservation.all {
            for former in DesiredPower.allCases {
                guard let back = retreat(action, to: former, from: seen) else { continue }
                #expect(throws: Never.self, "\(back) from \(seen)") { try plan(back, for: seen) }
            }
        }
    }
}

@Suite("What a failed operation leaves")
struct AftermathTests {
    @Test("is what the node says, and a wish that can still come true")
    func table() {
        for state in VMState.allCases {
            for desired in DesiredPower.allCases {
                let left = aftermath(desired: desired, seen: state, isInTrash: false)
                #expect(left.state != .deleted, "what nobody deleted is in no trash")
                #expect(left.state != .stopped || left.desired == .stopped)
                #expect(left.desired != .suspended || !left.state.hasProcess || state.isPassing)
                let trashed = aftermath(desired: desired, seen: .deleted, isInTrash: true)
                #expect(trashed.state == .deleted && trashed.desired == desired)
            }
        }
        let lost = aftermath(desired: .running, seen: .deleted, isInTrash: false)
        #expect(lost.state == .failed && lost.desired == .running)
        let undone = aftermath(desired: .stopped, seen: .failed, isInTrash: false)
        #expect(undone.state == .stopped && undone.desired == .stopped)
        let usedUp = aftermath(desired: .suspended, seen: .running, isInTrash: false)
        #expect(usedUp.state == .running && usedUp.desired == .running)
    }
}

extension VMState {
    /// Whether a node only says so while it works on the VM.
    fileprivate var isPassing: Bool { [.starting, .stopping, .migrating].contains(self) }
}

@Suite("A wish, once its action has ended,")
struct WishTests {
    @Test("is what was asked for, and of a VM from the trash what it went there as")
    func done() {
        for seen in VMObservation.all {
            for action in NodeAction.examples where action != .restore {
                #expect(after(action, failed: false, .running, .stopped, seen) == .running)
            }
            let back = after(.restore, failed: false, .stopped, .stopped, seen)
            #expect(back == (seen.vmm == .saved ? .suspended : .stopped))
        }
    }

    @Test("is the one before when it failed, unless that was lost on the way")
    func failed() {
        let saved = VMObservation(disks: .live, vmm: .saved)
        let absent = VMObservation(disks: .live, vmm: .absent)
        let running = VMObservation(disks: .live, vmm: .running)
        let paused = VMObservation(disks: .live, vmm: .paused)
        #expect(after(.start, failed: true, .running, .suspended, saved) == .suspended)
        // The memory is used up: it can only go on.
        #expect(after(.start, failed: true, .running, .suspended, running) == .running)
        #expect(after(.start, failed: true, .running, .suspended, paused) == .paused)
        #expect(after(.start, failed: true, .running, .suspended, absent) == .suspended)
        #expect(after(.stop(graceSeconds: 0), failed: true, .stopped, .running, absent) == .stopped)
        #expect(after(.pause, failed: true, .paused, .running, absent) == .running)
        #expect(after(.suspend, failed: true, .suspended, .paused, paused) == .paused)
        #expect(after(.start, failed: true, .running, nil, absent) == nil)
    }

    private func after(
        _ action: NodeAction,
        failed: Bool,
        _ asked: DesiredPower,
        _ former: DesiredPower?,
        _ seen: VMObservation
    ) -> DesiredPower? {
        wish(after: action, failed: failed, asked: asked, former: former, seen: seen)
    }
}
