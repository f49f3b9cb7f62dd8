import RoostModel
import RoostOperations
import RoostReconciler
import Testing

/// Fails at one named point.
private struct FailsAt: Failpoints {
    let point: Failpoint?
    func pass(_ passed: Failpoint) async throws(Fault) {
        if passed == point { throw Fault(.ioFailed, "failpoint \(passed)") }
    }
    func skips(_ point: Failpoint) -> Bool { false }
    func mark(_ marker: Marker) {}
}

/// A host with one VM, and what its steps do.
private struct Host {
    var disks = DisksPlace.live
    var vmm = VMMPhase.absent
    var done: [NodeStep] = []

    mutating func act(_ step: NodeStep) {
        done.append(step)
        switch step {
        case .makeDisks, .untrashDisks, .copyTemplate, .copyFork, .copyWhole: disks = .live
        case .startVMM, .resumeVMM, .startCopy, .startFork, .restoreVMM: vmm = .running
        case .saveVMM: vmm = .saved
        case .dropSaved: vmm = .absent
        case .shutDown, .killVMM: vmm = .absent
        case .pauseVMM: vmm = .paused
        case .trashDisks: disks = .trashed
        case .purgeDisks: disks = .missing
        case .goBack(let order): vmm = order.hasMemory ? .running : .absent
        case .growDisk, .awaitGuest, .resetVMM, .renewGuest, .freshenGuest, .forkVMM, .dropFork,
            .keepCheckpoint, .dropCheckpoint, .lendCheckpoint, .freezeDisk, .sealCopy:
            break
        }
    }
}

private struct Case: Sendable, CustomStringConvertible {
    let action: NodeAction
    let seen: VMObservation
    let point: Failpoint
    /// How many steps were begun when it fails.
    let begun: Int

    var description: String { "\(action.name) of \(seen.disks) \(seen.vmm) at \(point)" }

    /// Every way in which every step of every plan can fail.
    static let all: [Case] = {
        var found: [Case] = []
        for action in NodeAction.examples {
            for seen in VMObservation.all where seen.vmm == .absent || seen.disks == .live {
                guard let steps = try? plan(action, for: seen) else { continue }
                // Half of a copy was never anybody's: it is made anew, and does not come back.
                if action.kind == .become, seen.disks == .live { continue }
                for (index, step) in steps.enumerated() {
                    for point in [Failpoint.beforeStep(step.name), .afterStep(step.name)] {
                        found.append(
                            Case(action: action, seen: seen, point: point, begun: index + 1)
                        )
                    }
                }
            }
        }
        return found
    }()
}

@Suite("Steps in order")
struct PerformTests {
    @Test(
        "leave what was there when any one fails before a point of no return",
        arguments: Case.all
    )
    private func takesBack(_ test: Case) async throws {
        var host = Host()
        host.disks = test.seen.disks
        host.vmm = test.seen.vmm
        let steps = try plan(test.action, for: test.seen)
        let fault = await failure(of: steps, failpoints: FailsAt(point: test.point), on: &host)
        #expect(fault?.reason == .ioFailed)
        let begun = steps.prefix(test.begun)
        guard !begun.contains(where: \.isPointOfNoReturn) else { return }
        #expect(host.disks == test.seen.disks)
        #expect(host.vmm == test.seen.vmm)
    }

    @Test("begin nothing once they are pre-empted")
    func preempted() async {
        var host = Host()
        let signal = Signal()
        signal.set()
        let fault = await failure(
            of: [.startVMM],
            preemption: signal,
            failpoints: NoFailpoints(),
            on: &host
        )
        #expect(fault?.reason == .opCancelled)
        #expect(host.done.isEmpty)
    }

    @Test("stop going back where an inverse fails: a VMM that cannot be killed keeps its disks")
    func stopsAtAFailedInverse() async {
        var done: [NodeStep] = []
        var reported: [NodeStep] = []
        do throws(Fault) {
            try await perform(
                [NodeStep.makeDisks, .startVMM, .awaitGuest],
                preemption: Signal(),
                failpoints: FailsAt(point: .beforeStep("await-guest")),
                act: { step throws(Fault) in
                    if step == .killVMM { throw Fault(.vmmFailed, "it does not die") }
                    done.append(step)
                },
                undoFailed: { step, _ in reported.append(step) }
            )
        } catch {
            #expect(error.reason == .ioFailed)
        }
        #expect(done == [.makeDisks, .startVMM])
        #expect(reported == [.killVMM])
    }

    private func failure(
        of steps: [NodeStep],
        preemption: Signal = Signal(),
        failpoints: any Failpoints,
        on host: inout Host
    ) async -> Fault? {
        do throws(Fault) {
            try await perform(
                steps,
                preemption: preemption,
                failpoints: failpoints,
                act: { step throws(Fault) in host.act(step) },
                undoFailed: { step, fault in Issue.record("\(step): \(fault)") }
            )
            return nil
        } catch { return error }
    }
}
