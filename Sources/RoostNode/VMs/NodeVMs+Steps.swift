import Logging
import RoostDriver
import RoostHost
import RoostLink
import RoostModel
import RoostOperations
import RoostReconciler

/// The doing: one small piece for each step, each repeatable.
extension NodeVMs {
    func act(
        _ step: NodeStep,
        on vm: VMAssignment,
        preemption: Signal
    ) async throws(Fault) {
        switch step {
        case .makeDisks: try await makeDisks(vm)
        case .growDisk: try await parts.files.growRootDisk(vm.id, toGiB: vm.spec.rootDiskGiB)
        case .startVMM: try await startVMM(vm)
        case .awaitGuest: try await awaitGuest(vm, preemption: preemption)
        case .shutDown(let grace):
            try await shutDown(vm, grace: .seconds(grace), preemption: preemption)
        case .killVMM:
            await parts.guests.drop(vm.id)
            try await parts.driver.kill(vm.id)
        case .pauseVMM: try await parts.driver.pause(vm.id)
        case .resumeVMM: try await resumeVMM(vm.id)
        case .saveVMM: try await saveVMM(vm)
        case .restoreVMM: try await restoreVMM(vm)
        case .dropSaved: try await dropSaved(vm.id)
        case .copyTemplate: try await copyTemplate(vm)
        case .startCopy: try await startCopy(vm)
        case .renewGuest: try await renewGuest(vm, preemption: preemption)
        case .freshenGuest: try await freshen(vm)
        case .forkVMM(let name): try await forkVMM(vm, name, preemption: preemption)
        case .copyFork(let name): try await copyFork(vm, name)
        case .startFork(let name): try await startFork(vm, name, preemption: preemption)
        case .dropFork(let name): try await dropFork(name)
        case .freezeDisk(let name): try await freezeDisk(vm, name)
        case .copyWhole(let name): try await copyWhole(vm, name, preemption: preemption)
        case .sealCopy(let name, let id): try await sealCopy(vm, name, id)
        case .keepCheckpoint(let id):
            try await keepCheckpoint(vm, id, preemption: preemption)
        case .dropCheckpoint(let id): try await dropCheckpoint(vm, id)
        case .lendCheckpoint(let name, let id): try await lendCheckpoint(vm, name, id)
        case .goBack(let order): try await goBack(vm, order)
        case .resetVMM:
            await parts.guests.drop(vm.id)
            try await parts.driver.reset(vm.id)
        case .trashDisks: try await parts.files.discard(vm.id)
        case .untrashDisks: try await parts.files.restore(vm.id)
        // Kept memory and checkpoints are in the same directory: all of it goes, or nothing.
        case .purgeDisks: try await parts.files.purge(vm.id)
        }
    }

    /// Throws everything that the host lacks for a start, at once: who mends one wants to know of
    /// the next.
    func preflight() async throws(Fault) {
        let missing = await parts.driver.preflight()
        guard let first = missing.first else { return }
        throw missing.count == 1
            ? first : Fault(.hostNotReady, missing.map(\.message).joined(separator: "; "))
    }

    func startVMM(_ vm: VMAssignment) async throws(Fault) {
        try await parts.driver.start(try await launch(vm))
        follow(vm.id)
    }

    func launch(_ vm: VMAssignment) async throws(Fault) -> VMLaunch {
        let paths = try await parts.files.launch(
            vm.id,
            name: vm.name,
            spec: vm.spec,
            generation: vm.generation
        )
        return VMLaunch(vm.id, name: vm.name, spec: vm.spec, generation: vm.generation, paths)
    }

    func awaitGuest(_ vm: VMAssignment, preemption: Signal) async throws(Fault) {
        guard parts.driver.capabilities.contains(.guestAgent) else { return }
        let parts = parts
        do throws(Fault) {
            try await untilSet(preemption) { () async throws(Fault) in
                try await within(
                    parts.bootDeadline,
                    on: parts.surroundings.clock,
                    onTimeout: Fault(.bootTimeout, "no answer", metadata: ["vm": vm.name])
                ) { () async throws(Fault) in
                    try await Self.readyOrEnded(vm, parts)
                }
            }
        } catch  where error.reason == .bootTimeout {
            let tail = await consoleTail(vm.id)
            throw Fault(
                .bootTimeout,
                "the guest of \(vm.name) did not answer within \(parts.bootDeadline); "
                    + "its console ends: \(tail)",
                metadata: ["vm": vm.name]
            )
        }
    }

    /// The agent's answer, or the VMM's end as a fault, whichever is first.
    private static func readyOrEnded(_ vm: VMAssignment, _ parts: NodeParts) async throws(Fault) {
        let outcome = await withTaskGroup(of: Fault?.self) { group in
            group.addTask {
                do throws(Fault) {
                    try await parts.guests.awaitReady(vm.id)
                    return nil
                } catch { return error }
            }
            group.addTask {
                let exit = await parts.driver.waitForExit(vm.id)
                return Fault(
                    .vmmFailed,
                    "\(vm.name) ended while it booted: \(exit.sentence)",
                    metadata: ["vm": vm.name]
                )
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first
        }
        if let outcome { throw outcome }
    }

    private func shutDown(
        _ vm: VMAssignment,
        grace: Duration,
        preemption: Signal
    ) async throws(Fault) {
        let parts = parts
        do throws(Fault) {
            try await untilSet(preemption) { () async throws(Fault) in
                try await within(
                    grace,
                    on: parts.surroundings.clock,
                    onTimeout: Fault(.deadline, "the guest did not power off in time")
                ) { () async throws(Fault) in
                    await Self.askToPowerOff(vm, parts)
                    _ = await parts.driver.waitForExit(vm.id)
                    if Task.isCancelled {
                        if preemption.isSet { parts.failpoints.mark(.preemptedWaiting) }
                        throw Fault(.opCancelled, "pre-empted while stopping")
                    }
                }
            }
        } catch  where error.reason == .deadline {
            parts.failpoints.mark(.graceOver)
            parts.log.notice("killing a guest that did not power off", metadata: ["vm": "\(vm.id)"])
        }
        await parts.guests.drop(vm.id)
        try await parts.driver.kill(vm.id)
    }

    /// Through the agent if it answers, else by the power button; whether it helped is seen at the end.
    private static func askToPowerOff(_ vm: VMAssignment, _ parts: NodeParts) async {
        do throws(Fault) {
            if parts.driver.capabilities.contains(.guestAgent) {
                try await parts.guests.shutDown(vm.id)
                return
            }
        } catch {
            parts.log.notice(
                "the agent did not take the request to power off; pressing the power button",
                metadata: ["vm": "\(vm.id)", "fault": "\(error)"]
            )
        }
        do throws(Fault) {
            try await parts.driver.powerButton(vm.id)
        } catch {
            parts.log.notice("power button", metadata: ["vm": "\(vm.id)", "fault": "\(error)"])
        }
    }

    private func consoleTail(_ id: VMID) async -> String {
        var text: [UInt8] = []
        var offset: UInt64 = 0
        do throws(Fault) {
            while true {
                let chunk = try await parts.files.readLog(id, .console, from: offset, follow: false)
                text = (text + chunk.bytes).suffix(1200)
                offset = chunk.nextOffset
                if chunk.isEnd || chunk.bytes.isEmpty { break }
            }
        } catch {
            return "(unreadable: \(error.message))"
        }
        let lines = String(decoding: text, as: UTF8.self).split(whereSeparator: \.isNewline)
        return lines.isEmpty
            ? "(empty)" : lines.suffix(8).map { shown(String($0)) }.joined(separator: " | ")
    }
}
